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
  --label io.weighbridge.plan=e418facd0a90797e99e59412246a91c265c3e73ef16fd1365a66c47e4787be6b \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=077e8fdf8b1a4c92826e03646501e000dcf5c8e8afb82bcd0a29c3126215da1a \
  weighbridge/vllm:cpu-it-s-a-model-id-e418facd0a90
