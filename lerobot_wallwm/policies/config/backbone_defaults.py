# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Fields that follow the backbone unless they are set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lerobot_wallwm.hub.files.backbones import BACKBONES

if TYPE_CHECKING:
    pass

# Our choice, for two CPU cores.
_NANO: dict[str, Any] = {
    "image_size": (96, 96),
    "max_text_tokens": 16,
    "action_width": 96,
    "action_heads": 4,
    "action_ffn_width": 192,
    "video_shift": 5.0,
    "optimizer_lr": 1e-3,
}


def defaults_of(backbone: str) -> dict[str, Any]:
    """Values of the fields that follow the backbone unless they are set."""
    if backbone == "nano":
        return _NANO
    wan = BACKBONES[backbone]
    return {
        "image_size": (192, 224),
        "max_text_tokens": wan.max_text_tokens,
        "video_shift": wan.flow_shift,
        "optimizer_lr": 1e-4,
        **wan.policy,
    }
