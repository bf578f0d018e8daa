# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How far grippers stay from their commands while they hold something, learned from the ends of a view's events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_wallwm.embodiment.dataset import read_rows
from lerobot_wallwm.embodiment.description import Embodiment

# Our choices. Two kinds of ends are told apart where between them lies at least this share of their distance, and an event
# holds where this share of its kind does: demonstrators miss, too.
CLEARANCE, MOST = 0.2, 0.7
FEWEST = 3
# A gripper that moves by this share of its way to go in a tick is not stopped by anything: it arrives.
MOVING = 0.8


def learn_holds(
    root: Path | None, events: Sequence[Mapping[str, Any]], what: Embodiment
) -> dict[str, list[float]]:
    """Which events end with something in the gripper.

    Args:
        root: Folder of the view, or None.
        events: Its rows, see `view_rows`.
        what: What action and state are; grippers that are told a position that the state measures can be judged.

    Returns:
        By caption template, ``(A,)``: while something is held the state is at least so far from the command, on the side of
        the sign; 0 for what is not a gripper or holds nothing. Empty where holding cannot be told from moving freely.
    """
    rows = None if root is None or not events else read_rows(root, "action", "observation.state")
    if rows is None or any(values.ndim != 2 for values in rows):
        return {}
    action, state = rows
    last = np.array([event["dataset_to_index"] - 1 for event in events])
    first = np.array([event["dataset_from_index"] for event in events])
    if last.max() >= len(action) or action.shape[1] != len(what.action):
        return {}
    templates = np.array([event["wallwm/template"] for event in events])
    found: dict[str, list[float]] = defaultdict(lambda: [0.0] * action.shape[1])
    for d in what.grippers:
        dim = what.action[d]
        if dim.kind != "position" or dim.follows < 0:
            continue
        at, before = (
            state[rows, dim.follows].astype(np.float64) for rows in (last, np.maximum(last - 1, first))
        )
        gaps = at - action[last, d]
        gaps[np.abs(at - before) > MOVING * np.abs(gaps)] = 0.0
        away = max((_border(sign * gaps) * sign for sign in (1, -1)), key=abs)
        for template in set(templates.tolist()) if away else ():
            held = gaps[templates == template] / away >= 1
            if len(held) >= FEWEST and held.mean() >= MOST:
                found[template][d] = float(np.float32(away))
    return dict(found)


def _border(gaps: np.ndarray) -> float:
    """Between ends without and with something in the gripper, which stays away on the positive side; 0 if there is none."""
    ordered = np.sort(gaps)
    sizes = np.arange(1, len(ordered))
    sums = np.cumsum(ordered)
    low, high = sums[:-1] / sizes, (sums[-1] - sums[:-1]) / sizes[::-1]
    if not len(sizes):
        return 0.0
    split = int(np.argmax(sizes * sizes[::-1] * (high - low) ** 2)) + 1  # Otsu's
    free, held = ordered[:split], ordered[split:]
    near, far = np.quantile(free, 0.95), np.quantile(held, 0.05)
    border = float(near + far) / 2
    return border if border > 0 and far - near > CLEARANCE * (np.median(held) - np.median(free)) else 0.0
