#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
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
  --device nvidia.com/gpu=0 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-7b,target=/models/deepseek-r1-distill-qwen-7b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-7b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.plan=f0218c15b05da8544ef1b6eeace38881f2d4673e29e90d8eddd8db0230dbc890 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a10-24g-x1 \
  --label io.weighbridge.spec=e365b61f2c2e399b8317205619d78848d20e5ecd84dbb44162cb8c8b01bf8f13 \
  weighbridge/sglang:a10-24g-x1-deepseek-r1-distill-qwen-7b-f0218c15b05d
