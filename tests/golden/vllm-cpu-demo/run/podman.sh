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
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/weighbridge-demo,target=/models/weighbridge-demo,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-demo,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=weighbridge-demo \
  --label io.weighbridge.name=weighbridge-demo \
  --label io.weighbridge.plan=8d6b5c93cf90456997ba01a7431681f29ced823a7874f760f2ca3537985d817c \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=1f8b6003e84799bdfec27114a14851ac046c92203235e157aa5d81f97617e419 \
  weighbridge/vllm:cpu-weighbridge-demo-8d6b5c93cf90
