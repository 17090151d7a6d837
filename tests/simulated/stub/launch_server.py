"""`python3 -m sglang.launch_server` of the stub."""

import os
import sys

os.execv(sys.executable, [sys.executable, "/opt/stub/engine.py", "flags", *sys.argv[1:]])
