# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which row of the view tables belongs to which camera, and how a camera that came later starts.

The rows of Camera RoPE, of the position and place tables and the goal reader's slots are bound to camera keys, in the
order of `WallwmConfig.camera_rows`. A row stays its camera's own when others are added or missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .world_action_model import WorldActionModel


def assign_rows(rows: list[str], cameras: list[str], max_views: int) -> list[str]:
    """Camera keys of the rows, once every camera has one.

    Args:
        rows: Keys of the rows taken so far.
        cameras: Keys that need a row; those without one take the next free rows in this order.
        max_views: Rows of the tables.

    Raises:
        ValueError: More views than the table holds.
    """
    out = [*rows, *(key for key in cameras if key not in rows)]
    if len(out) > max_views:
        raise ValueError(
            f"{len(out)} cameras exceed --policy.max_views={max_views}; raise it for a new model. A checkpoint's table "
            f"cannot grow ({rows or 'none'} have rows): let a new camera take over a row with --rename_map."
        )
    return out


@torch.no_grad()
def start_new_rows(model: WorldActionModel, known: int, rows: int) -> None:
    """Starts rows ``known .. rows - 1`` from those that have learned: the mean of their codes.

    The goal reader's inputs from a new camera start at zero: keypoints that it has not learned to read must not move
    the goal. Both are our choice.

    Args:
        model: With a checkpoint's weights.
        known: Rows that the checkpoint's cameras have learned.
        rows: Rows in use now.
    """
    tables: list[Tensor] = [model.video.position, model.action.place]
    if model.video.camera_rope is not None:
        tables.append(model.video.camera_rope.view_embedding.weight)
    for table in tables:
        table[known:rows] = table[:known].mean(0)
    if model.goal_reader is not None:
        model.goal_reader.close_slots(known, rows)
