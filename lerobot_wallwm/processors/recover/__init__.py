# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Demonstrations from where rollouts go wrong: `wallwm recover` and its arm driver."""
