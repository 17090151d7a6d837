#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-14b-awq \
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
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-14b-awq,target=/models/deepseek-r1-distill-qwen-14b-awq,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-14b-awq,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-14b-awq \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-14b-awq \
  --label io.weighbridge.plan=68fd1ad24c540fbeb12673e5673e23e1ddff7e587775937586648f944082da8d \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=t4-16g-x1 \
  --label io.weighbridge.spec=935b89e3aedcb421515c1d1e3d5cd74803acaf4f993e3616ddcbb71a32eda886 \
  weighbridge/vllm:t4-16g-x1-deepseek-r1-distill-qwen-14b-awq-68fd1ad24c54
