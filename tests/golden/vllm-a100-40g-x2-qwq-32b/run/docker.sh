#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-qwq-32b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --init \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 4096m \
  --gpus '"device=0,1"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/qwq-32b,target=/models/qwq-32b,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwq-32b,target=/var/cache/weighbridge \
  --label io.weighbridge.model=qwq-32b \
  --label io.weighbridge.name=weighbridge-qwq-32b \
  --label io.weighbridge.plan=38a6d661a4ec627aad1bd288516530179c3038480d21660b1b3a201dd65fc3b4 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a100-40g-x2 \
  --label io.weighbridge.spec=16d358f59a8e5edda8cbe90cf1e74af057aed596b44324ad8bf5af1c8c24d25d \
  weighbridge/vllm:a100-40g-x2-qwq-32b-38a6d661a4ec
