#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-qwen2.5-72b-instruct \
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
  --mount type=bind,source=/srv/models/qwen2.5-72b-instruct,target=/models/qwen2.5-72b-instruct,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-qwen2.5-72b-instruct,target=/var/cache/weighbridge \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=qwen2.5-72b-instruct \
  --label io.weighbridge.name=weighbridge-qwen2.5-72b-instruct \
  --label io.weighbridge.plan=590440a94822b8ba0ba73583ec825c452799521205e52942c53665f3e5df2ba5 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h200-141g-x4 \
  --label io.weighbridge.spec=f85b56871f501af64437099cfd2dac950d674e05006b7dc7f33e4428de326194 \
  weighbridge/sglang:h200-141g-x4-qwen2.5-72b-instruct-590440a94822
