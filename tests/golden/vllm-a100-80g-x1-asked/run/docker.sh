#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-14b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 1024m \
  --gpus '"device=0"' \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-14b,target=/models/deepseek-r1-distill-qwen-14b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-14b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-14b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-14b \
  --label io.weighbridge.plan=a74e09921b03dc106ac2a4d60ca68dbd9891a14c217b44715ffcfa181d3fea75 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a100-80g-x1 \
  --label io.weighbridge.spec=be0a5ea5774097f2601573080da648520f7f6ea2b504e25f2d4771e8df2b36f7 \
  weighbridge/vllm:a100-80g-x1-deepseek-r1-distill-qwen-14b-a74e09921b03
