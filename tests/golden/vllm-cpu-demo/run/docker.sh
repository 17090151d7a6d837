#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
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
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=weighbridge-demo \
  --label io.weighbridge.name=weighbridge-demo \
  --label io.weighbridge.plan=a244d8cc45a640e6309340b7360119d101eb7cbaa1288fabc0d0011f825334e3 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=b231ae3b51c3ea1b6d9014cc91a090df645b987846ab49ca590d49c0816f6dc8 \
  weighbridge/vllm:cpu-weighbridge-demo-a244d8cc45a6
