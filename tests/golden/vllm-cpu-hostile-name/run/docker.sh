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
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/it-s-a-model-id,target=/models/it-s-a-model-id,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label 'io.weighbridge.model=it'"'"'s a "model"; $(id)' \
  --label io.weighbridge.name=weighbridge-it-s-a-model-id-1505b3 \
  --label io.weighbridge.plan=bbdee722a688bf37dd594df90cf78ed6407499c89bac6b1ccfb807ed751263f9 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=cpu \
  --label io.weighbridge.spec=d5878f1e10a2863be228caa877a678de38d28c06f54f8d0ac3577c9e8ab6cea5 \
  weighbridge/vllm:cpu-it-s-a-model-id-bbdee722a688
