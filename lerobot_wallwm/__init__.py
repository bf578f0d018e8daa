# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""WALL-WM, an event-grounded world action model, as a LeRobot plugin.

Nothing is imported until it is asked for, so that `wallwm --help` answers at once. LeRobot imports
`lerobot_policy_wallwm`, which asks for everything below and thereby registers the policy type and its processor
steps. Neither way imports the model; LeRobot's factory does when it builds one. That diffusers and transformers come
along is LeRobot's own `optim` and `processor`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["ClampNormalizedActionsStep", "WallwmConfig", "make_wallwm_pre_post_processors"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # One module knows all of them, so that a configuration never comes without the steps that its checkpoints name.
    return getattr(import_module(".policies.processor_wallwm", __name__), name)
