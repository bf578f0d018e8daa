# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""SO-101 pick and place in MuJoCo as a LeRobot environment: ``lerobot-eval --env.type=so101_sim``.

LeRobot imports this module at start-up because of the distribution's name; it must stay light, so neither MuJoCo
nor so101-nexus is imported before an environment is made.
"""

from gymnasium.envs.registration import register

from lerobot_env_so101_sim.configuration import GYM_ID, TABLE_GYM_ID, So101SimEnvConfig

register(id=GYM_ID, entry_point="lerobot_env_so101_sim.env:So101PickPlaceEnv")
register(id=TABLE_GYM_ID, entry_point="lerobot_env_so101_sim.tables.env:So101TableEnv")

__all__ = ["GYM_ID", "TABLE_GYM_ID", "So101SimEnvConfig"]
