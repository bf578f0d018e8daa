# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Weights from elsewhere: which backbones there are, where their files lie, and how they are read."""
