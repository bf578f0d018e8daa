#!/usr/bin/env bash
# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
# On a machine with one CUDA device, from a fresh clone:   scripts/gpu_smoke.sh
# Installs into .venv if the package is not there yet, runs for at most 8 minutes, and writes one JSON and one page into
# outputs/gpu_smoke. Without a GPU: scripts/gpu_smoke.sh --device=cpu --tiny
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
if ! "$python" -c "import lerobot_wallwm, peft" 2>/dev/null; then
    found=$(scripts/find_python.sh)
    [ -x .venv/bin/python ] || "$found" -m venv .venv
    python=.venv/bin/python
    "$python" -m pip install --quiet --disable-pip-version-check -e ".[lora]"
fi
out=outputs/gpu_smoke
for word in "$@"; do case $word in --out=*) out=${word#--out=} ;; esac; done
mkdir -p "$out"
status=0
timeout 480 "$python" -m benchmarks speed gpu --out="$out" --markdown "$@" > "$out/page.md" || status=$?
cat "$out/page.md"
echo
echo "Send $out/result.json (and $out/page.md, which says the same to people)."
exit "$status"
