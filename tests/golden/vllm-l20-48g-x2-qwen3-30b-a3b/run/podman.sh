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
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 4096m \
  --device nvidia.com/gpu=0 --device nvidia.com/gpu=1 \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/qwen3-30b-a3b,target=/models/qwen3-30b-a3b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwen3-30b-a3b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=qwen3-30b-a3b \
  --label io.weighbridge.name=weighbridge-qwen3-30b-a3b \
  --label io.weighbridge.plan=0265de2416c29f8e90b7a44c71c45c3af2576ca3c4cac0f1f750064df7f746e3 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l20-48g-x2 \
  --label io.weighbridge.spec=f9ef92eaed116c6b6f3ba48e9c2725ef81c0fe037159152e8b866827745c2ea7 \
  weighbridge/vllm:l20-48g-x2-qwen3-30b-a3b-0265de2416c2
