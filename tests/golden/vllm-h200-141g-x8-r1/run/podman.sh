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
  --init \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 16384m \
  --device nvidia.com/gpu=0 --device nvidia.com/gpu=1 --device nvidia.com/gpu=2 --device nvidia.com/gpu=3 --device nvidia.com/gpu=4 --device nvidia.com/gpu=5 --device nvidia.com/gpu=6 --device nvidia.com/gpu=7 \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/deepseek-r1,target=/models/deepseek-r1,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1,target=/var/cache/weighbridge \
  --label io.weighbridge.model=deepseek-r1 \
  --label io.weighbridge.name=weighbridge-deepseek-r1 \
  --label io.weighbridge.plan=165588fcd963453e878976635a7a9d6ecacd9f2f51497ea08e040ca22c9d6965 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h200-141g-x8 \
  --label io.weighbridge.spec=f5c3f29d40a6a2aebf38baf5d00505a26629aa4d1a4e7ba63c87aba81457853d \
  weighbridge/vllm:h200-141g-x8-deepseek-r1-165588fcd963
