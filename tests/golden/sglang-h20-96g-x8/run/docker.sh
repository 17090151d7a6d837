#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
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
  --gpus '"device=0,1,2,3,4,5,6,7"' \
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
  --label io.weighbridge.plan=160b09c5fae3f8516026f56ef22ff040a867bd9cb46372e5b5b9127f19bed71a \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h20-96g-x8 \
  --label io.weighbridge.spec=c535a1e54b256edd9acc1841707387c88051632b9984800316b20f0d9c34d6b6 \
  weighbridge/sglang:h20-96g-x8-qwen3-235b-a22b-160b09c5fae3
