# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Two recipes: `nano`, for minutes of training on two CPU cores from random weights, and `paper`, as WALL-WM has it.

A recipe gives the fields that a person did not set. What differs by stage is in `training/stages.py`; what has no flag of its
own is `RecipeParts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A field's value in both recipes, and where the paper's comes from."""

    nano: Any
    paper: Any
    source: str


# `None`: as it suits the backbone.
SETTINGS: Mapping[str, Setting] = {
    "backbone": Setting("nano", "wan2.2-5b", "p. 24"),
    "image_size": Setting(None, (192, 224), "its README"),
    "num_future_latents": Setting(2, 16, "p. 19: 129 frames at stride 2 are 65 sampled ones, 17 latents"),
    "video_stride": Setting(4, 2, "p. 19"),
    "landmarks": Setting(8, 0, "none; ours"),
    "optimizer": Setting("adamw", "muon", "p. 22, for most modules; it gives no rates"),
    "imagination": Setting("none", "anchor", "p. 10: the video runs to s* = 45"),
    "num_inference_steps": Setting(None, 50, "p. 10"),
    "replan_steps": Setting(4, 0, "p. 21: the whole segment, open loop"),
}


@dataclass(frozen=True)
class RecipeParts:
    """What a recipe decides that no flag sets.

    Attributes:
        place_codes: A random code of its place multiplies every video feature that the action tower reads, and values are
            scaled up by the root of their number. Ours, so that a short run from random weights learns to look.
        open_gates: nano's video tower starts with all gates at one, and with random places. Ours, for the same reason.
        residual: nano's video head predicts the change of the picture, whose zero is "nothing moves", and not the flow.
        action_velocity: The action head predicts the flow (p. 11), and not the actions, whose zero is "stay".
    """

    place_codes: bool
    open_gates: bool
    residual: bool
    action_velocity: bool


PARTS = {
    "nano": RecipeParts(place_codes=True, open_gates=True, residual=True, action_velocity=False),
    "paper": RecipeParts(place_codes=False, open_gates=False, residual=False, action_velocity=True),
}


def fill_recipe(config: Any) -> None:
    """Gives the fields that were not set their recipe's value."""
    for name, setting in SETTINGS.items():
        if getattr(config, name) is None:
            setattr(config, name, getattr(setting, config.recipe))


def clashes(config: Any) -> list[str]:
    """Fields that were set to something else than the recipe's value, with both."""
    return [
        f"--policy.{name}={_value(getattr(config, name))} (the recipe: {_value(wanted)})"
        for name, setting in SETTINGS.items()
        if (wanted := getattr(setting, config.recipe)) is not None and getattr(config, name) != wanted
    ]


def described(config: Any) -> str:
    """The settings of a policy that follows a recipe, one a line, and what its owner set otherwise."""
    stage, parts = config.training_stage, PARTS[config.recipe]
    rows = {name: (_value(getattr(config, name)), setting.source) for name, setting in SETTINGS.items()}
    rows["horizon"] = f"{config.horizon} actions", "its README: T = 128"
    rows["stage"] = stage.name, "p. 19-21"
    rows["losses"] = ", ".join(sorted(stage.losses)), "p. 20: video alone, then actions alone"
    rows["video predicts"] = "what changes" if parts.residual else "flow", "p. 8, eq. 7"
    rows["actions predict"] = "flow" if parts.action_velocity else "actions", "p. 11"
    rows["samples with their future"] = f"{stage.future_fraction:g}", "p. 20: all"
    rows["of these, video held at s*"] = f"{stage.anchored_fraction:g}", "p. 10, 20"
    rows["draws K"] = str(stage.action_draws), "p. 11: 6"
    rows["captions dropped"] = " to ".join(f"{share:g}" for share in stage.caption_drop), "p. 19: 0.1 to 0.9"
    rows["weight average"] = (
        f"{stage.ema_decay:g}" if stage.ema_decay else "none",
        "p. 20: 0.9999 in stage video",
    )
    width = max(map(len, rows))
    lines = [f"  {name:<{width}}  {value}  ({source})" for name, (value, source) in rows.items()]
    lines.insert(0, f"--policy.recipe={config.recipe}:")
    if not config.calibration:
        lines.append("  The paper's sight cones (p. 7) need --policy.calibration=FILE.")
    lines += [f"  Set otherwise, and so it stays: {clash}" for clash in clashes(config)]
    return "\n".join(lines)


def _value(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
