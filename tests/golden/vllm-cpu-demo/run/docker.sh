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
  --label io.weighbridge.plan=a50208cb38aa0c7f49efa2189329ca98b4d87292c256fadf0dadfd2fbec9a5fe \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=c03b6776d77253aad847dc38a1b13682a5ac2232bc910b344534e005ff0c6b37 \
  weighbridge/vllm:cpu-weighbridge-demo-a50208cb38aa
