# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Views under the unmodified `lerobot-train`, in a fresh process each: masks, and a change of cameras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_arm import CAMERAS, TINY_FLAGS

from lerobot_wallwm.policies.processor_wallwm import make_wallwm_pre_post_processors

pytestmark = pytest.mark.slow

OVERHEAD, WRIST = CAMERAS
SIDE = "observation.images.side"


def lerobot_train(*flags: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from lerobot.scripts.lerobot_train import main; main()", *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        timeout=900,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def train(view: Path, out: Path, *flags: str) -> Path:
    """Four steps; returns the last checkpoint."""
    lerobot_train(
        "--policy.push_to_hub=false",
        "--policy.device=cpu",
        "--dataset.repo_id=test/tiny_events",
        f"--dataset.root={view / 'train'}",
        f"--output_dir={out}",
        "--steps=4",
        "--save_freq=2",
        "--batch_size=4",
        "--num_workers=0",
        "--log_freq=2",
        "--seed=7",
        *flags,
    )
    return out / "checkpoints" / "last" / "pretrained_model"


def test_it_trains_with_tubes_and_bars(tiny_view, tmp_path):
    flags = ["--policy.tube_probability=0.5", "--policy.resize=pad"]
    model = ["--policy.type=wallwm", "--policy.future_fraction=0.5"]
    learned = json.loads(
        (train(tiny_view, tmp_path / "run", *model, *flags, *TINY_FLAGS) / "learned.json").read_text()
    )
    assert learned["camera_rows"] == CAMERAS


def test_a_checkpoint_goes_on_with_one_camera_gone_and_one_added(
    make_policy, tiny_stats, tiny_view, tmp_path
):
    # Without landmarks there is no goal head, and what it rehearses a resumed run collects anew.
    policy = make_policy(cameras=[SIDE, WRIST], num_future_latents=1, video_stride=2, landmarks=0)
    start = tmp_path / "start"
    policy.save_pretrained(start)
    for pipeline in make_wallwm_pre_post_processors(policy.config, tiny_stats):
        pipeline.save_pretrained(start)
    cameras = ["--policy.allow_missing_cameras=true", f'--policy.new_cameras=["{OVERHEAD}"]']
    last = train(tiny_view, tmp_path / "run", f"--policy.path={start}", *cameras)
    learned = json.loads((last / "learned.json").read_text())
    assert learned["camera_rows"] == [SIDE, WRIST, OVERHEAD]
    before, after = (load_file(folder / "model.safetensors") for folder in (start, last))
    place = "model.action.place"
    assert torch.equal(before[place][0], after[place][0])  # nobody saw the side camera
    assert not torch.equal(before[place][1], after[place][1])
    assert not torch.equal(before[place][:2].mean(0), after[place][2])

    # Stopped and resumed, the run ends where it would have.
    resumed = tmp_path / "resumed"
    (tmp_path / "run").rename(resumed)
    halfway = resumed / "checkpoints" / "000002" / "pretrained_model" / "train_config.json"
    content = halfway.read_text().replace(str(tmp_path / "run"), str(resumed))
    halfway.write_text(content)
    link = resumed / "checkpoints" / "last"
    link.unlink()
    link.symlink_to("000002")
    lerobot_train(f"--config_path={halfway}", "--resume=true")
    again = load_file(resumed / "checkpoints" / "000004" / "pretrained_model" / "model.safetensors")
    assert all(torch.equal(after[name], again[name]) for name in after)
