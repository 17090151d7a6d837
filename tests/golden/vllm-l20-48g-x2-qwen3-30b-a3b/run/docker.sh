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
  --init \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 4096m \
  --gpus '"device=0,1"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/qwen3-30b-a3b,target=/models/qwen3-30b-a3b,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwen3-30b-a3b,target=/var/cache/weighbridge \
  --label io.weighbridge.model=qwen3-30b-a3b \
  --label io.weighbridge.name=weighbridge-qwen3-30b-a3b \
  --label io.weighbridge.plan=541b2d78ae90dd19be1a48d6c54020b5b1b77369d11d1839bb6b936aa74ca7e8 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l20-48g-x2 \
  --label io.weighbridge.spec=0ebdf56eebdb8bd8658045a81f9f484cb50ef3c86f0a63135c348b61bb5a7ca8 \
  weighbridge/vllm:l20-48g-x2-qwen3-30b-a3b-541b2d78ae90
