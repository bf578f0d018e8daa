# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Finds what a robot reports of its motors' work: features such as `observation.effort`, or names in the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

EFFORT = "observation.effort"
# As a feature (`observation.current`, also one by joint: `observation.current.gripper`), or as the end of a name in the
# state (`gripper.torque`, as LeRobot's OpenArm writes it).
_WORDS = ("effort", "current", "load", "torque", "force")


def effort_keys(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Features of a dataset that hold effort of any kind, in their order."""
    keys = []
    for key, feature in features.items():
        kind = key.removeprefix("observation.").split(".")[0]
        number = str(feature.get("dtype", "")).startswith(("float", "int", "uint"))
        if key.startswith("observation.") and kind in _WORDS and number:
            keys.append(key)
    return keys


def join_effort(
    columns: Mapping[str, tuple[np.ndarray, tuple[str, ...]]], state: np.ndarray, state_names: tuple[str, ...]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """All effort of an episode beside each other, and its names. It is evidence, not a need: what has holes is left out.

    Args:
        columns: Feature to its (T, E) values and names.
        state: (T, S), whose dimensions with such a name count too.
        state_names: S names, or empty.

    Returns:
        (T, E) values and E names; None and nothing where there is no effort.
    """
    found, names = [], []
    for key, (values, own) in columns.items():
        if not np.isfinite(values).all():
            continue
        found.append(values)
        if values.shape[1] == 1:
            names.append(key)  # `observation.current.gripper` says more than a name of its one value
        elif len(own) == values.shape[1]:
            names += own
        else:
            names += [f"{key}.{d}" for d in range(values.shape[1])]
    in_state = [d for d, name in enumerate(state_names) if name.split(".")[-1] in _WORDS]
    if in_state:
        found.append(state[:, in_state])
        names += [state_names[d] for d in in_state]
    return (np.hstack(found), tuple(names)) if found else (None, ())
