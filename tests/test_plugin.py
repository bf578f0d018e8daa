# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The plugin as LeRobot's own commands see it: discovery, training, resuming, reloading, the wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from safetensors.torch import load_file
from tiny_arm import CAMERAS, JOINT_NAMES, TINY_FLAGS, TINY_TASK

REPOSITORY = Path(__file__).parents[1]
TRAIN = "from lerobot.scripts.lerobot_train import main; main()"


def run(code: str, *args: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Runs Python code in a fresh process; returns what it printed, or fails with what it complained about."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **(env or {})},
        cwd=cwd,
        timeout=900,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


DISCOVER = """
import sys
import lerobot.optim, lerobot.processor  # which import diffusers and transformers where these are installed
from lerobot.configs import PreTrainedConfig
from lerobot.utils.import_utils import register_third_party_plugins
before = set(sys.modules)
register_third_party_plugins()
added = set(sys.modules) - before
assert "wallwm" in PreTrainedConfig.get_known_choices(), sorted(PreTrainedConfig.get_known_choices())
assert "lerobot_policy_wallwm" in added
heavy = [m for m in ("diffusers", "transformers", "lerobot_wallwm.policies.modeling_wallwm") if m in added]
assert not heavy, heavy
from lerobot.policies.factory import get_policy_class
assert get_policy_class("wallwm").__name__ == "WallwmPolicy"
print("found by name")
"""


def test_lerobot_discovers_the_plugin_and_it_stays_light():
    assert "found by name" in run(DISCOVER)


def test_importing_the_plugin_imports_no_model():
    # LeRobot's own optimiser and processor modules import diffusers; beyond those the plugin adds nothing heavy.
    code = """
import sys, lerobot.configs, lerobot.optim, lerobot.processor
before = set(sys.modules)
import lerobot_policy_wallwm
heavy = ("diffusers.", "transformers", "lerobot_wallwm.policies.modeling_wallwm", "lerobot_wallwm.policies.towers.video_tower")
print([m for m in set(sys.modules) - before if m.startswith(heavy)])
"""
    assert run(code).strip().endswith("[]")


def train(view: Path, out: Path, steps: int, *flags: str, start: str = "--policy.type=wallwm") -> Path:
    """Runs the unmodified `lerobot-train`; returns its checkpoints folder."""
    run(
        TRAIN,
        start,
        "--policy.push_to_hub=false",
        "--policy.device=cpu",
        "--dataset.repo_id=test/tiny_events",
        f"--dataset.root={view}",
        f"--output_dir={out}",
        f"--steps={steps}",
        "--batch_size=4",
        "--num_workers=0",
        "--log_freq=5",
        "--seed=7",
        *TINY_FLAGS,
        *flags,
    )
    return out / "checkpoints"


@pytest.fixture(scope="session")
def trained(tiny_view, tmp_path_factory) -> Path:
    """Checkpoints of a real run of 20 steps, saved at 10 and 20."""
    return train(tiny_view / "train", tmp_path_factory.mktemp("trained") / "run", 20, "--save_freq=10")


def test_lerobot_train_trains_it(trained, tiny_view):
    folder = trained / "last" / "pretrained_model"
    config = json.loads((folder / "config.json").read_text())
    assert config["type"] == "wallwm" and config["planner"] == "grammar"
    # Found in the dataset, apart from what a person chose.
    learned = json.loads((folder / "learned.json").read_text())
    assert learned["fps"] == 10
    assert learned["action_feature_names"] == JOINT_NAMES == learned["state_feature_names"]
    events = LeRobotDatasetMetadata("test/tiny_events", root=tiny_view / "train").episodes
    templates = set(events["wallwm/template"])
    assert {template for nexts in learned["event_transitions"].values() for template in nexts} - {
        "<end>"
    } == templates
    for template in templates:
        lengths = [
            n for n, t in zip(events["length"], events["wallwm/template"], strict=True) if t == template
        ]
        assert learned["event_max_frames"][template] == max(lengths)
    early, late = (
        load_file(trained / step / "pretrained_model" / "model.safetensors") for step in ("000010", "000020")
    )
    learnt = [key for key in early if not torch.equal(early[key], late[key])]
    assert len(learnt) > 0.9 * len([key for key in early if not key.startswith("action_space.")])
    assert all(torch.isfinite(value).all() for value in late.values())


def test_network_units_come_from_the_data(trained, tiny_view):
    from lerobot_wallwm.embodiment.recognise import recognise
    from lerobot_wallwm.policies.batches.action_space import ActionSpace
    from lerobot_wallwm.policies.batches.dataset_facts import measure

    weights = load_file(trained / "last" / "pretrained_model" / "model.safetensors")
    stats = LeRobotDatasetMetadata("test/tiny_events", root=tiny_view / "train").stats
    torch.testing.assert_close(
        weights["action_space.range_high"], torch.as_tensor(stats["action"]["max"], dtype=torch.float32)
    )
    assert weights["action_space.relative"].tolist() == [1, 1, 1, 1, 1, 0]
    space = ActionSpace(recognise(JOINT_NAMES, JOINT_NAMES, (6, 6), None), [True] * 5 + [False])
    spread = measure(tiny_view / "train", 8, space).displacement
    torch.testing.assert_close(weights["action_space.scale"][:5], spread[:5])


ACT = """
import sys, torch
torch.set_num_threads(1)
from lerobot.utils.import_utils import register_third_party_plugins
register_third_party_plugins()
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
folder, out = sys.argv[1:3]
config = PreTrainedConfig.from_pretrained(folder)
policy = get_policy_class("wallwm").from_pretrained(folder, config=config).eval()
pre, post = make_pre_post_processors(
    config,
    pretrained_path=folder,
    preprocessor_overrides={"device_processor": {"device": "cpu"}, "rename_observations_processor": {"rename_map": {}}},
)
generator = torch.Generator().manual_seed(0)
actions = []
for _ in range(12):
    observation = {key: torch.rand(1, 3, 32, 32, generator=generator) for key in sys.argv[4:]}
    observation["observation.state"] = torch.rand(1, 6, generator=generator) * 20
    actions.append(post(policy.select_action(pre({**observation, "task": [sys.argv[3]]}))))
torch.save(torch.cat(actions), out)
"""


def act(folder: Path, out: Path) -> torch.Tensor:
    """Actions of a checkpoint, loaded in a fresh process the way `lerobot-eval` loads it."""
    run(ACT, str(folder), str(out), TINY_TASK, *CAMERAS)
    return torch.load(out, weights_only=True)


def test_a_checkpoint_reloads_to_identical_actions(trained, tiny_view, tmp_path):
    folder = trained / "last" / "pretrained_model"
    copied = tmp_path / "elsewhere"
    shutil.copytree(folder, copied)
    first, second = act(folder, tmp_path / "a.pt"), act(copied, tmp_path / "b.pt")
    assert torch.equal(first, second) and first.shape == (12, 6)
    stats = LeRobotDatasetMetadata("test/tiny_events", root=tiny_view / "train").stats["action"]
    low, high = (torch.as_tensor(stats[name], dtype=torch.float32) for name in ("min", "max"))
    assert bool((first >= low - 1e-3).all()) and bool((first <= high + 1e-3).all())


@pytest.mark.slow
@pytest.mark.parametrize("flag", [None, "--policy.optimizer=muon", "--policy.stage=video"])
def test_stopping_and_resuming_gives_the_weights_of_an_unbroken_run(trained, tiny_view, tmp_path, flag):
    if flag is not None:
        trained = train(tiny_view / "train", tmp_path / "unbroken", 20, "--save_freq=10", flag)
    # The run is taken up at its own checkpoint of step 10, in a copy, as after a power cut.
    broken = tmp_path / "run"
    shutil.copytree(trained.parent, broken, symlinks=True)
    shutil.rmtree(broken / "checkpoints" / "000020")
    (broken / "checkpoints" / "last").unlink()
    (broken / "checkpoints" / "last").symlink_to("000010")
    config = broken / "checkpoints" / "last" / "pretrained_model" / "train_config.json"
    settings = json.loads(config.read_text())
    settings["output_dir"] = str(broken)
    config.write_text(json.dumps(settings))
    run(TRAIN, f"--config_path={config}", "--resume=true")
    unbroken, resumed = (
        load_file(folder / "000020" / "pretrained_model" / "model.safetensors")
        for folder in (trained, broken / "checkpoints")
    )
    assert unbroken.keys() == resumed.keys()
    different = [key for key in unbroken if not torch.equal(unbroken[key], resumed[key])]
    assert different == []
    averages = [key for key in unbroken if key.startswith("ema.")]
    assert bool(averages) == (flag == "--policy.stage=video")


@pytest.mark.slow
def test_each_stage_starts_from_the_last_ones_checkpoint(tiny_view, tmp_path):
    """video, then action, through the unmodified `lerobot-train`: what the first leaves is its averages."""
    video = (
        train(tiny_view / "train", tmp_path / "video", 6, "--policy.stage=video") / "last/pretrained_model"
    )
    start = f"--policy.path={video}"
    action = train(tiny_view / "train", tmp_path / "action", 4, "--policy.stage=action", start=start)
    first, second = (
        load_file(folder / "model.safetensors") for folder in (video, action / "last/pretrained_model")
    )
    assert int(first["ema.video.updates"]) == 6
    assert not any(key.startswith("ema.") for key in second)
    changed = set()
    for key, value in second.items():
        average = first.get("ema.video." + key.removeprefix("model.").replace(".", "/"), first[key])
        if not torch.equal(value, average):
            changed.add(key.removeprefix("model.").split(".")[0])
    assert changed == {"action", "landmarks", "goal_head", "train_steps"}
    actions = act(action / "last/pretrained_model", tmp_path / "actions.pt")
    assert actions.shape == (12, 6) and torch.isfinite(actions).all()


@pytest.mark.slow
def test_next_chunk_starts_from_an_event_checkpoint(trained, tiny_dataset, tmp_path):
    event = trained / "last" / "pretrained_model"
    out = tmp_path / "chunks"
    printed = run(
        TRAIN,
        f"--policy.path={event}",
        "--policy.stage=next_chunk",
        "--policy.history_latents=1",
        "--policy.push_to_hub=false",
        "--dataset.repo_id=test/tiny",
        f"--dataset.root={tiny_dataset}",  # the source itself: one episode is one long sequence
        f"--output_dir={out}",
        "--steps=2",
        "--batch_size=4",
        "--num_workers=0",
        "--log_freq=1",
    )
    assert "start anew" in printed and "loss_video" in printed
    folder = out / "checkpoints" / "last" / "pretrained_model"
    config = json.loads((folder / "config.json").read_text())
    assert config["stage"] == "next_chunk" and config["planner"] == "instruction"
    learned, before = (json.loads((path / "learned.json").read_text()) for path in (folder, event))
    assert learned["event_transitions"] == before["event_transitions"]
    before, after = (load_file(path / "model.safetensors") for path in (event, folder))
    fresh = after.keys() - before.keys()
    assert len(fresh) == 4 and all(".chunk_tables." in key and after[key].any() for key in fresh)
    actions = act(folder, tmp_path / "actions.pt")
    assert actions.shape == (12, 6) and torch.isfinite(actions).all()


@pytest.mark.slow
def test_the_language_half_is_three_more_stages(trained, tiny_view, tiny_dataset, tmp_path):
    """vlm, staircase, unified through the unmodified `lerobot-train`, and a rollout that is told by latents."""
    view, last = tiny_view / "train", trained / "last/pretrained_model"
    with pytest.raises(AssertionError, match="train --policy.stage=vlm first"):
        train(view, tmp_path / "early", 2, "--policy.stage=staircase", start=f"--policy.path={last}")
    weights = [load_file(last / "model.safetensors")]
    for stage in ("vlm", "staircase", "unified"):
        flags = (f"--policy.stage={stage}",)
        folder = train(view, tmp_path / stage, 4, *flags, start=f"--policy.path={last}")
        last = folder / "last/pretrained_model"
        weights.append(load_file(last / "model.safetensors"))
    learned = json.loads((last / "learned.json").read_text())
    assert learned["stages"] == ["joint", "vlm", "staircase", "unified"] and "cube" in learned["words"]
    for before, after in zip(weights, weights[1:], strict=False):
        # Towers, words and eye are bit for bit those that learned to act.
        assert all(
            torch.equal(after[key], value)
            for key, value in before.items()
            if ".reasoner." not in key and "steps" not in key
        )
    fresh = weights[2].keys() - weights[1].keys()
    assert fresh and all(".reasoner.stairs." in key or ".reasoner.prefix." in key for key in fresh)
    # The branch began as the decoder that stage `vlm` left, but for what four steps change.
    layer = (
        "model.reasoner.stairs.branch.0.mlp.up_proj.weight",
        "model.reasoner.vlm.stack.layers.3.mlp.up_proj.weight",
    )
    assert (weights[2][layer[0]] - weights[1][layer[1]]).abs().max() < 0.01
    out = tmp_path / "actions.pt"
    told = act(last, out)
    config = json.loads((last / "config.json").read_text())
    (last / "config.json").write_text(json.dumps({**config, "text_source": "latents"}))
    assert not torch.equal(act(last, out), told)
    # Words that changed since: latents would point to where nothing is any more.
    with pytest.raises(AssertionError, match="train --policy.stage=vlm first"):
        chunks = train(
            view, tmp_path / "chunks", 2, "--policy.stage=next_chunk", start=f"--policy.path={last}"
        )
        start = f"--policy.path={chunks / 'last/pretrained_model'}"
        train(view, tmp_path / "late", 2, "--policy.stage=staircase", start=start)


@pytest.mark.slow
def test_the_wheel_alone_makes_lerobot_know_the_policy(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        REPOSITORY,
        source,
        ignore=shutil.ignore_patterns(".venv", ".git", "outputs", "*.egg-info", "examples", "build"),
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(tmp_path / "dist"),
            str(source),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob(
        "lerobot_policy_wallwm-*.whl"
    )  # underscores: LeRobot compares the name
    target = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--no-index",
            "--target",
            str(target),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    assert not (target / "tests").exists()
    out = run(
        DISCOVER + "\nimport lerobot_wallwm, lerobot_wallwm.cli; print(lerobot_wallwm.__file__)",
        env={"PYTHONPATH": str(target)},
        cwd=tmp_path,
    )
    assert "found by name" in out and str(target) in out


def test_everything_a_user_imports_is_importable():
    for name in (
        "lerobot_policy_wallwm",
        "lerobot_wallwm.cli",
        "lerobot_wallwm.processors",
        "lerobot_wallwm.policies",
    ):
        assert find_spec(name) is not None
