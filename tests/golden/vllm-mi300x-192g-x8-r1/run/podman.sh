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
  --label io.weighbridge.plan=6b44d24ac555cf7913425fa651daea4b8e042e98792aff6c1602a3c859f7c44f \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=mi300x-192g-x8 \
  --label io.weighbridge.spec=62c92babcb25f3bf4f5dbfe3c42f245ae04d5e8acf012257dd82afab68722d55 \
  weighbridge/vllm:mi300x-192g-x8-deepseek-r1-6b44d24ac555
