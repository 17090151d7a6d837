#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
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
  --shm-size 1024m \
  --device nvidia.com/gpu=0 \
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
  --label io.weighbridge.plan=cd5f7606b201d64d9f1ff7e143be52222938406dc6c88bb93264bd363b1b643a \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=b200-180g-x1 \
  --label io.weighbridge.spec=1e288759d11f40f4706d9c2874867c4d0f9e2fd517b4404290b8cf3e694a32f2 \
  weighbridge/sglang:b200-180g-x1-deepseek-r1-distill-llama-70b-cd5f7606b201
