# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The split into training and held-out demonstrations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def split_episodes(episodes: Sequence[int], heldout: float, seed: int) -> tuple[list[int], list[int]]:
    """Splits source episodes into train and held-out.

    All events of a source episode land on the same side, so no frame of a held-out episode is ever trained on.

    Args:
        episodes: Source episode indices.
        heldout: Fraction in [0, 1); at least one episode is held out if it is above 0, and at least one is left.
        seed: Same seed, same split.
    """
    if not 0 <= heldout < 1:
        raise ValueError(f"heldout must be in [0, 1), got {heldout}")
    ordered = sorted(set(episodes))
    count = min(max(1, round(heldout * len(ordered))), len(ordered) - 1) if heldout > 0 else 0
    chosen = set(np.random.default_rng(seed).permutation(ordered)[:count].tolist())
    return [e for e in ordered if e not in chosen], [e for e in ordered if e in chosen]
