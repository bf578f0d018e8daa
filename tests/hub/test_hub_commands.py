# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The unmodified `lerobot-train` and `lerobot-eval` against the stand-in Hub, each in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hub_repos import TOKEN, Fault
from safetensors.torch import load_file
from tiny_arm import TINY_FLAGS

TRAIN = "from lerobot.scripts.lerobot_train import main; main()"
EVAL = "from lerobot.scripts.lerobot_eval import main; main()"
WALLWM = "import sys; from lerobot_wallwm.cli import main; sys.exit(main())"


@pytest.fixture
def environment(hub, tmp_path) -> dict[str, str]:
    """Of a machine that has nothing but a token for the stand-in."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))},
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def run(code: str, env: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, timeout=1200
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def train_flags(view: Path, out: Path, *flags: str) -> list[str]:
    return [
        "--policy.device=cpu",
        "--policy.push_to_hub=true",
        "--dataset.repo_id=test/tiny_events",
        f"--dataset.root={view}",
        f"--output_dir={out}",
        "--batch_size=2",
        "--num_workers=0",
        "--log_freq=1",
        "--seed=7",
        *flags,
    ]


@pytest.mark.slow
def test_lerobot_train_publishes_at_its_end_and_starts_from_the_hub(hub, environment, tiny_view, tmp_path):
    view = tiny_view / "train"
    flags = train_flags(
        view, tmp_path / "a", "--steps=3", "--policy.repo_id=me/cups", "--policy.license=mit", *TINY_FLAGS
    )
    said = run(TRAIN, environment, "--policy.type=wallwm", *flags)
    assert f"Model pushed to {hub.url}/me/cups" in said
    # LeRobot pushes the processors once more; they are there, so nothing changes.
    assert len(hub.repo("me/cups").commits) == 2
    files, saved = hub.files("me/cups"), tmp_path / "a" / "checkpoints" / "last" / "pretrained_model"
    for file in saved.iterdir():
        if file.suffix == ".safetensors" or file.name.startswith("policy_"):
            assert files[file.name] == file.read_bytes(), file.name
    assert not [
        name for name, data in files.items() if str(tmp_path).encode() in data or str(view).encode() in data
    ]
    card = files["README.md"].decode()
    assert "license: mit" in card and "| grasp | 5 | 5 |" in card and "Not measured" in card
    assert "lerobot-train \\\n--policy.type=wallwm" in card and TOKEN not in card

    flags = train_flags(
        view, tmp_path / "b", "--steps=1", "--policy.repo_id=me/next", "--policy.stage=action"
    )
    run(TRAIN, environment, "--policy.path=me/cups", *flags)
    assert "base_model:\n- me/cups" in hub.files("me/next")["README.md"].decode()
    before, after = load_file(saved / "model.safetensors"), tmp_path / "b/checkpoints/last/pretrained_model"
    for key, value in load_file(after / "model.safetensors").items():
        assert not key.startswith("model.video.") or torch.equal(value, before[key]), (
            key
        )  # frozen in this stage


@pytest.mark.slow
def test_lerobot_eval_pulls_the_pinned_revision(hub, environment, tiny_view, tmp_path):
    pytest.importorskip("lerobot_env_so101_sim")
    from lerobot_env_so101_sim.rendering import BACKENDS, backend_works

    backend = next((name for name in BACKENDS if backend_works(name)), None)
    if backend is None:
        pytest.skip("needs OpenGL")

    first = _simulated_checkpoint(tmp_path / "first", seed=1)
    second = _simulated_checkpoint(tmp_path / "second", seed=2, num_inference_steps=3)
    for folder in (first, second):
        run(WALLWM, environment, "publish", f"--policy.path={folder}", "--repo_id=me/sim")
    old = list(hub.repo("me/sim").commits)[1]

    def evaluate(out: str, *flags: str) -> np.ndarray:
        run(
            EVAL,
            {**environment, "MUJOCO_GL": backend},
            *flags,
            "--policy.device=cpu",
            "--env.type=so101_sim",
            "--env.episode_length=10",
            "--eval.n_episodes=1",
            "--eval.batch_size=1",
            "--eval.use_async_envs=false",
            "--seed=1000",
            f"--output_dir={tmp_path / out}",
        )
        with av.open(str(next((tmp_path / out).rglob("eval_episode_0.mp4")))) as video:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])

    pinned = evaluate("pinned", "--policy.path=me/sim", f"--policy.pretrained_revision={old}")
    assert np.array_equal(pinned, evaluate("local", f"--policy.path={first}"))
    assert not np.array_equal(pinned, evaluate("newest", "--policy.path=me/sim"))
    requests = [path for _, path in hub.requests]
    assert f"/me/sim/resolve/{old}/model.safetensors" in requests


def _simulated_checkpoint(folder: Path, seed: int, **fields) -> Path:
    """Random weights for the simulator's cameras and joints."""
    from lerobot.configs import FeatureType
    from lerobot.envs.utils import env_to_policy_features

    from lerobot_env_so101_sim.configuration import So101SimEnvConfig
    from lerobot_wallwm import WallwmConfig
    from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
    from lerobot_wallwm.policies.processor_wallwm import make_wallwm_pre_post_processors

    features = env_to_policy_features(So101SimEnvConfig())
    actions = {key: value for key, value in features.items() if value.type is FeatureType.ACTION}
    low, high = torch.full((6,), -60.0), torch.full((6,), 60.0)
    one = {
        "min": low,
        "max": high,
        "mean": low * 0,
        "std": high / 2,
        "q01": low,
        "q99": high,
        "count": torch.tensor([9]),
    }
    stats = {"action": dict(one), "observation.state": dict(one)}
    config = WallwmConfig(
        input_features={key: value for key, value in features.items() if key not in actions},
        output_features=actions,
        image_size=(32, 32),
        num_future_latents=1,
        video_stride=1,
        video_width=24,
        video_depth=2,
        video_heads=2,
        video_ffn_width=32,
        text_dim=16,
        max_text_tokens=12,
        action_width=16,
        action_heads=2,
        action_ffn_width=16,
        planner="instruction",
        push_to_hub=False,
        device="cpu",
        **fields,
    )
    torch.manual_seed(seed)
    policy = WallwmPolicy(config, dataset_stats=stats)
    for parameter in policy.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    policy.save_pretrained(folder)
    for pipeline in make_wallwm_pre_post_processors(config, stats):
        pipeline.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_publisher_that_is_killed_in_the_middle_goes_on(hub, environment, checkpoint):
    """SIGKILL while the Hub is slow to take the commit; the second run sends no large file again."""
    code = WALLWM
    args = [sys.executable, "-c", code, "publish", f"--policy.path={checkpoint}", "--repo_id=me/cups"]
    hub.faults = [Fault("POST", "/commit/", status=503, times=999)]
    process = subprocess.Popen(args, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while (
        not any(path.endswith("/commit/main") for _, path in list(hub.requests))
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    sent = dict(hub.puts)
    assert sent and len(hub.repo("me/cups").commits) == 1
    hub.faults = []
    subprocess.run(args, env=environment, check=True, timeout=600, stdout=subprocess.DEVNULL)
    assert dict(hub.puts) == sent and len(hub.repo("me/cups").commits) == 2
    assert hub.files("me/cups")["model.safetensors"] == (checkpoint / "model.safetensors").read_bytes()
