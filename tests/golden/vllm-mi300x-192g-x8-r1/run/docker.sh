#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1 \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 16384m \
  --device /dev/kfd \
  --device /dev/dri \
  --group-add video \
  --group-add render \
  --ulimit memlock=-1 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1,target=/models/deepseek-r1,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1,target=/var/cache/weighbridge \
  --env ROCR_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1 \
  --label io.weighbridge.name=weighbridge-deepseek-r1 \
  --label io.weighbridge.plan=9a7104f14fad41395364747c9be8103428c6a7c2a0638a9edc62298d1814f04d \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=mi300x-192g-x8 \
  --label io.weighbridge.spec=9218dae1f75f47141bec10785ba06ac4bf4044d75e50cea99600c2efaa7f6e30 \
  weighbridge/vllm:mi300x-192g-x8-deepseek-r1-9a7104f14fad
