"""Starts the CPU engine with what a rendered entrypoint gave another one: the same model, name, context and parsers."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

PYTHON = "/opt/engine/bin/python"
SAME = (
    "--served-model-name",
    "--uds",
    "--host",
    "--port",
    "--max-model-len",
    "--reasoning-parser",
    "--tool-call-parser",
)
# The other engine's words for what is meant.
MEANS = {"--model-path": "--model", "--context-length": "--max-model-len"}
PARSERS = {"deepseek-r1": "deepseek_r1", "llama3": "llama3_json", "qwen25": "hermes", "deepseekv3": "deepseek_v3"}
SOCKET = "/tmp/engine/engine.sock"
PROXY = """worker_processes 1; daemon off; pid /tmp/engine/proxy.pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{ access_log off;
  client_body_temp_path /tmp/engine/b; proxy_temp_path /tmp/engine/p; fastcgi_temp_path /tmp/engine/f;
  uwsgi_temp_path /tmp/engine/u; scgi_temp_path /tmp/engine/s;
  server {{ listen {address}:{port};
    proxy_buffering off; proxy_read_timeout 600s; proxy_http_version 1.1;
    location = /v2/health/ready {{ proxy_pass http://unix:{socket}:/health; }}
    location / {{ proxy_pass http://unix:{socket}; }} }} }}
"""


def options(words: list[str]) -> dict[str, str]:
    """Flags with their values; a switch has an empty one."""
    found: dict[str, str] = {}
    for here, after in zip(words, [*words[1:], "--"], strict=True):
        if here.startswith("--"):
            found[MEANS.get(here, here)] = "" if after.startswith("--") else after
    return found


def serve(model: str, given: dict[str, str], *, replace: bool = True) -> int:
    """The CPU engine; it takes the place of this process."""
    words = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    for name in SAME:
        if name in given:
            words += [name, PARSERS.get(given[name], given[name])]
    if "--tool-call-parser" in given:
        words.append("--enable-auto-tool-choice")
    words += ["--enforce-eager", "--dtype", "bfloat16", "--kv-cache-memory-bytes", "268435456", "--max-num-seqs", "8"]
    home = "/tmp/home/.cache"
    os.environ.update(VLLM_TARGET_DEVICE="cpu", XDG_CACHE_HOME=home, VLLM_CACHE_ROOT=home, PYTHONUNBUFFERED="1")
    os.environ.update(VLLM_CONFIG_ROOT="/tmp/home/.config", HF_HOME=home, TORCHINDUCTOR_CACHE_DIR=f"{home}/inductor")
    os.environ.update(VLLM_HOST_IP="127.0.0.1", GLOO_SOCKET_IFNAME="lo", HF_HUB_OFFLINE="1")
    os.environ.pop("LD_LIBRARY_PATH", None)
    if replace:
        os.execv(PYTHON, words)
    return subprocess.Popen(words).pid


def by_file() -> None:
    """A daemon that reads a file: refuses what the real one refuses, then serves its endpoints on its port."""
    path = Path(os.environ["MIES_CONFIG_JSON_PATH"])
    state = path.stat()
    if os.getpid() == 1:
        sys.exit("MIE04E01011C: Failed to set process group errno 2")
    if stat.S_IMODE(state.st_mode) & 0o137 or state.st_uid != os.getuid():
        sys.exit(f"Check_path: {path.name} failed: mode {stat.S_IMODE(state.st_mode):o}, owner {state.st_uid}")
    config = json.loads(path.read_text(encoding="utf-8"))
    server, backend = config["ServerConfig"], config["BackendConfig"]
    deploy = backend["ModelDeployConfig"]
    model = deploy["ModelConfig"][0]
    cards = len(list(Path("/dev").glob("davinci[0-9]*")))
    if model["worldSize"] != len(backend["npuDeviceIds"][0]) or cards != model["worldSize"]:
        sys.exit(f"worldSize {model['worldSize']}, {backend['npuDeviceIds']}, {cards} cards")
    if server["httpsEnabled"] or deploy["maxInputTokenLen"] > backend["ScheduleConfig"]["maxPrefillTokens"]:
        sys.exit("httpsEnabled, or maxInputTokenLen above maxPrefillTokens")
    Path("/tmp/engine/proxy.conf").write_text(
        PROXY.format(address=server["ipAddress"], port=server["port"], socket=SOCKET), encoding="utf-8"
    )
    given = {"--served-model-name": model["modelName"], "--uds": SOCKET, "--max-model-len": str(deploy["maxSeqLen"])}
    serve(model["modelWeightPath"], given, replace=False)
    os.execv("/usr/sbin/nginx", ["nginx", "-p", "/tmp/engine", "-c", "/tmp/engine/proxy.conf"])


if __name__ == "__main__":
    if sys.argv[1] == "file":
        by_file()
    elif sys.argv[1] == "positional":
        serve(sys.argv[3], options(sys.argv[4:]))
    else:
        found = options(sys.argv[2:])
        serve(found["--model"], found)
