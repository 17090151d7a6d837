#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-qwen2.5-72b-instruct \
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
  --mount type=bind,source=/srv/models/qwen2.5-72b-instruct,target=/models/qwen2.5-72b-instruct,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwen2.5-72b-instruct,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=qwen2.5-72b-instruct \
  --label io.weighbridge.name=weighbridge-qwen2.5-72b-instruct \
  --label io.weighbridge.plan=59319b5efa5fc9cf820da87dd307d1838bf3b6a199b12286d99c28641358cc96 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h200-141g-x4 \
  --label io.weighbridge.spec=04453ee41741750b9da5e6c50521d2728a505b67b6ecfa95a04a9f3c454a1ad6 \
  weighbridge/sglang:h200-141g-x4-qwen2.5-72b-instruct-59319b5efa5f
