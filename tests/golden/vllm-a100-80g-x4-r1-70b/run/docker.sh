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
  --label io.weighbridge.plan=45a5cff3f234aa597e18c300bca77803b716e27bdf090c73e40bfed7b12100a7 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a100-80g-x4 \
  --label io.weighbridge.spec=072ea3f2101e2036c6d531c204f27318af5ba13ff736e9b1f3b3d54c730379f0 \
  weighbridge/vllm:a100-80g-x4-deepseek-r1-distill-llama-70b-45a5cff3f234
