#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-deepseek-v3 \
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
  --device nvidia.com/gpu=0 --device nvidia.com/gpu=1 --device nvidia.com/gpu=2 --device nvidia.com/gpu=3 --device nvidia.com/gpu=4 --device nvidia.com/gpu=5 --device nvidia.com/gpu=6 --device nvidia.com/gpu=7 \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/deepseek-v3,target=/models/deepseek-v3,readonly \
  --mount type=volume,source=weighbridge-cache,target=/var/cache/weighbridge \
  --label io.weighbridge.model=deepseek-v3 \
  --label io.weighbridge.name=weighbridge-deepseek-v3 \
  --label io.weighbridge.plan=34fb6f6448775a497f5f107fe8c2fe5ab5df3b00e4dadfd91c965ae364ad82b1 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h20-141g-x8 \
  weighbridge/vllm:h20-141g-x8-deepseek-v3-34fb6f644877
