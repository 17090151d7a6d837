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
  --shm-size 8192m \
  --gpus '"device=0,1,2,3"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-14b,target=/models/deepseek-r1-distill-qwen-14b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-14b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-14b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-14b \
  --label io.weighbridge.plan=9c1f34f28eb01c1f164844fc07cfd3541dc2a9767dab3296e4cf04d73aa5d9f6 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a10-24g-x4 \
  --label io.weighbridge.spec=ac8ce2195058a6fe43438314a7f3bf2d3715f0d8ad532aa1ff6ee016528b810c \
  weighbridge/vllm:a10-24g-x4-deepseek-r1-distill-qwen-14b-9c1f34f28eb0
