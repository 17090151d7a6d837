#!/usr/bin/env bash
# Rendered by Weighbridge from images/vllm/entrypoint.sh.j2 and a plan: change those, not this.
set -euo pipefail

# A failed check: its id, what was found, what to type. 78 is the exit code for a wrong configuration.
refuse() {
  printf 'weighbridge: check %s failed: %s\n  %s\n' "$1" "$2" "$3" >&2
  exit 78
}

say() {
  printf 'weighbridge: %s\n' "$1" >&2
}

export DO_NOT_TRACK=1
export FLASHINFER_WORKSPACE_BASE=/var/cache/weighbridge/flashinfer
export GLOO_SOCKET_IFNAME=lo
export HF_HUB_OFFLINE=1
export HOME=/tmp/home
export LOGNAME=engine
export NCCL_P2P_DISABLE=1
export NCCL_SOCKET_IFNAME=lo
export TORCHINDUCTOR_CACHE_DIR=/var/cache/weighbridge/inductor
export TP_SOCKET_IFNAME=lo
export TRANSFORMERS_OFFLINE=1
export TRITON_CACHE_DIR=/var/cache/weighbridge/triton
export USER=engine
export VLLM_CACHE_ROOT=/var/cache/weighbridge/vllm
export VLLM_HOST_IP=127.0.0.1
export VLLM_NO_USAGE_STATS=1
export VLLM_WORKER_MULTIPROC_METHOD=fork
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
# One row a card: its free memory in MiB, and the driver's major version. Only whole numbers are compared.
cards=$(nvidia-smi --query-gpu=memory.free,driver_version --format=csv,noheader,nounits 2>/dev/null | tr -d ',' || true)
seen=$(printf '%s' "$cards" | grep -c . || true)
[ "$seen" -eq 4 ] ||
  refuse cards "$seen cards are visible, the plan has 4" "start with the --gpus of: invoke run --print docker"
while read -r free driver; do
  case $free in *[!0-9]* | "") continue ;; esac
  [ "$free" -ge 74659 ] ||
    refuse memory "a card has $free MiB free, the plan uses 74659" "see who uses it: nvidia-smi; or plan for less: --utilization"
  [ "${driver%%.*}" -ge 580 ] ||
    refuse driver "the driver is $driver, this image needs 580" "install driver 580 or newer on the host"
done <<<"$cards"
card=$(nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null | sort -u | paste -sd ';' -) || card=
# A slice of a card takes no part in work that is divided: its vendor allows no copies between slices.
# grep reads to the end: one that leaves early would end the tool, and pipefail would take that for no slice.
if nvidia-smi -L 2>/dev/null | grep '^ *MIG ' >/dev/null; then
  refuse mig "a card is cut into MIG slices, and the plan divides the model over 4 cards" "switch MIG off on the host: nvidia-smi -mig 0; or plan for one card"
fi

# Kernels that were compiled before: from the image, when they are of this plan and card. One line, and never an end.
python3 /opt/weighbridge/warm.py use "$card" || true
say 'starting vllm 0.26.0 with deepseek-r1-distill-llama-70b'
# "$@": arguments given after the image's name, none by default; the engine lets the last of two win.
exec vllm serve /models/deepseek-r1-distill-llama-70b \
  --served-model-name deepseek-r1-distill-llama-70b \
  --uds /run/weighbridge/engine/engine.sock \
  --disable-uvicorn-access-log \
  --dtype bfloat16 \
  --kv-cache-dtype auto \
  --tensor-parallel-size 2 \
  --pipeline-parallel-size 2 \
  --data-parallel-size 1 \
  --max-model-len 131072 \
  --max-num-seqs 256 \
  --max-num-batched-tokens 8192 \
  --gpu-memory-utilization 0.92 \
  --reasoning-parser deepseek_r1 \
  --enable-auto-tool-choice \
  --tool-call-parser llama3_json \
  "$@"
