#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-deepseek-r1 \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 16384m \
  --device nvidia.com/gpu=0 --device nvidia.com/gpu=1 --device nvidia.com/gpu=2 --device nvidia.com/gpu=3 --device nvidia.com/gpu=4 --device nvidia.com/gpu=5 --device nvidia.com/gpu=6 --device nvidia.com/gpu=7 \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1,target=/models/deepseek-r1,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1 \
  --label io.weighbridge.name=weighbridge-deepseek-r1 \
  --label io.weighbridge.plan=80fba5c41bc65aac5159ba60e11b1bd3c1bb73c214be2b5cfc83abfb8f7d6204 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h200-141g-x8 \
  --label io.weighbridge.spec=10d34a5f0eb736e71e971c0fbaf0e3bbf955d57f6b2bce7364f352ac690abefa \
  weighbridge/vllm:h200-141g-x8-deepseek-r1-80fba5c41bc6
