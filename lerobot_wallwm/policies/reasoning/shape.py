# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Sizes of the language half, and at which depths its latents enter. Plain data: no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ReasonerShape:
    """Sizes of the language half.

    Attributes:
        words: That it can say, without `THEN`, `DONE` and `END`.
        latents: K_c; 0 for a checkpoint without a staircase.
        schedule: At which depth each enters, see `entry_depths`.
        width, depth, heads, ffn_width: Of the decoder.
    """

    words: tuple[str, ...]
    latents: int = 0
    schedule: str = "relay=3"
    width: int = 128
    depth: int = 6
    heads: int = 4
    ffn_width: int = 384


def entry_depths(schedule: str, latents: int, depth: int) -> tuple[int, ...]:
    """e_k of a schedule.

    Args:
        schedule: ``relay=r``, ``stagger=N`` or ``queries``.
        latents: K.
        depth: L, the decoder's layers.

    Raises:
        ValueError: No such schedule, or one that enters above the last layer.
    """
    name, _, number = schedule.partition("=")
    if schedule == "queries":
        return (0,) * latents
    if name not in ("relay", "stagger") or not number.isdigit():
        raise ValueError(f"--policy.staircase={schedule!r}: choose relay=R, stagger=N or queries.")
    step = int(number)
    entries = (0, *(step * (1 if name == "relay" else k) for k in range(1, latents)))
    check_entries(entries, depth)
    return entries


def check_entries(entries: Sequence[int], depth: int) -> None:
    """Raises ValueError unless e_0 = 0, the depths do not decrease, and all lie inside the decoder."""
    if not entries or entries[0] != 0 or list(entries) != sorted(entries) or entries[-1] >= depth:
        raise ValueError(
            f"latents that enter at depths {tuple(entries)}: the first must be 0, none may be less than the one before, and "
            f"all must be below the decoder's {depth} layers."
        )
