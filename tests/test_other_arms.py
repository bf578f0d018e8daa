# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Datasets of other arms than an SO-101, each through prepare, training, check and a rollout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from demonstrations import FPS, FRAMES, LEKIWI, driving, grip, hand_steps, smooth, turning_poses
from fake_robot import FakeRobot
from tiny_arm import CAMERAS, TINY_FLAGS

from lerobot_wallwm.cli import main

EPISODES = 4
TASK = "pick up the red cube and place it on the blue disc"
ALOHA = [
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
]


def libero():
    """Steps in the controller's units, a gripper to close or open, and a state of pose and both fingers."""
    rows = []
    for e in range(EPISODES):
        pose = np.hstack([smooth(e, FRAMES + 1, 3, 0.2), smooth(e + 50, FRAMES + 1, 3, 0.5)])
        finger = grip(FRAMES + 1, 0.0, 0.04)[:-1]
        action = np.hstack([np.diff(pose, axis=0) * 30.0, grip(FRAMES, -1.0, 1.0)])
        rows.append((action, np.hstack([pose[:-1], finger, -finger])))
    names = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    return names, ["x", "y", "z", "rx", "ry", "rz", "gripper_left", "gripper_right"], rows


def metaworld():
    """Steps x, y, z and a gripper, without names."""
    rows = []
    for e in range(EPISODES):
        pose = smooth(e, FRAMES + 1, 3, 0.2)
        action = np.hstack([np.diff(pose, axis=0) * 80.0, grip(FRAMES, -1.0, 1.0)])
        rows.append((action, np.hstack([pose[:-1], grip(FRAMES)])))
    return None, None, rows


def positions(names, *parts):
    """Commands that the state reaches a frame later; ``parts`` are ``(width, size)`` or a gripper's top."""
    rows = []
    for e in range(EPISODES):
        path = [
            grip(FRAMES + 1, 0.0, part) if np.isscalar(part) else smooth(17 * e + 3 * i, FRAMES + 1, *part)
            for i, part in enumerate(parts)
        ]
        rows.append((np.hstack(path)[1:], np.hstack(path)[:-1]))
    return names, names, rows


def mixed():
    states, actions, rows = hand_steps(0, 1.0, 850.0, EPISODES)
    return actions, states, rows


def posed():
    names, rows = turning_poses("euler in degrees", 0, EPISODES)
    return names, names, rows


XARM = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
# Kind to: names and rows, kinds of the dimensions by their first letters, and the grippers.
ARMS = {
    "mixed units": (mixed, "ssssssp", [6]),
    "lekiwi": (lambda: (LEKIWI, LEKIWI, driving(0, EPISODES)), "ppppppvvv", [5]),
    "libero": (libero, "ssssssp", [6]),
    "metaworld": (metaworld, "sssp", [3]),
    "end-effector pose": (posed, "ppppppp", [6]),
    "pusht": (lambda: positions(["motor_0", "motor_1"], (2, 200.0)), "pp", []),
    "aloha": (lambda: positions(ALOHA, (6, 1.0), 1.0, (6, 1.0), 1.0), "p" * 14, [6, 13]),
    "xarm": (lambda: positions(XARM, (3, 250.0), (3, 50.0), 850.0), "p" * 7, [6]),
    "no names": (lambda: positions(None, (5, 60.0), 100.0), "p" * 6, [5]),
}


def write(root: Path, action_names, state_names, rows) -> None:
    """A LeRobotDataset by LeRobot's own writer, with two cameras of noise that shows how far the episode is."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    image = {"dtype": "image", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    widths = [values.shape[1] for values in rows[0]]
    features = dict.fromkeys(CAMERAS, image)
    for key, names, width in zip(
        ("action", "observation.state"), (action_names, state_names), widths, strict=True
    ):
        features[key] = {"dtype": "float32", "shape": (width,), "names": names}
    data = LeRobotDataset.create("test/arm", fps=FPS, features=features, root=root, use_videos=False)
    rng = np.random.default_rng(0)
    for action, state in rows:
        for t in range(len(action)):
            frame = {
                key: np.clip(rng.normal(60 + 2 * t, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                for key in CAMERAS
            }
            frame |= {
                "action": action[t].astype(np.float32),
                "observation.state": state[t].astype(np.float32),
            }
            data.add_frame({**frame, "task": TASK})
        data.save_episode()
    data.finalize()


def train(view: Path, folder: Path, steps: int = 2) -> Path:
    """A few steps, with what `lerobot-train` is made of; returns the checkpoint."""
    from lerobot.datasets.factory import resolve_delta_timestamps
    from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata
    from lerobot.policies.factory import make_policy, make_pre_post_processors

    from lerobot_wallwm import WallwmConfig

    values = dict(flag.removeprefix("--policy.").split("=") for flag in TINY_FLAGS)
    config = WallwmConfig(
        push_to_hub=False, device="cpu", **{name: json.loads(value) for name, value in values.items()}
    )
    torch.manual_seed(0)
    meta = LeRobotDatasetMetadata("test/arm", root=view)
    policy = make_policy(config, ds_meta=meta).train()
    data = LeRobotDataset("test/arm", root=view, delta_timestamps=resolve_delta_timestamps(config, meta))
    pre, post = make_pre_post_processors(config, dataset_stats=meta.stats)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1e-3)
    loader = iter(torch.utils.data.DataLoader(data, batch_size=8, shuffle=True))
    for _ in range(steps):
        loss, _ = policy(pre(next(loader)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.isfinite(loss)
    policy.save_pretrained(folder)
    for pipeline in (pre, post):
        pipeline.save_pretrained(folder)
    return folder


def loaded(checkpoint: Path, **fields):
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies.factory import make_pre_post_processors

    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

    config = PreTrainedConfig.from_pretrained(checkpoint)
    for name, value in fields.items():
        setattr(config, name, value)
    policy = WallwmPolicy.from_pretrained(checkpoint, config=config).eval()
    return policy, make_pre_post_processors(policy.config, pretrained_path=str(checkpoint))


SELDOM = ("metaworld", "pusht", "xarm", "no names")


@pytest.mark.parametrize("arm", [pytest.param(a, marks=[pytest.mark.slow] * (a in SELDOM)) for a in ARMS])
def test_an_arm_goes_all_the_way(arm, tmp_path, capsys):
    build, kinds, grippers = ARMS[arm]
    action_names, state_names, rows = build()
    source, out = tmp_path / "source", tmp_path / "events"
    write(source, action_names, state_names, rows)
    flags = [f"--dataset.root={source}", f"--out.root={out}", "--heldout=0.25", "--quiet=true"]
    assert main(["prepare", *flags]) == 0
    printed = capsys.readouterr().out
    assert printed.count("action      ") >= 1
    about = json.loads((out / "train" / "meta" / "wallwm.json").read_text())["embodiment"]
    assert "".join(dim["kind"][0] for dim in about["action"]) == kinds
    assert [d for d, dim in enumerate(about["action"]) if dim["quantity"] == "gripper"] == grippers

    checkpoint = train(out / "train", tmp_path / "checkpoint")
    assert json.loads((checkpoint / "learned.json").read_text())["embodiment"] == about
    caption = str(pq.read_table(out / "train" / "meta" / "tasks.parquet").column("task")[0])
    policy, pipelines = loaded(checkpoint, guards="arm", planner="script", script=[f"{caption} | 0.4 s"])
    robot = FakeRobot(policy, pipelines, rows[0][1][0], TASK)
    sent = np.array([robot.tick() for _ in range(30)])
    low, high = (
        np.minimum.reduce([a.min(0) for a, _ in rows]),
        np.maximum.reduce([a.max(0) for a, _ in rows]),
    )
    span = np.maximum(high - low, 1e-6)
    assert np.isfinite(sent).all()
    assert (sent >= np.minimum(low, 0) - 1e-3 * span).all() and (
        sent <= np.maximum(high, 0) + 1e-3 * span
    ).all()
    rates, held = policy.action_space.what.rates, sent[20:]
    assert (np.abs(held[:, rates]) <= 1e-6 * span[rates]).all()
    assert (np.ptp(held, axis=0) <= 1e-3 * span).all()

    flags = [
        f"--policy.path={checkpoint}",
        f"--dataset.root={out / 'heldout'}",
        f"--out={tmp_path / 'check'}",
    ]
    flags += ["--observations=8", "--timings=5", "--clips=1", "--episodes_shown=1", "--quiet=true"]
    main(["check", *flags])
    assert json.loads((tmp_path / "check" / "check.json").read_text())["verdict"]


def test_what_is_no_row_of_numbers_is_refused_before_any_work(tmp_path):
    from lerobot_wallwm.storage.errors import DataError  # noqa: F401  what it is

    write(tmp_path / "source", *positions(None, (5, 60.0), 100.0))
    info = tmp_path / "source" / "meta" / "info.json"
    content = json.loads(info.read_text())
    content["features"]["action"]["shape"] = [2, 3]
    info.write_text(json.dumps(content))
    assert main(["prepare", f"--dataset.root={tmp_path / 'source'}", f"--out.root={tmp_path / 'out'}"]) != 0
    assert not (tmp_path / "out").exists()
