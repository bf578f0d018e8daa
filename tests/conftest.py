# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Shared fixtures: a tiny configuration, a tiny policy, a tiny LeRobotDataset and the view carved from it."""

import dataclasses
import os
import shutil
import subprocess

# Before anything imports huggingface_hub: a test that reaches for the network must fail, not wait.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import draccus.wrappers.docstring as draccus_docstring
import numpy as np
import pytest
import torch
from hypothesis import settings
from tiny_arm import CAMERAS, JOINT_NAMES, TINY_FPS, TINY_TASK

# The same examples on every run, and nothing written into the checkout.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=30)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _quick_and_single_threaded():
    """One thread, and draccus reads each dataclass' source once instead of once a field and parse."""
    torch.set_num_threads(1)
    original = draccus_docstring.get_attribute_docstring
    draccus_docstring.get_attribute_docstring = lru_cache(maxsize=None)(original)
    yield
    draccus_docstring.get_attribute_docstring = original


@pytest.fixture
def mount_disk(tmp_path) -> Iterator[Callable[[int], Path]]:
    """Mounts a real file system of so many bytes, where this process may; skips the test elsewhere."""
    places: list[Path] = []

    def mount(size: int) -> Path:
        place = tmp_path / "small_disk"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("cannot mount a tmpfs")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="session")
def make_config() -> Callable[..., Any]:
    """Builds a tiny `WallwmConfig`; keyword arguments replace its fields, and what it learned."""
    from lerobot.configs import FeatureType, PolicyFeature

    from lerobot_wallwm import WallwmConfig
    from lerobot_wallwm.hub.files.learned import Learned

    def build(
        cameras: list[str] | None = None, image_shape: tuple[int, int, int] = (3, 32, 32), **fields: Any
    ) -> Any:
        numbers: dict[str, Any] = {
            "image_size": (32, 32),
            "num_future_latents": 2,
            "video_stride": 1,
            "video_width": 24,
            "video_depth": 2,
            "video_heads": 2,
            "video_ffn_width": 32,
            "text_dim": 16,
            "max_text_tokens": 12,
            "action_width": 16,
            "action_heads": 2,
            "action_ffn_width": 16,
            "action_draws": 2,
            "num_inference_steps": 2,
            "planner": "instruction",
            "action_feature_names": list(JOINT_NAMES),
            "state_feature_names": list(JOINT_NAMES),
            "push_to_hub": False,
            "guards": "simulation",  # tests wait for nobody's clock
            "device": "cpu",
        }
        numbers |= fields
        learned = {f.name: numbers.pop(f.name) for f in dataclasses.fields(Learned) if f.name in numbers}
        visual = {key: PolicyFeature(FeatureType.VISUAL, image_shape) for key in cameras or CAMERAS}
        config = WallwmConfig(
            input_features={**visual, "observation.state": PolicyFeature(FeatureType.STATE, (6,))},
            output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
            **numbers,
        )
        config.learned = Learned(**learned)
        return config

    return build


@pytest.fixture(scope="session")
def tiny_stats() -> dict[str, dict[str, torch.Tensor]]:
    """Statistics of an imaginary arm in degrees, with a gripper from 0 to 100."""
    low, high = torch.tensor([-60.0] * 5 + [0.0]), torch.tensor([60.0] * 5 + [100.0])
    one = {
        "min": low,
        "max": high,
        "mean": (low + high) / 2,
        "std": (high - low) / 4,
        "q01": low,
        "q99": high,
    }
    return {key: {**one, "count": torch.tensor([100])} for key in ("action", "observation.state")}


@pytest.fixture(scope="session")
def make_policy(make_config, tiny_stats) -> Callable[..., Any]:
    """Builds a tiny `WallwmPolicy` whose zero-initialised outputs are shaken, so that its inputs matter."""
    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

    def build(seed: int = 0, shake: bool = True, **fields: Any) -> Any:
        torch.manual_seed(seed)
        policy = WallwmPolicy(make_config(**fields), dataset_stats=tiny_stats)
        if shake:
            for parameter in policy.parameters():
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
        return policy.eval()

    return build


@pytest.fixture(scope="session")
def make_train_batch() -> Callable[..., dict[str, Any]]:
    """Builds a training batch as `lerobot-train` hands it over: time axes, pad masks, list of tasks."""

    def build(config: Any, batch: int = 4, seed: int = 0, valid: list[int] | None = None) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        offsets, horizon = config.observation_delta_indices, config.horizon
        lengths = torch.tensor(valid or [horizon] * batch)
        frame_pad = torch.tensor(offsets)[None] >= lengths[:, None]
        shape = tuple(config.input_features[CAMERAS[0]].shape)
        data: dict[str, Any] = {
            key: torch.rand(batch, len(offsets), *shape, generator=generator) for key in config.image_features
        }
        data.update({f"{key}_is_pad": frame_pad.clone() for key in config.image_features})
        data["observation.state"] = torch.rand(batch, len(offsets), 6, generator=generator) * 60 - 30
        data["observation.state_is_pad"] = frame_pad.clone()
        steps = torch.tensor(config.action_delta_indices)
        data["action"] = torch.rand(batch, len(steps), 6, generator=generator) * 2 - 1
        data["action_is_pad"] = steps[None] >= lengths[:, None]
        data["task"] = [("reach for the red cube", "close the gripper")[i % 2] for i in range(batch)]
        data["index"] = torch.arange(batch)
        data["episode_index"] = torch.zeros(batch, dtype=torch.long)
        return data

    return build


@pytest.fixture(scope="session")
def make_observation() -> Callable[..., dict[str, Any]]:
    """Builds an inference batch as `lerobot-eval` hands it over: no time axis, no pad masks."""

    def build(tasks: list[str], seed: int = 0, shape: tuple[int, int, int] = (3, 32, 32)) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        data: dict[str, Any] = {key: torch.rand(len(tasks), *shape, generator=generator) for key in CAMERAS}
        data["observation.state"] = torch.rand(len(tasks), 6, generator=generator) * 60 - 30
        data["task"] = list(tasks)
        return data

    return build


@pytest.fixture(scope="session")
def save_checkpoint(tiny_stats) -> Callable[[Any, Path], Path]:
    """Saves a policy with its pipelines as `lerobot-train` does; returns the folder."""
    from lerobot_wallwm.policies.processor_wallwm import make_wallwm_pre_post_processors

    def save(policy: Any, folder: Path) -> Path:
        policy.save_pretrained(folder)
        for pipeline in make_wallwm_pre_post_processors(policy.config, tiny_stats):
            pipeline.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="module")
def browse() -> Iterator[Callable[..., Any]]:
    """Opens a file in a headless Chromium; a word on the console and a request of another scheme are errors of the page."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the `browser` extra (playwright)")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next((path for path in map(shutil.which, names) if path), None)
    if program is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    problems: list[str] = []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=["--no-sandbox"])

        def open_file(file: Path, schemes: tuple[str, ...], width: int = 1000, height: int = 800) -> Any:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(60_000)
            page.on("console", lambda message: problems.append(message.text))
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("request", lambda asked: asked.url.startswith(schemes) or problems.append(asked.url))
            page.goto(file.as_uri())
            return page

        yield open_file
        assert problems == []
        browser.close()


def _tiny_episode(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """States and actions ``(T, 6)``: reach, close, carry, open, retreat, in degrees and percent."""
    rng = np.random.default_rng(seed)
    arm, grip = rng.uniform(-10, 10, 5), 80.0
    path = [np.append(arm, grip)]
    for kind, steps in (("move", 10), ("close", 5), ("move", 12), ("open", 5), ("move", 8)):
        steps = steps + int(rng.integers(0, 3))
        goal = arm + rng.choice([-1, 1], 5) * rng.uniform(15, 30, 5) if kind == "move" else arm
        goal_grip = {"move": grip, "close": 10.0, "open": 80.0}[kind]
        for step in range(1, steps + 1):
            t = step / steps
            blend = t**3 * (10 - 15 * t + 6 * t * t)  # minimum jerk: at rest at both ends
            path.append(np.append(arm + blend * (goal - arm), grip + blend * (goal_grip - grip)))
        arm, grip = goal, goal_grip
    command = np.array(path[1:], dtype=np.float32)
    state = np.array(path[:-1], dtype=np.float32)
    return state, command


def _tiny_image(state: np.ndarray, camera: int) -> np.ndarray:
    """``(32, 32, 3)`` uint8: a block that moves with two joints over a gradient; its red says how open the gripper is."""
    rows, columns = np.mgrid[0:32, 0:32]
    image = np.stack([rows * 3 + 40, columns * 3 + 40, np.full((32, 32), 60 + 60 * camera)], -1).astype(
        np.uint8
    )
    row, column = (int(np.clip(14 + state[k + 2 * camera] / 6, 0, 24)) for k in (0, 1))
    image[row : row + 8, column : column + 8] = (int(40 + 2 * state[5]), 220, 30)
    return image


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> Path:
    """Root of a LeRobotDataset v3 written by LeRobot: 6 episodes, 2 cameras of 32 x 32, 6 joints, 10 frames/s.

    In each episode the arm moves, the gripper closes, the arm moves, the gripper opens, the arm moves away.
    """
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    root = tmp_path_factory.mktemp("tiny") / "dataset"
    image = {"dtype": "video", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    joints = {"dtype": "float32", "shape": (6,), "names": list(JOINT_NAMES)}
    dataset = LeRobotDataset.create(
        "test/tiny",
        fps=TINY_FPS,
        features={**dict.fromkeys(CAMERAS, image), "observation.state": joints, "action": joints},
        root=root,
        robot_type="so101_follower",
        rgb_encoder=RGBEncoderConfig(vcodec="h264", preset="ultrafast", crf=18),
    )
    for seed in range(6):
        for state, action in zip(*_tiny_episode(seed), strict=True):
            frame = {key: _tiny_image(state, i) for i, key in enumerate(CAMERAS)}
            dataset.add_frame({**frame, "observation.state": state, "action": action, "task": TINY_TASK})
        dataset.save_episode()
    dataset.finalize()
    return root


@pytest.fixture(scope="session")
def tiny_view(tiny_dataset, tmp_path_factory) -> Path:
    """What `wallwm prepare` makes of `tiny_dataset`: a folder with ``train/`` and ``heldout/`` views."""
    from lerobot_wallwm.processors.prepare.config import PrepareConfig
    from lerobot_wallwm.processors.prepare.prepare import prepare
    from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

    out = tmp_path_factory.mktemp("tiny_view") / "events"
    config = PrepareConfig(
        dataset=DatasetConfig(root=tiny_dataset), out=OutputConfig(root=out), heldout=0.2, quiet=True
    )
    prepare(config)
    return out
