# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""WALL-WM, an event-grounded world action model, as a LeRobot plugin.

Importing this package registers the policy type `wallwm` and its processor steps with LeRobot. It builds no model
and imports neither diffusers nor transformers; LeRobot's factory imports the model when it is asked for one.
"""

from .policies.configuration_wallwm import WallwmConfig
from .policies.processor_wallwm import ClampNormalizedActionsStep, make_wallwm_pre_post_processors

__version__ = "0.1.0"
__all__ = ["ClampNormalizedActionsStep", "WallwmConfig", "make_wallwm_pre_post_processors"]
