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
  --device /dev/davinci0 \
  --device /dev/davinci_manager \
  --device /dev/devmm_svm \
  --device /dev/hisi_hdc \
  --tmpfs /tmp:rw,nosuid,nodev,size=4096m \
  --tmpfs /run/weighbridge:rw,nosuid,nodev,size=64m \
  --tmpfs /run/bodies:rw,nosuid,nodev,size=1024m \
  --mount type=bind,source=/srv/models/deepseek-r1-distill-qwen-7b,target=/models/deepseek-r1-distill-qwen-7b,readonly \
  --mount type=bind,source=/srv/keys,target=/etc/weighbridge/keys,readonly \
  --mount type=bind,source=/usr/local/dcmi,target=/usr/local/dcmi,readonly \
  --mount type=bind,source=/usr/local/bin/npu-smi,target=/usr/local/bin/npu-smi,readonly \
  --mount type=bind,source=/usr/local/Ascend/driver/lib64,target=/usr/local/Ascend/driver/lib64,readonly \
  --mount type=bind,source=/usr/local/Ascend/driver/version.info,target=/usr/local/Ascend/driver/version.info,readonly \
  --mount type=bind,source=/etc/ascend_install.info,target=/etc/ascend_install.info,readonly \
  --env WEIGHBRIDGE_KEYS=/etc/weighbridge/keys/keys \
  --label io.weighbridge.address=127.0.0.1 \
  --label io.weighbridge.model=deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.name=weighbridge-deepseek-r1-distill-qwen-7b \
  --label io.weighbridge.plan=467e36a4314ac194a2930e7d4f13695cb89b85ab06bdf91ff3b378bf446f15ce \
  --label io.weighbridge.port=8000 \
  --label io.weighbridge.profile=910b-64g-x1 \
  --label io.weighbridge.spec=b90c15bb04e8bef7bed2df659de365a84b221b6e012912487f4ba8a1bfa87a4c \
  weighbridge/mindie:910b-64g-x1-deepseek-r1-distill-qwen-7b-467e36a4314a
