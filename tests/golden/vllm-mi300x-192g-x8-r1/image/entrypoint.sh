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
export NCCL_SOCKET_IFNAME=lo
export TORCHINDUCTOR_CACHE_DIR=/var/cache/weighbridge/inductor
export TP_SOCKET_IFNAME=lo
export TRANSFORMERS_OFFLINE=1
export TRITON_CACHE_DIR=/var/cache/weighbridge/triton
export USER=engine
export VLLM_CACHE_ROOT=/var/cache/weighbridge/vllm
export VLLM_HOST_IP=127.0.0.1
export VLLM_NO_USAGE_STATS=1
mkdir -p "$HOME"

model=/models/deepseek-r1
[ -r "$model/config.json" ] ||
  refuse weights "no readable $model/config.json" "mount the model's folder there, readable for uid $(id -u)"
[ -n "$(find "$model/" -maxdepth 1 -name '*.safetensors' -print -quit)" ] ||
  refuse weights "no .safetensors file in $model" "fetch the weights again; a git clone may hold LFS pointers only"
python3 /opt/weighbridge/checks.py weights "$model"

shm_mib=$(df -Pm /dev/shm | awk 'NR == 2 { print $2 }')
[ "$shm_mib" -ge 16384 ] ||
  refuse shm "/dev/shm has $shm_mib MiB, the plan has 16384" "start with --shm-size 16384m"

card=
[ -c /dev/kfd ] || refuse cards "there is no /dev/kfd" "start with the --device list of: invoke run --print docker"
{ true </dev/kfd; } 2>/dev/null ||
  refuse cards "/dev/kfd cannot be read by uid $(id -u), groups $(id -G)" "add the host's groups: --group-add \"\$(stat -c %g /dev/kfd)\""
seen=$(find /dev/dri -maxdepth 1 -name 'renderD*' 2>/dev/null | grep -c . || true)
[ "$seen" -ge 8 ] ||
  refuse cards "$seen render nodes are visible, the plan has 8 cards" "start with the --device list of: invoke run --print docker"
card=$(rocm-smi --showproductname 2>/dev/null | sed -n 's/.*\(Card Series\|GFX Version\): *//p' | sort -u | paste -sd ';' -) || card=
# Kernels that were compiled before: from the image, when they are of this plan and card. One line, and never an end.
python3 /opt/weighbridge/warm.py use "$card" || true
say 'starting vllm 0.26.0 with deepseek-r1'
# "$@": arguments given after the image's name, none by default; the engine lets the last of two win.
exec vllm serve /models/deepseek-r1 \
  --served-model-name deepseek-r1 \
  --uds /run/weighbridge/engine/engine.sock \
  --disable-uvicorn-access-log \
  --dtype bfloat16 \
  --kv-cache-dtype auto \
  --tensor-parallel-size 8 \
  --pipeline-parallel-size 1 \
  --data-parallel-size 1 \
  --max-model-len 163840 \
  --max-num-seqs 256 \
  --max-num-batched-tokens 8192 \
  --gpu-memory-utilization 0.92 \
  --chat-template examples/tool_chat_template_deepseekr1.jinja \
  --reasoning-parser deepseek_r1 \
  --enable-auto-tool-choice \
  --tool-call-parser deepseek_v3 \
  "$@"
