# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Whether the arm that a policy meets is the one that its checkpoint knows, and if not, what differs.

LeRobot 0.6.1 hands a policy tensors without names: it neither tells which joints the robot has nor puts them in the
checkpoint's order. What can be compared is their number, the cameras' names and sizes, and where each joint stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lerobot_wallwm.embodiment.description import Embodiment, widest_alike

PREFIX = "observation.images."
# A joint's range in the data counts as at least this part of the widest one's of the same unit: our choice.
NARROW = 0.25


def differences(
    batch: dict[str, Any],
    cameras: dict[str, tuple[int, ...]],
    allow_missing: bool,
    state_BP: np.ndarray,
    names: list[str],
    low: np.ndarray | None,
    high: np.ndarray | None,
    room: np.ndarray | None,
) -> list[str]:
    """Sentences on what differs between an observation and the checkpoint.

    Args:
        batch: The observation, as the pipeline leaves it.
        cameras: The checkpoint's cameras and their shapes (3, height, width).
        allow_missing: Whether cameras may be missing.
        state_BP: The observed state.
        names: The checkpoint's names of the state's dimensions.
        low, high: ``(P,)`` range of the state in the data, or None.
        room: ``(P,)`` how far outside that range a joint may stand (`start_room`), or None to skip this.
    """
    found = _cameras(batch, cameras, allow_missing)
    if state_BP.shape[1] != len(names):
        return [
            *found,
            f"the robot has {state_BP.shape[1]} joints, the checkpoint {len(names)} ({', '.join(names)})",
        ]
    if low is None or high is None or room is None:
        return found
    return found + _poses(state_BP, names, low, high, room)


def start_room(what: Embodiment, low: np.ndarray, high: np.ndarray, margin: float) -> np.ndarray:
    """``(P,)``: how far outside the data's range a joint may stand, as a part of it; anywhere for what turns round."""
    span = high - low
    alike = widest_alike(span, what.state, np.maximum(np.abs(low), np.abs(high)))
    room = margin * np.maximum(span, NARROW * alike)
    turning = [d for turn in what.state_rotations for d in turn.dims]
    turning += [d for d, dim in enumerate(what.state) if dim.wraps is not None]
    room[turning] = np.inf
    return room


def unknown_cameras(batch: dict[str, Any], cameras: dict[str, Any]) -> list[str]:
    """Cameras of the robot that the checkpoint does not know."""
    return [k for k in batch if k.startswith(PREFIX) and "_is_pad" not in k and k not in cameras]


def _cameras(batch: dict[str, Any], cameras: dict[str, tuple[int, ...]], allow_missing: bool) -> list[str]:
    found = []
    missing = [key for key in cameras if key not in batch]
    unknown = unknown_cameras(batch, cameras)
    if missing and (not allow_missing or len(missing) == len(cameras)):
        sentence = f"the robot has no camera {_short(missing)}"
        if unknown:
            renamed = ", ".join(f'"{u}": "{m}"' for u, m in zip(unknown, missing, strict=False))
            sentence += (
                f", but {_short(unknown)}, which the checkpoint does not know: rename it in --robot.cameras, or "
                f"add --rename_map='{{{renamed}}}' if it is the same view"
            )
        else:
            sentence += ": add it to --robot.cameras, or --policy.allow_missing_cameras=true"
        found.append(sentence)
    for key, shape in cameras.items():
        if key in batch and tuple(batch[key].shape[-3:]) != tuple(shape):
            seen = tuple(batch[key].shape[-3:])
            found.append(
                f"camera {_short([key])} gives {seen[2]} x {seen[1]} pixels, the checkpoint's {shape[2]} x {shape[1]}: set "
                f"its width={shape[2]}, height={shape[1]}"
            )
    return found


def _poses(
    state_BP: np.ndarray, names: list[str], low: np.ndarray, high: np.ndarray, room: np.ndarray
) -> list[str]:
    outside = (state_BP < low - room) | (state_BP > high + room)
    joints = np.flatnonzero(outside.any(0))
    if not len(joints):
        return []
    row = int(np.flatnonzero(outside.any(1))[0])
    stands = "; ".join(
        f"{names[i]} stands at {state_BP[row, i]:.1f}, the data's range is {low[i]:.1f} to {high[i]:.1f}"
        for i in joints
    )
    return [f"{stands}. {_guess(state_BP[row], low, high)}"]


def _guess(state_P: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """What a pose outside the data may come from."""
    normalised = bool((low >= -100.5).all() and (high <= 100.5).all())
    if normalised and bool((np.abs(state_P) > 101).any()):
        return (
            "The checkpoint's joints all lie within -100 to 100, as LeRobot's normalised units do, and the robot's do not: "
            "try --robot.use_degrees=false"
        )
    order = _fitting_order(state_P, low, high)
    reason = (
        "the robot's joints may come in another order than in the data"
        if order
        else "the arm may be calibrated otherwise"
    )
    return (
        "Either the arm stands where the data never was (move it by hand), or it uses other units "
        f"(--robot.use_degrees), or {reason}"
    )


def _fitting_order(state_P: np.ndarray, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether some other order of the joints would put all inside their ranges."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    fits = (state_P[:, None] >= low[None]) & (state_P[:, None] <= high[None])
    return bool((maximum_bipartite_matching(csr_array(fits), perm_type="column") >= 0).all())


def _short(keys: list[str]) -> str:
    return ", ".join(f"'{key.removeprefix(PREFIX)}'" for key in keys)
