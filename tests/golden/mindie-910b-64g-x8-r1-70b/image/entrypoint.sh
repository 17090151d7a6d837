#!/usr/bin/env bash
# Rendered by Weighbridge from images/mindie/entrypoint.sh.j2 and a plan: change those, not this.
set -euo pipefail

# A failed check: its id, what was found, what to type. 78 is the exit code for a wrong configuration.
refuse() {
  printf 'weighbridge: check %s failed: %s\n  %s\n' "$1" "$2" "$3" >&2
  exit 78
}

say() {
  printf 'weighbridge: %s\n' "$1" >&2
}

export CPU_AFFINITY_CONF=1
export GLOO_SOCKET_IFNAME=lo
export HOME=/tmp/home
export LOGNAME=engine
export MIES_INSTALL_PATH=/usr/local/Ascend/mindie/latest/mindie-service
export MIES_SERVICE_MONITOR_MODE=1
export MINDIE_CHECK_INPUTFILES_PERMISSION=0
export MINDIE_LOG_LEVEL=INFO
export MINDIE_LOG_TO_FILE=0
export MINDIE_LOG_TO_STDOUT=1
export NPU_MEMORY_FRACTION=0.8
export PYTORCH_NPU_ALLOC_CONF=expandable_segments:True
export TASK_QUEUE_ENABLE=1
export USER=engine
mkdir -p "$HOME"

model=/models/deepseek-r1-distill-llama-70b
[ -r "$model/config.json" ] ||
  refuse weights "no readable $model/config.json" "mount the model's folder there, readable for uid $(id -u)"
[ -n "$(find "$model/" -maxdepth 1 -name '*.safetensors' -print -quit)" ] ||
  refuse weights "no .safetensors file in $model" "fetch the weights again; a git clone may hold LFS pointers only"
python3 /opt/weighbridge/checks.py weights "$model"

shm_mib=$(df -Pm /dev/shm | awk 'NR == 2 { print $2 }')
[ "$shm_mib" -ge 8192 ] ||
  refuse shm "/dev/shm has $shm_mib MiB, the plan has 8192" "start with --shm-size 8192m"

card=
seen=$(find /dev -maxdepth 1 -name 'davinci[0-9]*' | grep -c . || true)
[ "$seen" -eq 8 ] ||
  refuse cards "$seen cards are visible, the plan has 8" "start with the --device list of: invoke run --print docker"

# Kernels that were compiled before: from the image, when they are of this plan and card. One line, and never an end.
python3 /opt/weighbridge/warm.py use "$card" || true
# Its own environment; these files use names that need not be set.
set +u
for file in ascend-toolkit nnal/atb atb-models mindie; do
  # shellcheck disable=SC1090
  if [ -r "/usr/local/Ascend/$file/set_env.sh" ]; then . "/usr/local/Ascend/$file/set_env.sh"; fi
done
set -u

# Its configuration must belong to who runs it, and be closed to others; kernel_meta is written where it is started.
umask 027
mkdir -p /tmp/engine
install -m 0640 /opt/weighbridge/config/config.json /tmp/engine/config.json
export MIES_CONFIG_JSON_PATH=/tmp/engine/config.json
cd /tmp/engine
say 'starting mindie 3.0.0 with deepseek-r1-distill-llama-70b'
exec /usr/local/Ascend/mindie/latest/mindie-service/bin/mindieservice_daemon "$@"
