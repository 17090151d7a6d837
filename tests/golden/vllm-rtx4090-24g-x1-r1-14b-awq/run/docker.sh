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
  --label io.weighbridge.plan=63ca31442a6dedd56abf9642f6f9934f24a68bb688f8fa8ef72f260c0399c752 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=rtx4090-24g-x1 \
  --label io.weighbridge.spec=b9f8d38a735bfd816c1b9362d352740b4e79f73672efed441d81e5e1e5f3f932 \
  weighbridge/vllm:rtx4090-24g-x1-deepseek-r1-distill-qwen-14b-awq-63ca31442a6d
