#!/bin/sh
# Rendered by Weighbridge from a plan: change the plan, not this.
docker run \
  --detach \
  --name weighbridge-deepseek-r1-distill-qwen-32b \
  --user 10001:0 \
  --read-only \
  --cap-drop ALL \
  --security-opt no-new-privileges \
  --pids-limit 4096 \
  --init \
  --restart on-failure:3 \
  --stop-timeout 30 \
  --publish 127.0.0.1:8000:8000 \
  --shm-size 1024m \
  --gpus '"device=0"' \
  --tmpfs /tmp:rw,nosuid,nodev,size=2048m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-32b,target=/models/deepseek-r1-distill-qwen-32b,readonly \
  --mount type=volume,source=weighbridge-cache-weighbridge-deepseek-r1-distill-qwen-32b,target=/var/cache/weighbridge \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-32b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-32b \
  --label io.weighbridge.plan=7b064d506413d957664e8ca3e8dd6a3cec94bde3c50954647cb318595a9ce611 \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=l40s-48g-x1 \
  --label io.weighbridge.spec=33185e27a863cff12e59e4d5e4b50a6009ae401cd912fa9e4be7c7cd9b3afa2e \
  weighbridge/vllm:l40s-48g-x1-deepseek-r1-distill-qwen-32b-7b064d506413
