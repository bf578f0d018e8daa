# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The paper's stages, one `lerobot-train` after the other, at `nano` size: `python examples/recipe/run.py`."""
