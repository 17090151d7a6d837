#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-qwen3-235b-a22b \
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
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/qwen3-235b-a22b,target=/models/qwen3-235b-a22b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwen3-235b-a22b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=qwen3-235b-a22b \
  --label io.weighbridge.name=weighbridge-qwen3-235b-a22b \
  --label io.weighbridge.plan=2a9215715e261346601d3cec8799b99779bbac1adfe7f3dee5b81c52bd7926b3 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h100-80g-x8 \
  --label io.weighbridge.spec=2121ecac09d69543b919146b5f55255f398c06658d652cdd7d38f43487f72e9c \
  weighbridge/vllm:h100-80g-x8-qwen3-235b-a22b-2a9215715e26
