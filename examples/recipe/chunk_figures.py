# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a checkpoint is worth on held-out episodes as they were recorded, chunk after chunk, told the instruction.

Shapes: N observations, H horizon, D joints.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lerobot_wallwm.check.measure.baselines import hold_pose
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.observations import Observations, load_observations, mean_absolute, predict
from lerobot_wallwm.check.measure.views import (
    open_view,
    read_event_rows,
    source_episodes,
    spread_anchors,
    thin,
)
from lerobot_wallwm.policies.training.stages import REASONED


def measure_chunks(
    checkpoint_path: str | Path, events: str | Path, source: str | Path, observations: int
) -> dict[str, float]:
    """Open-loop error of the next chunk's actions, from windows with their past, without imagination.

    A checkpoint of another stage is read as `lerobot-train --policy.stage=next_chunk` reads it: what this measures of it is
    where that stage starts. Observations and noise are the same for every checkpoint.

    Args:
        checkpoint_path: ``pretrained_model`` folder.
        events: What `wallwm prepare` wrote; its ``heldout`` says which episodes were never trained on.
        source: The dataset that it was carved from.
        observations: At most so many, spread over those episodes.

    Returns:
        By the keys of `figures.FIGURES`, in dataset units.
    """
    from lerobot.configs import PreTrainedConfig
    from lerobot.datasets import LeRobotDatasetMetadata

    episodes = read_event_rows(source)
    heldout = [episodes[index] for index in source_episodes(Path(events) / "heldout")]
    meta = LeRobotDatasetMetadata("local/so101_source", root=source)
    stage = PreTrainedConfig.from_pretrained(checkpoint_path).stage
    checkpoint = Checkpoint(checkpoint_path, None if stage in REASONED else "next_chunk", meta)
    checkpoint.config.imagination = "none"
    anchors = thin(spread_anchors(heldout, -(-observations // len(heldout))), observations)
    seen = load_observations(checkpoint, open_view(source, checkpoint.config), heldout, anchors)
    figures = chunk_errors(predict(checkpoint, seen).actions, seen, checkpoint.config.chunk_length)
    if checkpoint.config.latents:
        checkpoint.config.text_source = "latents"
        told = chunk_errors(predict(checkpoint, seen).actions, seen, checkpoint.config.chunk_length)
        figures["chunk_latents"] = told["chunk_action"]
    return figures


def chunk_errors(predicted: np.ndarray, seen: Observations, steps: int) -> dict[str, float]:
    """Mean absolute errors over the steps that are executed of each chunk.

    Args:
        predicted: ``(N, H, D)``.
        seen: What was recorded.
        steps: Steps executed.
    """
    true, valid = seen.true[:, :steps], seen.valid[:, :steps]
    hold = np.stack([hold_pose(state, steps) for state in seen.state])
    return {
        "chunk_action": mean_absolute(predicted[:, :steps] - true, valid),
        "chunk_hold": mean_absolute(hold - true, valid),
    }
