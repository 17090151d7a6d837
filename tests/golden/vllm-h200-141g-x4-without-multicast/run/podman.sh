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
  --label io.weighbridge.plan=1dc534ecdbf5903fb485a8cac09b0868b041b0ae1c38b66feff5383126e1f9a3 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h200-141g-x4 \
  --label io.weighbridge.spec=fcf296c14340acaa138666a9b97033c8f157cfaf50dd85f93fc32e89713ce4a2 \
  weighbridge/vllm:h200-141g-x4-qwen2.5-72b-instruct-1dc534ecdbf5
