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
  --shm-size 1024m \
  --device /dev/kfd \
  --device /dev/dri \
  --group-add video \
  --group-add render \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-llama-70b,target=/models/deepseek-r1-distill-llama-70b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-llama-70b,target=/var/cache/weighbridge \
  --env ROCR_VISIBLE_DEVICES=0 \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-llama-70b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-llama-70b \
  --label io.weighbridge.plan=eb900968c76323b8bf0ffa6b5635290364c51b2b08a7e5d2a9d7d23a9634ce6e \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=mi300x-192g-x1 \
  --label io.weighbridge.spec=bb97357f2b112afd8efac66bc78cc9e9c7bfebee15ed71210d3175cc36c6136a \
  weighbridge/vllm:mi300x-192g-x1-deepseek-r1-distill-llama-70b-eb900968c763
