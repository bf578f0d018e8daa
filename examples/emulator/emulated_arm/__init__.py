# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""SO-100, SO-101 and Koch arms on a pseudo-terminal. Imports nothing of LeRobot, so that it starts quickly.

``EmulatorProcess`` (``emulated_arm.process``) starts one from Python, ``Remote`` (``emulated_arm.control``) talks to a
running one, ``read_journal`` and ``worst_goal`` (``emulated_arm.journal``) read what was written to the servos.
"""
