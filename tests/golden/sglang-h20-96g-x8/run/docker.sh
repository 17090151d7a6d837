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
  --label io.weighbridge.plan=ddfca3aab96f3f3ea1c9544adabcd004d4d2d892d38ff1d0883ff15bf18ed508 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h20-96g-x8 \
  --label io.weighbridge.spec=8f25b11d875fd064d701bcc348a48b066c23ae6cb06f7948bd2671405d5081e8 \
  weighbridge/sglang:h20-96g-x8-qwen3-235b-a22b-ddfca3aab96f
