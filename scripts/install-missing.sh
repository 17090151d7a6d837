#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine, and says so before it does it.
#   scripts/install-missing.sh python|docker|tools|fonts …
# WEIGHBRIDGE_NO_INSTALL=1: install and start nothing, say all that is missing, exit 1 when something is.
set -euo pipefail

say() { printf 'setup: %s\n' "$1" >&2; }
fail() { printf 'error: %s\n  %s\n' "$1" "$2" >&2; exit 1; }

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
updated=
only_say=${WEIGHBRIDGE_NO_INSTALL:-}
missing=0

lacks() { # lacks WHAT HOW
  say "missing: $1: $2"
  missing=$((missing + 1))
}

install() {
  if [ -n "$only_say" ]; then
    lacks "$*" "apt-get install $*"
    return
  fi
  say "installing $* with apt-get"
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
  [ -z "$only_say" ] || return 0
  python >/dev/null && return
  install python3.11 python3.11-venv # Ubuntu 22.04's own python3 is older
  python >/dev/null || fail "no Python 3.11 or later" "install one, then run this again"
}

docker_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

need_docker() {
  command -v mmdebstrap >/dev/null || install mmdebstrap # makes the base image where no registry answers
  docker_answers && return
  check_socket || return 0
  PATH=$PATH:/usr/sbin:/sbin
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    install docker.io
    [ -z "$only_say" ] || return 0
    check_socket # the installation has started it
  fi
  docker_answers || start_docker
}

# A socket that is there and closed to this user will not open by waiting.
check_socket() {
  local socket=${DOCKER_HOST:-unix:///var/run/docker.sock} way
  socket=${socket#unix://}
  if [ ! -S "$socket" ] || [ -w "$socket" ]; then
    return 0
  fi
  way="sudo usermod -aG docker $(id -un) && newgrp docker"
  [ -n "$only_say" ] || fail "the Docker engine is there, and $(id -un) is not in its group yet" "$way   # and then this again"
  lacks "the right of $(id -un) to use the Docker engine" "$way"
  return 1
}

start_docker() {
  if [ -n "$only_say" ]; then
    lacks "a Docker engine that answers" "systemctl start docker"
    return
  fi
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
    check_socket
    sleep 1
  done
  fail "the Docker engine did not answer within 60 s" "see ${log:-journalctl -u docker}"
}

need_tools() {
  command -v shellcheck >/dev/null || install shellcheck
  # The console page is tested in it. Where it is no package (Ubuntu has a snap), those tests are skipped.
  if ! command -v chromium >/dev/null && apt-cache show chromium >/dev/null 2>&1; then
    install chromium
  fi
  # Baked images are pushed to it in the tests; where it is no package, those tests are skipped.
  if ! command -v docker-registry >/dev/null && apt-cache show docker-registry >/dev/null 2>&1; then
    keep_off docker-registry
    install docker-registry
  fi
}

keep_off() { # keep_off SERVICE: the package would start it, for everybody on the network; only its program is wanted
  if [ -z "$only_say" ] && [ -d /run/systemd/system ]; then
    say "the service of $1 stays off (to have it: systemctl unmask $1)"
    "${as_root[@]}" systemctl mask --quiet "$1" || true
  fi
}

need_fonts() { # for pictures of the console in Chinese
  [ -n "$(fc-list :lang=zh 2>/dev/null)" ] || install fontconfig fonts-noto-cjk
}

for part in "$@"; do
  case $part in
    python) need_python ;;
    docker) need_docker ;;
    tools) need_tools ;;
    fonts) need_fonts ;;
    which-python) python ;;
    *) fail "$0 knows python, docker, tools, fonts; not $part" "$0 python docker" ;;
  esac
done
if [ "$missing" -ne 0 ]; then
  fail "$missing missing, and WEIGHBRIDGE_NO_INSTALL is set" "install what is listed above, or unset WEIGHBRIDGE_NO_INSTALL"
fi
