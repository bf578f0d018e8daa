# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LeRobot imports a plugin by its distribution's name; the code lives in `lerobot_wallwm`."""

from lerobot_wallwm import *  # noqa: F403
