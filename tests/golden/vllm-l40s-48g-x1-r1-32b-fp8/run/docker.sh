#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-32b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 1024m \
  --gpus '"device=0"' \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-32b,target=/models/deepseek-r1-distill-qwen-32b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-32b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-32b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-32b \
  --label io.weighbridge.plan=a8ca0b32864d3c2e82b73f3cc26a12975c5338b230083012c4a4724b91c46213 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l40s-48g-x1 \
  --label io.weighbridge.spec=2365c4dad557b131b10f918fe367dbe9dd4847fae360777116ce2b9d4d0694b2 \
  weighbridge/vllm:l40s-48g-x1-deepseek-r1-distill-qwen-32b-a8ca0b32864d
