#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
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
  --label io.weighbridge.plan=49fb9fccab686fdaf807d2f1b791bbcea548ac8d77773da1708f982fdd22fb55 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=40904528b575086b95475df8c3bef3330620e1b25da7855f54139c74c4c59f3e \
  weighbridge/vllm:cpu-it-s-a-model-id-49fb9fccab68
