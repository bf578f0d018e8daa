# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The demo and the benchmarks are scripts, not installed packages: put them on the path."""

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
for folder in (REPO / "examples", REPO / "benchmarks"):
    sys.path.insert(0, str(folder))
