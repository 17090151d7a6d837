#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-llama-70b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 8192m \
  --gpus '"device=0,1,2,3"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-llama-70b,target=/models/deepseek-r1-distill-llama-70b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-llama-70b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-llama-70b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-llama-70b \
  --label io.weighbridge.plan=b3eb53f6ef38d57c21ab1813ce26d04c896b9f6a488096dce6c708472924d2c7 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a100-80g-x4 \
  --label io.weighbridge.spec=844689f5a5bead4726773831b2f8d4b9429de5185f14d0a536ce50aa7013f08e \
  weighbridge/sglang:a100-80g-x4-deepseek-r1-distill-llama-70b-b3eb53f6ef38
