# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The unmodified `lerobot-rollout` with an imaginary arm, when things go wrong: what is written, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.policies.factory import make_pre_post_processors
from safetensors.torch import load_file, save_file
from tiny_arm import JOINT_NAMES

from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

ROLLOUT = "import watched_robot; from lerobot.scripts.lerobot_rollout import main; main()"
STEP = np.array([3.0] * 5 + [12.0])  # of the checkpoint below, with the default --policy.rate_limit
LOW, HIGH = np.array([-60.0] * 5 + [0.0]), np.array([60.0] * 5 + [100.0])


@pytest.fixture(scope="session")
def checkpoint(make_policy, tiny_stats, tmp_path_factory) -> Path:
    """A random policy that swings its arm, with limits, saved with its pipelines as LeRobot does."""
    folder = tmp_path_factory.mktemp("watched") / "pretrained_model"
    policy: WallwmPolicy = make_policy(relative_actions=False)
    policy.config.learned.motion_limits = {
        "step": [2.0] * 5 + [8.0],
        "lead": [10.0] * 5 + [20.0],
        "state_low": LOW.tolist(),
        "state_high": HIGH.tolist(),
    }
    policy.config.guards = "auto"  # as a user has it; lerobot-rollout drives an arm
    policy.config.inference_seed = None  # fresh noise at each look: it never settles
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(policy.config, dataset_stats=tiny_stats):
        pipeline.save_pretrained(folder)
    return folder


class Done:
    """A finished rollout: exit code, everything printed, goals `(n, 6)`."""

    def __init__(self, code: int, text: str, goals: Path):
        self.code, self.text = code, text
        lines = goals.read_text().splitlines() if goals.exists() else []
        self.goals = np.array([json.loads(line) for line in lines]).reshape(-1, 6)

    def __repr__(self) -> str:
        return f"exit code {self.code}, {len(self.goals)} goals\n{self.text[-3000:]}"


def rollout(checkpoint: Path, tmp_path: Path, *flags: str, duration: float = 120.0) -> Done:
    """LeRobot's command in a process of its own; it leaves the arm where it is at the end."""
    goals = tmp_path / "goals.jsonl"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ROLLOUT,
            f"--policy.path={checkpoint}",
            "--policy.device=cpu",
            "--robot.type=watched_arm",
            f"--robot.goals={goals}",
            "--robot.start=[0, 0, 0, 0, 0, 50]",
            "--task=lift it",
            "--fps=30",
            f"--duration={duration}",
            "--return_to_initial_position=false",
            "--policy.watchdog_s=3",  # a busy machine is no fault
            *flags,
        ],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        },
        timeout=900,
    )
    return Done(done.returncode, done.stdout + done.stderr, goals)


def assert_within_limits(goals: np.ndarray, start=(0.0, 0.0, 0.0, 0.0, 0.0, 50.0)) -> None:
    assert np.isfinite(goals).all()
    assert (goals >= LOW - 1e-3).all() and (goals <= HIGH + 1e-3).all()
    assert (np.abs(np.diff(np.vstack((start, goals)), axis=0)) <= STEP + 1e-3).all()


@pytest.mark.slow
def test_a_wild_policy_moves_an_arm_within_limits_and_says_what_was_done(checkpoint, tmp_path):
    log = tmp_path / "safety.jsonl"
    done = rollout(checkpoint, tmp_path, f"--policy.safety_log={log}", "--robot.interrupt_at=60")
    assert done.code == 0 and len(done.goals) == 59, done
    assert_within_limits(done.goals)
    kinds = {json.loads(line)["kind"] for line in log.read_text().splitlines()}
    assert "rate" in kinds, done
    assert "Safety guards: " in done.text  # the summary at the end


@pytest.mark.slow
def test_broken_weights_never_meet_the_arm(checkpoint, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in checkpoint.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    state = load_file(broken / "model.safetensors")
    key = next(k for k in state if k.startswith("model.action.") and state[k].ndim == 2)
    state[key][0] = torch.nan
    save_file(state, broken / "model.safetensors")
    done = rollout(broken, tmp_path)
    assert done.code != 0 and len(done.goals) == 0, done
    assert "hold NaN or infinity" in done.text and "Connecting robot" not in done.text, done


@pytest.mark.slow
def test_weights_that_overflow_end_the_run_at_the_pose(checkpoint, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in checkpoint.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    state = load_file(broken / "model.safetensors")
    for key in state:
        if key.startswith("model.action."):
            state[key] *= 1e30
    save_file(state, broken / "model.safetensors")
    done = rollout(broken, tmp_path)
    assert done.code != 0 and "10 goals were not finite" in done.text, done
    assert 0 < len(done.goals) < 10 and np.allclose(done.goals, [0, 0, 0, 0, 0, 50]), done
    assert "Disconnecting robot" in done.text


@pytest.mark.slow
def test_a_frozen_camera_ends_the_run_with_its_name(checkpoint, tmp_path):
    done = rollout(checkpoint, tmp_path, "--robot.frozen_from=30")
    assert done.code != 0 and "'observation.images.overhead' has shown the same picture" in done.text, done
    assert_within_limits(done.goals)
    assert (done.goals[-5:] == done.goals[-1]).all()  # held until the end


@pytest.mark.slow
def test_a_camera_that_comes_back_does_not_end_the_run(checkpoint, tmp_path):
    end = ["--robot.interrupt_at=150"]
    done = rollout(checkpoint, tmp_path, "--robot.frozen_from=20", "--robot.frozen_s=1.8", *end)
    assert done.code == 0 and "frozen_camera" in done.text, done
    assert_within_limits(done.goals)
    assert not (done.goals[-40:] == done.goals[-1]).all()


@pytest.mark.slow
def test_a_black_camera_ends_the_run_and_a_stall_does_not(checkpoint, tmp_path):
    done = rollout(checkpoint, tmp_path, "--robot.black_from=20")
    assert done.code != 0 and "'observation.images.overhead' shows a black picture" in done.text, done
    (tmp_path / "goals.jsonl").unlink()
    done = rollout(
        checkpoint, tmp_path, "--robot.stall_at=30", "--robot.stall_s=4", "--robot.interrupt_at=60"
    )
    assert done.code == 0 and "late_call" in done.text, done
    assert_within_limits(done.goals)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--robot.cameras_named=[overhead]", "the robot has no camera 'wrist'"),
        ("--robot.start=[0, 140, 0, 0, 0, 50]", "shoulder_lift stands at 140.0"),
        (f"--robot.joints_named=[{', '.join(JOINT_NAMES[:5])}]", "the robot has 5 joints, the checkpoint 6"),
    ],
)
def test_another_arm_gets_no_goal(checkpoint, tmp_path, flag, reason):
    start = ["--robot.start=[0, 0, 0, 0, 0]"] if "joints_named" in flag else []
    done = rollout(checkpoint, tmp_path, flag, *start)
    assert done.code != 0 and reason in done.text and "nothing was sent to it" in done.text, done
    assert len(done.goals) == 0, done
