#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-llama-70b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 8192m \
  --gpus '"device=0,1,2,3"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-llama-70b,target=/models/deepseek-r1-distill-llama-70b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-llama-70b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-llama-70b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-llama-70b \
  --label io.weighbridge.plan=8afaba5e75da99e9739d4d4c21e386eacafc8a38a5742045f8dcd82dfd33a2ae \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l40s-48g-x4 \
  --label io.weighbridge.spec=4f26ce9c2da9de486156f18850ffac79e9554ceb2e2200c30dcf4761b06b3e46 \
  weighbridge/vllm:l40s-48g-x4-deepseek-r1-distill-llama-70b-8afaba5e75da
