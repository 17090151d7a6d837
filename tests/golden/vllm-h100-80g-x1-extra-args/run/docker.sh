#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-qwen3-8b \
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
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/qwen3-8b,target=/models/qwen3-8b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwen3-8b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=qwen3-8b \
  --label io.weighbridge.name=weighbridge-qwen3-8b \
  --label io.weighbridge.plan=2c825dbc7864ef7422975c760188d7d957322b4bec56c957da995d9def0d2c14 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h100-80g-x1 \
  --label io.weighbridge.spec=21c6ce2936463feb0c5efc96ee2bb70a56d5d9c620963373ff44544f0e66a950 \
  weighbridge/vllm:h100-80g-x1-qwen3-8b-2c825dbc7864
