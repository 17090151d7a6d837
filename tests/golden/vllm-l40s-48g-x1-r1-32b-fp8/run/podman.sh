#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-32b \
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
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-32b,target=/models/deepseek-r1-distill-qwen-32b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-32b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-32b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-32b \
  --label io.weighbridge.plan=dc652bbbc7f8a30c0cec0b225b4879a85d2f829cc4d5b391166737e968ae9093 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l40s-48g-x1 \
  --label io.weighbridge.spec=53ede0298b9459bf68762dd9d015b1d0e6f6ec3dbe2168ce2d2e6383937ddfeb \
  weighbridge/vllm:l40s-48g-x1-deepseek-r1-distill-qwen-32b-dc652bbbc7f8
