#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
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
  --gpus '"device=0,1"' \
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
  --label io.weighbridge.plan=eec563eebd465a840d057ec4e81c385896c4fcdc2f123c5d94aba161596602ce \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=a100-40g-x2 \
  --label io.weighbridge.spec=95c49c6b5cd6aa51c09ad3fd18633b2e7cd5bded2e3d733e73885f7fbd70a69f \
  weighbridge/sglang:a100-40g-x2-deepseek-r1-distill-qwen-14b-eec563eebd46
