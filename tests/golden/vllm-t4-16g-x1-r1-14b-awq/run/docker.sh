#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-14b-awq \
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
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-14b-awq,target=/models/deepseek-r1-distill-qwen-14b-awq,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-14b-awq,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-14b-awq \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-14b-awq \
  --label io.weighbridge.plan=1c7a03246c168d369249cd017e00c79aa493d9142915e63753532b699e8aa29e \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=t4-16g-x1 \
  --label io.weighbridge.spec=499402dd7e1aa9f06674ceb635ea8795a278d9139da45e6a4e21a52e2e4d7f23 \
  weighbridge/vllm:t4-16g-x1-deepseek-r1-distill-qwen-14b-awq-1c7a03246c16
