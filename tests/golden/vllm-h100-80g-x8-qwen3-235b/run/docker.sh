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
  --init \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 16384m \
  --gpus '"device=0,1,2,3,4,5,6,7"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/qwen3-235b-a22b,target=/models/qwen3-235b-a22b,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwen3-235b-a22b,target=/var/cache/weighbridge \
  --label io.weighbridge.model=qwen3-235b-a22b \
  --label io.weighbridge.name=weighbridge-qwen3-235b-a22b \
  --label io.weighbridge.plan=52e31bc34d35dd10f38a71ee464a16c3b8fd9626dbd2e6b7ddb08b60cf23bdc0 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h100-80g-x8 \
  --label io.weighbridge.spec=aa594fd78a5f166cdcb451f75bcf1c232fec9466a8fd5329c5a70975fa6bc059 \
  weighbridge/vllm:h100-80g-x8-qwen3-235b-a22b-52e31bc34d35
