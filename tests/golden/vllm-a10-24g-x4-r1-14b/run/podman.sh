#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
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
  --device nvidia.com/gpu=0 --device nvidia.com/gpu=1 --device nvidia.com/gpu=2 --device nvidia.com/gpu=3 \
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
  --label io.weighbridge.plan=9cd20ed498e77e2e7b7b1715f5ff5f682117ff881e0a43a25a3a210db8c6484d \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a10-24g-x4 \
  --label io.weighbridge.spec=c0937677cb5db1aa36df3532f8440482fdd4fabd57d1eef0a16f544b9a81a200 \
  weighbridge/vllm:a10-24g-x4-deepseek-r1-distill-qwen-14b-9cd20ed498e7
