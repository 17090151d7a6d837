#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
podman run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-14b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 4096m \
  --device nvidia.com/gpu=0 --device nvidia.com/gpu=1 \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-14b,target=/models/deepseek-r1-distill-qwen-14b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-14b,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-14b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-14b \
  --label io.weighbridge.plan=c3e09bebf6823569bbe2ac483d5be06a9fa31f8db669cb83f0652a43742c1058 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=rtx4090-24g-x2 \
  --label io.weighbridge.spec=7b327c0fc285bfe191ffe56821647db580da1fe0ad856cb275c1b4bee5850dac \
  weighbridge/vllm:rtx4090-24g-x2-deepseek-r1-distill-qwen-14b-c3e09bebf682
