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
  --label io.weighbridge.plan=b39f96d7a67e778ab09bf03b5c86e3459d39c94e34c4ec06bd59aea5499dd541 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l40s-48g-x1 \
  --label io.weighbridge.spec=fded7bd228ad6c8e9735bb97dd54a8ec339869bb03b806ef3bf7cfc8f0bdbcdd \
  weighbridge/vllm:l40s-48g-x1-deepseek-r1-distill-qwen-32b-b39f96d7a67e
