#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
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
  --label io.weighbridge.plan=525617ad361eb8524460339ccd06f39b810273c2a268e26bc303d2ceda1f7449 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=mi300x-192g-x8 \
  --label io.weighbridge.spec=3b2cd9904d621f5c3c5b74d5f7f951fc6449a7d134b5d69caa017f70391585b8 \
  weighbridge/vllm:mi300x-192g-x8-deepseek-r1-525617ad361e
