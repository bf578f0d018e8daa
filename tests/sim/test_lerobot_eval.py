# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LeRobot's own, unmodified evaluation drives the environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "split", "parallel"),
    [
        ("PickPlace-v0", "left_out", False),
        ("PickPlace-v0", "left_out", True),
        ("Table-v0", "more_objects", True),
    ],
)
def test_unmodified_lerobot_eval_runs_episodes(make_env, tmp_path, task, split, parallel):
    log = tmp_path / "progress.jsonl"
    command = [
        str(Path(sys.executable).with_name("lerobot-eval")),
        "--env.type=so101_sim",
        f"--env.task={task}",
        f"--env.split={split}",
        "--env.episode_length=12",
        f"--env.progress_log={log}",
        "--policy.type=act",
        "--policy.device=cpu",
        "--policy.pretrained_backbone_weights=null",
        "--policy.dim_model=32",
        "--policy.dim_feedforward=32",
        "--policy.n_heads=2",
        "--policy.n_encoder_layers=1",
        "--policy.chunk_size=6",
        "--policy.n_action_steps=6",
        "--eval.n_episodes=2",
        f"--eval.batch_size={2 if parallel else 1}",
        f"--eval.use_async_envs={str(parallel).lower()}",
        "--seed=1000",
        f"--output_dir={tmp_path / 'eval'}",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(line["seed"] for line in lines) == [1000, 1001]
    # A table's episode is cut off by the number of its steps.
    assert all(line["steps"] == 12 * len(line.get("each_step", [0])) for line in lines)
    assert list((tmp_path / "eval").rglob("eval_episode_0.mp4"))
