# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The unmodified `lerobot-rollout` with the policy, an arm without hardware, and a person who gives orders in a file."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lerobot.policies.factory import make_pre_post_processors

from lerobot_wallwm.language.event_grammar import learn_transitions

ROOT = Path(__file__).parents[1]
TASK = "pick up the red cube and place it on the blue disc"
PICK = ["reach for the {object}", "grasp the {object}", "move the {object} to the {target}"]


@pytest.fixture(scope="module")
def checkpoint(make_policy, tiny_stats, tmp_path_factory) -> Path:
    """A tiny policy with its pipelines, as LeRobot saves them."""
    policy = make_policy(
        planner="grammar",
        event_transitions=learn_transitions([PICK]),
        event_max_frames=dict.fromkeys(PICK, 30),
        fps=20.0,
    )
    folder = tmp_path_factory.mktemp("checkpoint") / "pretrained_model"
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(policy.config, dataset_stats=tiny_stats):
        pipeline.save_pretrained(folder)
    return folder


@contextlib.contextmanager
def rollout(checkpoint: Path, folder: Path, *flags: str, duration: int = 6) -> Iterator[subprocess.Popen]:
    """`lerobot-rollout` at 20 goals a second."""
    python_path = str(ROOT)
    command = [
        *(
            sys.executable,
            "-m",
            "lerobot.scripts.lerobot_rollout",
            "--plugins.discover_packages_path=benchmarks.arm.fake_arm",
        ),
        *(f"--policy.path={checkpoint}", "--policy.device=cpu", f"--policy.event_log={folder / 'log.jsonl'}"),
        *(
            "--robot.type=fake_arm",
            "--robot.id=test",
            "--robot.size=32",
            f"--robot.journal={folder / 'goals.jsonl'}",
        ),
        "--policy.camera_timeout_s=0",  # its picture never changes
        *("--robot.start=[0,0,0,0,0,50]", f"--task={TASK}", "--fps=20", f"--duration={duration}"),
        *flags,
    ]
    env = {**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    out = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(process: subprocess.Popen, path: Path, kind: str, count: int = 1) -> list[dict]:
    """Lines of the diary, once there are so many of a kind."""
    deadline = time.monotonic() + 400  # starting takes ten seconds, on a busy machine minutes
    while time.monotonic() < deadline and process.poll() is None:
        found = lines(path)
        if sum(line["kind"] == kind for line in found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(
        f"no {count} x {kind} in {lines(path)}: {process.communicate(timeout=60)[0][-3000:]}"
    )


def finish(process: subprocess.Popen, folder: Path) -> tuple[list[dict], np.ndarray]:
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output[-3000:]
    goals = np.array([line["goal"] for line in lines(folder / "goals.jsonl")])
    assert np.isfinite(goals).all() and len(goals) > 20
    return lines(folder / "log.jsonl"), goals


def test_a_person_gives_orders_while_it_runs(checkpoint, tmp_path):
    orders, log = tmp_path / "events.txt", tmp_path / "log.jsonl"
    flags = (f"--policy.planner_file={orders}", "--policy.background_inference=true")
    with rollout(checkpoint, tmp_path, "--policy.planner=human", *flags, duration=8) as process:
        wait_for(process, log, "wait")  # for the first order
        orders.write_text("grasp the red cube | 1.0 s\n")
        wait_for(process, log, "end")
        orders.write_text("next\n")
        wait_for(process, log, "begin", 2)
        orders.write_text("fly away\n")
        wait_for(process, log, "order", 3)
        orders.write_text("hold\n")
        wait_for(process, log, "order", 4)
        found, _ = finish(process, tmp_path)
    begun = [line["caption"] for line in found if line["kind"] == "begin"]
    assert begun == ["grasp the red cube", "move the red cube to the blue disc"]
    ended = next(line for line in found if line["kind"] == "end")
    assert ended["why"] == "duration" and ended["frames"] == 20
    assert [line["accepted"] for line in found if line["kind"] == "order"] == [True, True, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--inference.type=rtc"], ["--policy.background_inference=true"]])
def test_all_engines_walk_through_the_plan(checkpoint, tmp_path, flags):
    with rollout(checkpoint, tmp_path, "--policy.on_plan_end=repeat", *flags) as process:
        found, goals = finish(process, tmp_path)
    begun = [line["caption"] for line in found if line["kind"] == "begin"]
    assert len(begun) > 3 and begun[:3] == [
        "reach for the red cube",
        "grasp the red cube",
        "move the red cube to the blue disc",
    ]
    low, high = (
        np.array([-60.0] * 5 + [0.0]),
        np.array([60.0] * 5 + [100.0]),
    )  # the range that the data has seen
    assert (goals >= low - 1e-3).all() and (goals <= high + 1e-3).all()


@pytest.mark.slow
def test_a_planner_at_a_server_that_is_not_there_leaves_it_to_the_grammar(checkpoint, tmp_path):
    flags = ("--policy.planner_model=m", "--policy.planner_url=http://127.0.0.1:9/v1")
    with rollout(checkpoint, tmp_path, "--policy.planner=vlm", *flags) as process:
        found, _ = finish(process, tmp_path)
    assert {"ask", "ask_failed", "fallback", "begin"} <= {line["kind"] for line in found}
