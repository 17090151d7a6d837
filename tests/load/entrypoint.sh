#!/usr/bin/env bash
# Stands in for an engine's entrypoint, so that the gateway of a real image is what is measured.
exec python3 /tmp/load/stub.py
