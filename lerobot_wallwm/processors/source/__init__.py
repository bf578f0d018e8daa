# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A LeRobot dataset as it lies on disk, its events, and the decoder of its pictures."""
