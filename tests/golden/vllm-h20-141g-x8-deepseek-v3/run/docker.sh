#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-v3 \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --init \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 16384m \
  --gpus '"device=0,1,2,3,4,5,6,7"' \
  --ulimit memlock=-1 \
  --ulimit stack=67108864 \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/deepseek-v3,target=/models/deepseek-v3,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-v3,target=/var/cache/weighbridge \
  --label io.weighbridge.model=deepseek-v3 \
  --label io.weighbridge.name=weighbridge-deepseek-v3 \
  --label io.weighbridge.plan=f685725fdf8f804b7ae9bb47292f417ee07c0bda2e27aa1d0071280979eaf169 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=h20-141g-x8 \
  --label io.weighbridge.spec=fb5cff6c54393793d62b888550723306d5df848c8d340dd452dacdd3b81222fc \
  weighbridge/vllm:h20-141g-x8-deepseek-v3-f685725fdf8f
