#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-demo \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 1024m \
  --tmpfs /tmp:rw,nosuid,nodev,size=1024m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/weighbridge-demo,target=/models/weighbridge-demo,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-demo,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=weighbridge-demo \
  --label io.weighbridge.name=weighbridge-demo \
  --label io.weighbridge.plan=ccd5b041aeb6ae2ab678562e55a4ad6ec546634cd8e044212470aa3d0e7dea1f \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=0df1923c3f18fef4d4b223234c6fa7a90bfbbb8482631a8c3503593d71bee456 \
  weighbridge/vllm:cpu-weighbridge-demo-ccd5b041aeb6
