#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-7b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --init \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 16384m \
  --gpus '"device=0,1,2,3,4,5,6,7"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-7b,target=/models/deepseek-r1-distill-qwen-7b,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-7b,target=/var/cache/weighbridge \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.plan=92160b351e4ab087901c88bc89b06c9041f547f01857dadfc00bb262b6bbc241 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a100-80g-x8 \
  --label io.weighbridge.spec=cd553eac0948decba48a0a1cd44a0a701b663d218c65077179cdb230fba18d19 \
  weighbridge/vllm:a100-80g-x8-deepseek-r1-distill-qwen-7b-92160b351e4a
