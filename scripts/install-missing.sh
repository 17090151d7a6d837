#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine, and says so before it does it.
#   scripts/install-missing.sh python|docker|tools …     WEIGHBRIDGE_NO_INSTALL=1: only say, and fail when something is missing
set -euo pipefail

say() { printf 'setup: %s\n' "$1" >&2; }
fail() { printf 'error: %s\n  %s\n' "$1" "$2" >&2; exit 1; }

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
updated=

install() {
  say "installing $* with apt-get"
  [ -z "${WEIGHBRIDGE_NO_INSTALL:-}" ] || fail "$* missing, and WEIGHBRIDGE_NO_INSTALL is set" "apt-get install $*"
  command -v apt-get >/dev/null || fail "$* missing, and there is no apt-get here" "install $* with your distribution's tool"
  if [ -z "$updated" ]; then
    "${as_root[@]}" apt-get update -qq >&2 || say "apt-get update failed; going on with the lists at hand"
    updated=1
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    fail "apt-get could not install $*" "apt-get install $*"
}

# The newest Python of 3.11 and later that can make a virtual environment.
python() {
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

need_python() {
  python >/dev/null && return
  install python3 python3-venv
  python >/dev/null && return
  install python3.11 python3.11-venv # Ubuntu 22.04's own python3 is older
  python >/dev/null || fail "no Python 3.11 or later" "install one, then run this again"
}

docker_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

need_docker() {
  command -v mmdebstrap >/dev/null || install mmdebstrap # makes the base image where no registry answers
  docker_answers && return
  if [ -z "${DOCKER_HOST:-}" ] && [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
    fail "the Docker engine is there, and $(id -un) may not use it" "sudo usermod -aG docker $(id -un), then log in again"
  fi
  PATH=$PATH:/usr/sbin:/sbin
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    install docker.io
  fi
  start_docker
}

start_docker() {
  [ -z "${WEIGHBRIDGE_NO_INSTALL:-}" ] || fail "no Docker engine answers, and WEIGHBRIDGE_NO_INSTALL is set" "start dockerd"
  if [ -d /run/systemd/system ]; then
    say "starting the Docker engine: systemctl start docker"
    "${as_root[@]}" systemctl start docker || true
  else
    local log=/var/log/weighbridge-dockerd.log
    say "starting the Docker engine: dockerd, detached, log in $log"
    # A stopped machine leaves its process ids behind, and dockerd then refuses to start.
    "${as_root[@]}" sh -c 'pgrep -x dockerd >/dev/null || rm -f /var/run/docker.pid
      setsid nohup dockerd >'"$log"' 2>&1 </dev/null &'
  fi
  for _ in $(seq 60); do
    docker_answers && return
    sleep 1
  done
  if [ "$(id -u)" -ne 0 ]; then
    fail "the Docker engine does not answer $(id -un)" "sudo usermod -aG docker $(id -un), then log in again"
  fi
  fail "the Docker engine did not answer within 60 s" "see ${log:-journalctl -u docker}"
}

need_tools() {
  command -v shellcheck >/dev/null || install shellcheck
}

for part in "$@"; do
  case $part in
    python) need_python ;;
    docker) need_docker ;;
    tools) need_tools ;;
    which-python) python ;;
    *) fail "$0 knows python, docker, tools; not $part" "$0 python docker" ;;
  esac
done
