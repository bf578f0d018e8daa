# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm check`: what a checkpoint is worth on held-out data, and whether the arm should be switched on."""
