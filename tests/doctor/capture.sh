#!/bin/sh
# Writes what the doctor asks of a machine into a folder: tests/doctor/capture.sh FOLDER
# Needs no root, no Docker, no accelerator: a missing tool is written down as missing. Under 2 MB, one or two minutes.
# Each question is three files: NAME.out (first 128 KiB of standard output and error), NAME.rc, NAME.cmd.
# It reads only. Serial numbers, UUIDs and host names stand in the output: read it before you publish it.
# shellcheck disable=SC2016  # the scripts are run by the inner shell
set -u
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1" || exit 1
cd "$1" || exit 1
export LC_ALL=C

ask() { # NAME COMMAND...
  name=$1; shift
  echo "$*" >"$name.cmd"
  if ! command -v "$1" >/dev/null 2>&1; then
    echo "$1: not found" >"$name.out"; echo 127 >"$name.rc"; return
  fi
  timeout -k 2 "${SECONDS_EACH:-30}" "$@" >"$name.tmp" 2>&1 </dev/null
  echo $? >"$name.rc"
  head -c 131072 "$name.tmp" >"$name.out"; rm -f "$name.tmp"
}
sh_() { # NAME SCRIPT: a question that is a small script
  name=$1; shift
  ask "$name" sh -c "$1"
}

# --- cards: NVIDIA
Q=index,name,uuid,pci.bus_id,driver_version,memory.total,memory.used,memory.free,persistence_mode,compute_mode
Q=$Q,ecc.mode.current,ecc.errors.uncorrected.volatile.total,ecc.errors.corrected.volatile.total
Q=$Q,mig.mode.current,pcie.link.gen.current,pcie.link.gen.max,pcie.link.width.current,pcie.link.width.max
Q=$Q,power.draw,power.limit,power.default_limit,power.max_limit,temperature.gpu,pstate
Q=$Q,clocks.sm,clocks.max.sm,utilization.gpu
ask nvidia-smi nvidia-smi
ask nvidia-smi-L nvidia-smi -L
ask nvidia-query nvidia-smi "--query-gpu=$Q" --format=csv
ask nvidia-query-throttle nvidia-smi "--query-gpu=index,clocks_throttle_reasons.active,clocks_throttle_reasons.hw_slowdown,clocks_throttle_reasons.hw_thermal_slowdown,clocks_throttle_reasons.hw_power_brake_slowdown,clocks_throttle_reasons.sw_thermal_slowdown,clocks_throttle_reasons.sw_power_cap" --format=csv
ask nvidia-query-throttle-new nvidia-smi "--query-gpu=index,clocks_event_reasons.active,clocks_event_reasons.hw_slowdown,clocks_event_reasons.hw_thermal_slowdown,clocks_event_reasons.hw_power_brake_slowdown,clocks_event_reasons.sw_thermal_slowdown,clocks_event_reasons.sw_power_cap" --format=csv
ask nvidia-query-fabric nvidia-smi --query-gpu=index,fabric.state,fabric.status --format=csv
ask nvidia-remapped nvidia-smi --query-remapped-rows=gpu_uuid,remapped_rows.correctable,remapped_rows.uncorrectable,remapped_rows.pending,remapped_rows.failure --format=csv
ask nvidia-apps nvidia-smi --query-compute-apps=gpu_uuid,pid,process_name,used_memory --format=csv
ask nvidia-xml nvidia-smi -q -x
ask nvidia-q nvidia-smi -q
ask nvidia-topo nvidia-smi topo -m
ask nvidia-p2p-read nvidia-smi topo -p2p r
ask nvidia-p2p-nvlink nvidia-smi topo -p2p n
ask nvidia-nvlink nvidia-smi nvlink -s
ask nvidia-mig nvidia-smi mig -lgi
ask nvidia-toolkit nvidia-ctk --version
ask nvidia-cli nvidia-container-cli info
ask nvidia-fabricmanager systemctl show nvidia-fabricmanager --property=LoadState,ActiveState,SubState
ask nvidia-persistenced systemctl show nvidia-persistenced --property=LoadState,ActiveState,SubState
sh_ nvidia-nodes 'ls -l /dev/nvidia* /dev/nvidia-caps /dev/dri 2>/dev/null; true'
sh_ nvidia-proc 'cd /proc/driver/nvidia && find . -type f -size -64k | sort | while read -r f; do echo "== $f"; head -c 4096 "$f"; done'
sh_ nvidia-cdi 'ls -l /etc/cdi /var/run/cdi 2>/dev/null; head -c 8192 /etc/cdi/*.yaml /var/run/cdi/*.yaml 2>/dev/null; true'
sh_ nvidia-pci 'for d in /sys/bus/pci/devices/*; do c=$(cat "$d/class"); case $c in 0x0300*|0x0302*|0x0680*|0x1200*) echo "$(basename "$d") vendor=$(cat "$d/vendor") device=$(cat "$d/device") class=$c numa=$(cat "$d/numa_node" 2>/dev/null) link=$(cat "$d/current_link_speed" 2>/dev/null) x$(cat "$d/current_link_width" 2>/dev/null) max=$(cat "$d/max_link_speed" 2>/dev/null) x$(cat "$d/max_link_width" 2>/dev/null)";; esac; done'
sh_ nvidia-ldconfig 'ldconfig -p | grep -E "libcuda|libnvidia-ml|libnccl"; echo "$LD_LIBRARY_PATH"'

# --- cards: Ascend
ask npu-smi npu-smi info
ask npu-smi-list npu-smi info -l
ask npu-smi-map npu-smi info -m
ask npu-smi-topo npu-smi info -t topo
sh_ npu-each 'for i in 0 1 2 3 4 5 6 7; do for t in board health memory ecc; do echo "== $t $i"; npu-smi info -t $t -i $i; done; done'
sh_ ascend-nodes 'ls -l /dev/davinci* /dev/devmm_svm /dev/hisi_hdc 2>/dev/null; true'
ask ascend-user id HwHiAiUser
sh_ ascend-versions 'for f in /usr/local/Ascend/driver/version.info /usr/local/Ascend/firmware/version.info /etc/ascend_install.info /usr/local/Ascend/ascend-toolkit/latest/version.cfg; do echo "== $f"; cat "$f"; done 2>/dev/null; true'
sh_ ascend-hccn 'PATH=$PATH:/usr/local/Ascend/driver/tools; command -v hccn_tool >/dev/null || exit 127; for d in $(ls -dv /dev/davinci[0-9]* 2>/dev/null); do i=${d#/dev/davinci}; for t in "-ip -g" "-gateway -g" "-link -g" "-net_health -g" "-tls -g"; do echo "== $i $t"; hccn_tool -i $i $t; done; done 2>&1; true'

# --- cards: AMD
ask rocm-smi rocm-smi
ask rocm-products rocm-smi --showproductname
ask rocm-smi-json rocm-smi --showproductname --showmeminfo vram --showdriverversion --json
ask amd-smi amd-smi static --json
ask rocm-numa cat /proc/sys/kernel/numa_balancing
sh_ rocm-nodes 'ls -l /dev/kfd /dev/dri 2>/dev/null; cat /sys/module/amdgpu/version 2>/dev/null; true'

# --- host
ask uname uname -a
ask os-release cat /etc/os-release
ask id id
ask lscpu lscpu
sh_ cpuinfo 'head -n 30 /proc/cpuinfo'
ask meminfo cat /proc/meminfo
sh_ vm 'for f in overcommit_memory overcommit_ratio swappiness nr_hugepages max_map_count; do echo "$f $(cat /proc/sys/vm/$f)"; done; cat /sys/kernel/mm/transparent_hugepage/enabled'
ask cmdline cat /proc/cmdline
ask df df -PT
ask df-inodes df -Pi
ask mounts cat /proc/mounts
ask cgroups stat -fc %T /sys/fs/cgroup
ask cgroup-self cat /proc/self/cgroup
sh_ ulimits 'ulimit -a'
ask limits cat /proc/self/limits
ask time timedatectl show
ask chrony chronyc tracking
ask date date -u +%s
ask ports ss -Hltn
sh_ tcp 'cat /proc/net/tcp /proc/net/tcp6'
ask docker-version docker version --format '{{json .}}'
ask docker-info docker info
ask docker-info-json docker info --format '{{json .}}'
ask podman podman info --format json
sh_ docker-daemon 'cat /etc/docker/daemon.json; systemctl show docker --property=Environment'
sh_ proxies 'env | grep -i _proxy | sed "s#//[^@/]*@#//***@#" | sort'
ask selinux getenforce
sh_ apparmor 'cat /sys/module/apparmor/parameters/enabled /proc/self/attr/current'
sh_ iommu 'ls /sys/class/iommu; ls /sys/kernel/iommu_groups | wc -l'
sh_ numa 'cat /proc/sys/kernel/numa_balancing; ls -d /sys/devices/system/node/node*'
sh_ infiniband 'ls -l /dev/infiniband; ls /sys/class/infiniband; ls /sys/class/net; lsmod | grep -E "nvidia|peermem|ib_core|amdgpu|drv_"'
sh_ dmesg 'dmesg 2>&1 | grep -iE "xid|nvrm|nvidia|davinci|amdgpu|oom|acs|not permitted" | tail -n 200'
sh_ journal 'journalctl -k --no-pager -n 2000 2>&1 | grep -iE "xid|nvrm" | tail -n 100'
sh_ block 'lsblk -o NAME,TYPE,SIZE,ROTA,FSTYPE,MOUNTPOINT'
sh_ governor 'cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'
sh_ shm 'df -P /dev/shm'
sh_ resolv 'cat /etc/resolv.conf'
ask virt systemd-detect-virt
date -u +%Y-%m-%dT%H:%M:%SZ >captured-at
du -sk . | cut -f1 | sed 's/$/ KiB written/' >&2
