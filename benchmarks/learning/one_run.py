# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Trains one variant with one seed and scores it on held-out events.

The loop is that of lerobot-train (same policy, processors, optimiser and scheduler presets, sampler without repeats),
without its start-up and video decoding, which would be most of the time of a run this short.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import trange

from benchmarks.learning.variants import BASE, IMAGINATIONS, Variant
from benchmarks.learning.windows_in_memory import WindowsInMemory
from lerobot_wallwm.check.measure.checkpoint import Checkpoint
from lerobot_wallwm.check.measure.errors import NEAR
from lerobot_wallwm.check.measure.observations import load_observations, mean_absolute, predict
from lerobot_wallwm.check.measure.video import imagine
from lerobot_wallwm.check.measure.views import read_event_rows, spread_anchors, thin

CLIPS = 48
OBSERVATIONS = 120


@dataclass(frozen=True)
class Places:
    """Where data are.

    Attributes:
        views: Training view of each kind.
        heldout: Held-out events.
        cache: Decoded frames.
        calibration: Of the cameras.
        instructions: Source episode to instruction.
        checkpoints: Where trained policies go.
    """

    views: dict[str, Path]
    heldout: Path
    cache: Path
    calibration: Path
    instructions: dict[int, str]
    checkpoints: Path


def run(variant: Variant, seed: int, steps: int, batch_size: int, places: Places) -> dict[str, Any]:
    """Trains and scores; returns JSON types."""
    root = places.checkpoints / f"{variant.name.replace(' ', '_')}-{seed}"
    trained = train(variant, seed, steps, batch_size, places, root)
    return {"variant": variant.name, "seed": seed, **trained, **score(root, variant, places)}


def train(
    variant: Variant, seed: int, steps: int, batch_size: int, places: Places, root: Path
) -> dict[str, Any]:
    """Trains and writes a checkpoint as LeRobot lays it out."""
    from lerobot.configs import PreTrainedConfig
    from lerobot.datasets import LeRobotDatasetMetadata
    from lerobot.policies.factory import make_policy, make_pre_post_processors

    import lerobot_policy_wallwm  # noqa: F401
    from lerobot_wallwm.policies.configuration_wallwm import GRAD_CLIP_NORM, WallwmConfig

    torch.manual_seed(seed)
    view = places.views[variant.view]
    changes = {**BASE, **variant.changes}
    if "calibration" in changes:
        changes["calibration"] = str(places.calibration)
    of_stage = {name: changes.pop(name) for name in ("anchored_fraction",) if name in changes}
    config: PreTrainedConfig = WallwmConfig(device="cpu", push_to_hub=False, **changes)
    meta = LeRobotDatasetMetadata(f"local/{view.name}", root=view)
    policy = make_policy(config, ds_meta=meta).train()
    shape = policy.model.shape
    policy.model.shape = replace(shape, stage=replace(shape.stage, **of_stage))
    preprocess, postprocess = make_pre_post_processors(config, dataset_stats=meta.stats)
    deltas = config.observation_delta_indices, config.action_delta_indices
    windows = WindowsInMemory(view, places.cache, *deltas)
    optimizer = config.get_optimizer_preset().build(policy.get_optim_params())
    scheduler = config.get_scheduler_preset().build(optimizer, steps)
    order = _order(len(windows), steps * batch_size, seed)
    began = time.perf_counter()
    recent: list[float] = []
    for step in trange(steps, desc=f"{variant.name}, seed {seed}", mininterval=10):
        batch = preprocess(windows.batch(order[step * batch_size : (step + 1) * batch_size]))
        loss, _ = policy(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), GRAD_CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        recent = [*recent[-49:], float(loss.detach())]
    seconds = time.perf_counter() - began
    policy.save_pretrained(root)
    preprocess.save_pretrained(root)
    postprocess.save_pretrained(root)
    return {
        "steps": steps,
        "batch_size": batch_size,
        "seconds": seconds,
        "loss": float(np.mean(recent)),
        "parameters": sum(p.numel() for p in policy.parameters()),
    }


def _order(rows: int, count: int, seed: int) -> torch.Tensor:
    """Rows to draw: every row once before any a second time."""
    generator = torch.Generator().manual_seed(seed)
    epochs = [torch.randperm(rows, generator=generator) for _ in range(-(-count // rows))]
    return torch.cat(epochs)[:count]


def score(root: Path, variant: Variant, places: Places) -> dict[str, Any]:
    """Action errors (degrees; gripper 0 to 100), of the base with each imagination, and the imagined video's quality."""
    checkpoint = Checkpoint(root)
    view, events, seen = heldout_observations(checkpoint, places, OBSERVATIONS)
    anchors = seen.anchors
    captions: Sequence[str] | None = None
    if variant.told == "instruction":
        sources = view.meta.episodes["wallwm/source_episode"]
        captions = [places.instructions[int(sources[anchor.event])] for anchor in anchors]
    near = next_steps(seen.valid)
    result: dict[str, Any] = {}
    for imagination in IMAGINATIONS if variant.name == "base" else IMAGINATIONS[:1]:
        checkpoint.config.imagination = imagination
        actions = predict(checkpoint, seen, captions=captions).actions
        result[imagination] = {
            "near": mean_absolute(actions - seen.true, near),
            "event": mean_absolute(actions - seen.true, seen.valid),
        }
    keyframes = [anchor for anchor in anchors if anchor.offset == 0]
    films = load_observations(checkpoint, view, events, thin(keyframes, CLIPS))
    if captions is not None:
        for batch, anchor_captions in zip(films.batches, _split(films, captions, anchors), strict=True):
            batch["task"] = anchor_captions
    metrics = imagine(checkpoint, films, view.meta.fps).metrics
    return {"actions": result, "video": metrics}


def heldout_observations(checkpoint: Checkpoint, places: Places, at_most: int) -> tuple[Any, list, Any]:
    """The held-out view, its events, and up to three observations of each (at most `at_most` in all)."""
    config = checkpoint.config
    view = WindowsInMemory(
        places.heldout, places.cache, config.observation_delta_indices, config.action_delta_indices, [0]
    )
    events = read_event_rows(places.heldout)
    anchors = thin(spread_anchors(events, 3), at_most)
    return view, events, load_observations(checkpoint, view, events, anchors)


def next_steps(valid: np.ndarray) -> np.ndarray:
    """Of the valid steps ``(N, H)`` the next `NEAR`, about half a mean event."""
    near = valid.copy()
    near[:, NEAR:] = False
    return near


def _split(films: Any, captions: Sequence[str], anchors: Sequence[Any]) -> list[list[str]]:
    """The captions of the films' batches."""
    of = dict(zip(anchors, captions, strict=True))
    wanted = [of[anchor] for anchor in films.anchors]
    out = []
    for batch in films.batches:
        out.append(wanted[: len(batch["task"])])
        wanted = wanted[len(batch["task"]) :]
    return out


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Writes a run's figures; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
