# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Reads a checkpoint of the same stage, which goes on, or of another one, whose averages the next stage starts from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lerobot_wallwm.hub.files.safe_files import safetensors_header
from lerobot_wallwm.hub.files.weights import contents, load_weights
from lerobot_wallwm.policies.towers.history import fresh_tables
from lerobot_wallwm.policies.training.weight_average import PREFIX, WeightAverage, names_after_averages

if TYPE_CHECKING:
    from lerobot_wallwm.policies.model.world_action_model import WorldActionModel


def load_checkpoint(
    policy: nn.Module,
    average: WeightAverage | None,
    stage: str,
    file: Path,
    fix: str,
    device: str,
) -> list[str]:
    """Fills a policy that has just been built.

    Args:
        policy: With a ``model``, and with ``average``, if it keeps one, as its ``ema.<stage>``.
        average: Of the model; begins anew if the checkpoint has none of this stage.
        stage: The policy's.
        file: Safetensors.
        fix: For errors: what the user can do.
        device: For weights that the policy was built without.

    Returns:
        Tables that the checkpoint lacks and that keep their start.

    Raises:
        WeightsError: A damaged file, or keys that do not fit.
        UnsafeCheckpointError: A file whose header lies about it.
    """
    safetensors_header(file, fix)
    found = contents([file], fix)
    updates = {}
    for key, entry in found.items():
        if key.startswith(PREFIX) and key.endswith(".updates"):
            with safe_open(entry.file, framework="pt") as opened:
                updates[key] = int(opened.get_tensor(entry.key))
    own = f"{PREFIX}{stage}."
    names = names_after_averages(found, updates, "model.", () if average is None else (stage,))
    state = policy.state_dict()
    fresh = fresh_tables(state, names.values())
    begins = average is not None and f"{own}updates" not in updates
    keys = {key for key in state if key not in fresh and not (begins and key.startswith(own))}
    load_weights(policy, [file], fix, keys, device=torch.device(device), names=names)
    if average is not None and begins:
        average.begin(policy.get_submodule("model"))
    return fresh


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
