#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-qwen3-30b-a3b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --init \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 4096m \
  --device nvidia.com/gpu=0 --device nvidia.com/gpu=1 \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/qwen3-30b-a3b,target=/models/qwen3-30b-a3b,readonly \
  --mount type=volume,source=weighbridge-cache,target=/var/cache/weighbridge \
  --label io.weighbridge.model=qwen3-30b-a3b \
  --label io.weighbridge.name=weighbridge-qwen3-30b-a3b \
  --label io.weighbridge.plan=60ff939123d23ba57c177f01a37f7e9e86312183737840cab38d4e3b8a7b0d71 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l20-48g-x2 \
  weighbridge/vllm:l20-48g-x2-qwen3-30b-a3b-60ff939123d2
