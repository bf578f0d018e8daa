# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A tiny random policy for a given arm that swings it all the time, and ways to break its weights.

Its dataset is imagined: the first joint and the gripper were seen in their whole calibrated range, so that a goal a hair
beyond the data's range is one beyond the servo's limits; the others in the middle 60 per cent.
"""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import make_pre_post_processors
from safetensors.torch import load_file, save_file

from emulated_arm.arms import Arm, Travel
from lerobot_wallwm import WallwmConfig
from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

CAMERAS = ("overhead", "wrist")
# Pixels of the cameras that the checkpoint knows.
SIZE = 32
FPS = 30
MIDDLE_PART = 0.6
WILDNESS = 10.0
# About how long its events are, frames.
EVENT_FRAMES = 20
# Ways in which weights break; `mend` never happens: each must end a run, or never start it.
BREAKS = ("nan_weight", "inf_weight", "overflow", "nan_statistics", "nan_range")


def ranges(arm: Arm, travels: list[Travel]) -> tuple[np.ndarray, np.ndarray]:
    """Range of the imagined dataset, in LeRobot's units, each (joints,)."""
    low, high = [], []
    for joint, travel in zip(arm.joints, travels, strict=True):
        ends = sorted((travel.to_units(travel.low), travel.to_units(travel.high)))
        part = 1.0 if joint.name in ("shoulder_pan", "gripper") else MIDDLE_PART
        middle, half = sum(ends) / 2, (ends[1] - ends[0]) / 2 * part
        low.append(middle - half)
        high.append(middle + half)
    return np.array(low), np.array(high)


def make_checkpoint(folder: Path, arm: Arm, travels: list[Travel], seed: int = 0, **fields: Any) -> Path:
    """Writes the follower's checkpoint with its pipelines, as LeRobot does, with `fields` of the configuration."""
    names = [f"{joint.name}.pos" for joint in arm.joints]
    low, high = (torch.tensor(end, dtype=torch.float32) for end in ranges(arm, travels))
    one = {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 4}
    one |= {"q01": low, "q99": high, "count": torch.tensor([1000])}
    stats = {"action": dict(one), "observation.state": dict(one)}
    span = (high - low).tolist()
    visual = {f"observation.images.{c}": PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE)) for c in CAMERAS}
    tiny = {"video_width": 24, "video_depth": 2, "video_heads": 2, "video_ffn_width": 32, "text_dim": 16}
    tiny |= {"action_width": 16, "action_heads": 2, "action_ffn_width": 16, "max_text_tokens": 12}
    tiny |= {"num_future_latents": 2, "video_stride": 2, "action_draws": 2, "num_inference_steps": 2}
    settings: dict[str, Any] = {
        **tiny,
        "image_size": (SIZE, SIZE),
        "planner": "instruction",
        "on_plan_end": "repeat",  # or it would come to rest after its first event
        "relative_actions": False,
        "replan_steps": 5,
        "inference_seed": None,  # fresh noise at each look: it never settles
        "push_to_hub": False,
        "device": "cpu",
    }
    torch.manual_seed(seed)
    config = WallwmConfig(
        input_features={**visual, "observation.state": PolicyFeature(FeatureType.STATE, (len(names),))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (len(names),))},
        **{**settings, **fields},
    )
    learned = Learned(fps=FPS, action_feature_names=names, state_feature_names=names)
    policy = WallwmPolicy(config, dataset_stats=stats, learned=learned)
    for parameter in policy.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    # Each look is drawn anew, and this makes it far from the one before: the guards have something to do.
    policy.model.action.head[-1].weight.data.mul_(WILDNESS)
    policy.model.action.remaining_head[-1].bias.data.fill_(math.log(EVENT_FRAMES))
    # What a dataset would have taught; without files there are ranges only.
    limits = {"state_low": low.tolist(), "state_high": high.tolist()}
    limits |= {"step": [s / 40 for s in span], "lead": [s / 8 for s in span]}
    policy.config.learned.motion_limits = limits
    if folder.exists():
        shutil.rmtree(folder)
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(policy.config, dataset_stats=stats):
        pipeline.save_pretrained(folder)
    return folder


def make_simulator_checkpoint(folder: Path) -> Path:
    """A random policy with the default sizes for the simulated SO-101; left alone if it exists."""
    from lerobot.datasets import LeRobotDatasetMetadata
    from lerobot.policies.factory import make_policy

    from benchmarks.harness.repo import DATASET

    if not folder.exists():
        meta = LeRobotDatasetMetadata("local/so101", root=DATASET)
        torch.manual_seed(0)
        config = WallwmConfig(device="cpu", push_to_hub=False, planner="instruction")
        policy = make_policy(config, ds_meta=meta)
        policy.model.action.remaining_head[-1].bias.data.fill_(math.log(EVENT_FRAMES))
        policy.save_pretrained(folder)
        for pipeline in make_pre_post_processors(policy.config, dataset_stats=meta.stats):
            pipeline.save_pretrained(folder)
    return folder


def break_checkpoint(sound: Path, broken: Path, how: str, seed: int) -> Path:
    """Copies a checkpoint and breaks it in one of `BREAKS`; the seed chooses the tensor and the place.

    Raises:
        ValueError: ``how`` is unknown.
    """
    if how not in BREAKS:
        raise ValueError(f"a checkpoint breaks in one of these ways: {', '.join(BREAKS)}; got {how!r}")
    rng = np.random.default_rng(seed)
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(sound, broken)
    file = broken / "model.safetensors"
    if how == "nan_statistics":
        file = next(broken.glob("policy_postprocessor*.safetensors"))
    tensors = load_file(file)
    floating = sorted(k for k, v in tensors.items() if v.is_floating_point() and v.numel())
    if how == "overflow":
        for key in floating:
            if key.startswith("model.action."):
                tensors[key] *= 1e30
    else:
        wanted = {"nan_statistics": "action.m", "nan_range": "range_"}.get(how, "")
        ends = ("min", "max") if how == "nan_statistics" else ("",)
        keys = [key for key in floating if wanted in key and key.endswith(ends)]
        key = keys[int(rng.integers(len(keys)))]
        flat = tensors[key].reshape(-1)
        flat[int(rng.integers(flat.numel()))] = torch.inf if how == "inf_weight" else torch.nan
        tensors[key] = flat.reshape(tensors[key].shape)
    save_file(tensors, file)
    return broken
