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
  --label io.weighbridge.plan=8996e0d9b67324ffb0c2527436fe8f98c2cf6a8019b8168b7c9c6cd4f624b8df \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h100-80g-x8 \
  --label io.weighbridge.spec=d52db7144f1aff869cacd52bfb14f7a5c6a1e080263b993e199ac4ad7d577bf2 \
  weighbridge/vllm:h100-80g-x8-qwen3-235b-a22b-8996e0d9b673
