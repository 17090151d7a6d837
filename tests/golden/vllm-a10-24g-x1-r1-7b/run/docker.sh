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
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 1024m \
  --gpus '"device=0"' \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-7b,target=/models/deepseek-r1-distill-qwen-7b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-7b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.plan=b421f83eacb32217e5e655ad8517ec4d9e76dcd6dc1af7e726668bc5f3008566 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a10-24g-x1 \
  --label io.weighbridge.spec=e6979e23f34bb91ec301dbd3ddc4ef960589f17c7ff787391f8ee2d0e83cf49c \
  weighbridge/vllm:a10-24g-x1-deepseek-r1-distill-qwen-7b-b421f83eacb3
