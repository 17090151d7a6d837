#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-qwq-32b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 4096m \
  --gpus '"device=0,1"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/qwq-32b,target=/models/qwq-32b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwq-32b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=qwq-32b \
  --label io.weighbridge.name=weighbridge-qwq-32b \
  --label io.weighbridge.plan=819bb24153e151118b75a32909bf143cdbf73a6cfff38029391beec2d0eb273a \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a100-40g-x2 \
  --label io.weighbridge.spec=39a60dd16fedbf48006ae4f2f6898348072aefe29082d867d64729030f180780 \
  weighbridge/vllm:a100-40g-x2-qwq-32b-819bb24153e1
