#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-it-s-a-model-id-1505b3 \
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
  --mount type=bind,source=/srv/models/it-s-a-model-id,target=/models/it-s-a-model-id,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label 'io.weighbridge.model=it'"'"'s a "model"; $(id)' \
  --label io.weighbridge.name=weighbridge-it-s-a-model-id-1505b3 \
  --label io.weighbridge.plan=2b12c7e9afdabe0151670d3ae4ea384d1fd5e6030a3ebad0ca32115d2bf3e27f \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=a3bfe122abd7f673b1a516c064c858e913da233840c7a57af3ac2510f263c364 \
  weighbridge/vllm:cpu-it-s-a-model-id-2b12c7e9afda
