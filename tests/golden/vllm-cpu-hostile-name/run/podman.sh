#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-it-s-a-model-id-1505b3 \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 1024m \
  --tmpfs /tmp:rw,nosuid,nodev,size=1024m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/it-s-a-model-id,target=/models/it-s-a-model-id,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-it-s-a-model-id-1505b3,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label 'io.weighbridge.model=it'"'"'s a "model"; $(id)' \
  --label io.weighbridge.name=weighbridge-it-s-a-model-id-1505b3 \
  --label io.weighbridge.plan=7958c091cda8cfdd3d3a8a0a6c052ad75ab03c82407afcacfd7629400cf21d8e \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=f9692e01a9d1a56c83190e0fd1662a0ec59f7fca02a01cbf759da35db8f2dc79 \
  weighbridge/vllm:cpu-it-s-a-model-id-7958c091cda8
