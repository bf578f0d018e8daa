# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The policy: LeRobot's three modules, and a folder for each idea behind them."""
