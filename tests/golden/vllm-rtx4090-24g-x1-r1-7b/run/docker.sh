#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-7b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 1024m \
  --gpus '"device=0"' \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-7b,target=/models/deepseek-r1-distill-qwen-7b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-7b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.plan=fa25e68e0ce819fdd83042fc579aa3a859f6a889fc45faa2b6012b3c9aa4f945 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=rtx4090-24g-x1 \
  --label io.weighbridge.spec=4d4229db8899a0a5587188358a78d93d836d73788f2a36d9eca628a2fda75700 \
  weighbridge/vllm:rtx4090-24g-x1-deepseek-r1-distill-qwen-7b-fa25e68e0ce8
