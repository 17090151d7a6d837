#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
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
  --gpus '"device=0,1"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/qwen3-30b-a3b,target=/models/qwen3-30b-a3b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwen3-30b-a3b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=qwen3-30b-a3b \
  --label io.weighbridge.name=weighbridge-qwen3-30b-a3b \
  --label io.weighbridge.plan=97594c8d412bd6936f67d4b9e9109c01c5653fa2f8fa9de6b6f040df49e95843 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l20-48g-x2 \
  --label io.weighbridge.spec=674dd0aa3d330a97f2bc545c352d313aba6bca0607fce936173049674c7a7877 \
  weighbridge/sglang:l20-48g-x2-qwen3-30b-a3b-97594c8d412b
