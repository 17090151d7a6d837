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
export GLOO_SOCKET_IFNAME=lo
export HF_HOME=/tmp/home/.cache/huggingface
export HF_HUB_OFFLINE=1
export HOME=/tmp/home
export LOGNAME=engine
export PYTHONUNBUFFERED=1
export TORCH_COMPILE_DISABLE=1
export TORCHINDUCTOR_CACHE_DIR=/var/cache/weighbridge/inductor
export TP_SOCKET_IFNAME=lo
export TRANSFORMERS_OFFLINE=1
export USER=engine
export VLLM_CACHE_ROOT=/var/cache/weighbridge/vllm
export VLLM_CONFIG_ROOT=/tmp/home/.config/vllm
export VLLM_HOST_IP=127.0.0.1
export VLLM_NO_USAGE_STATS=1
export VLLM_TARGET_DEVICE=cpu
export XDG_CACHE_HOME=/tmp/home/.cache
mkdir -p "$HOME"

model=/models/weighbridge-demo
[ -r "$model/config.json" ] ||
  refuse weights "no readable $model/config.json" "mount the model's folder there, readable for uid $(id -u)"
[ -n "$(find "$model/" -maxdepth 1 -name '*.safetensors' -print -quit)" ] ||
  refuse weights "no .safetensors file in $model" "fetch the weights again; a git clone may hold LFS pointers only"
python3 /opt/weighbridge/checks.py weights "$model"

shm_mib=$(df -Pm /dev/shm | awk 'NR == 2 { print $2 }')
[ "$shm_mib" -ge 1024 ] ||
  refuse shm "/dev/shm has $shm_mib MiB, the plan has 1024" "start with --shm-size 1024m"

card=
card=any   # nothing is compiled for a processor
# Kernels that were compiled before: from the image, when they are of this plan and card. One line, and never an end.
python3 /opt/weighbridge/warm.py use "$card" || true
say 'starting vllm 0.32.0 with weighbridge-demo'
# "$@": arguments given after the image's name, none by default; the engine lets the last of two win.
exec /opt/engine/bin/python -m vllm.entrypoints.openai.api_server --model /models/weighbridge-demo \
  --served-model-name weighbridge-demo \
  --uds /run/weighbridge/engine/engine.sock \
  --disable-uvicorn-access-log \
  --dtype bfloat16 \
  --kv-cache-dtype auto \
  --tensor-parallel-size 1 \
  --pipeline-parallel-size 1 \
  --data-parallel-size 1 \
  --max-model-len 2048 \
  --max-num-seqs 16 \
  --max-num-batched-tokens 2048 \
  --kv-cache-memory-bytes 1073741824 \
  --enforce-eager \
  --reasoning-parser qwen3 \
  --enable-auto-tool-choice \
  --tool-call-parser hermes \
  "$@"
