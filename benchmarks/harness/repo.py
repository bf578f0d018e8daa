# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Where the repository's own data and examples lie."""

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
DATASET = REPO / "examples/so101_sim/data/so101_pick_place"
PHASES = DATASET.with_name(f"{DATASET.name}_phases.parquet")

# The demo's runner of commands and stages is a folder of scripts, not an installed package.
if str(REPO / "examples") not in sys.path:
    sys.path.insert(0, str(REPO / "examples"))
