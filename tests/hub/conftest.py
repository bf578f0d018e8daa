# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A stand-in Hub that huggingface_hub talks to in this process, a checkpoint to publish, and a way to make bad ones."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_repos import TOKEN
from hub_server import StandInHub

from lerobot_wallwm.hub.remote import errors as hub_errors


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[StandInHub]:
    """A running stand-in; this process is logged in, and its cache is empty."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    server = StandInHub()
    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_CACHE": str(tmp_path / "hf_cache"),
        "HF_TOKEN_PATH": str(tmp_path / "no_token_here"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    # The client waits between its tries; here nobody else needs the time.
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(hub_errors.time, "sleep", lambda seconds: None)
    yield server
    server.close()


@pytest.fixture(scope="session")
def whole_checkpoint(make_policy, save_checkpoint, tmp_path_factory) -> Path:
    """What lerobot-train leaves in `pretrained_model`: weights, both settings, both processors, of 6 joints."""
    import draccus
    from lerobot.configs.default import DatasetConfig
    from lerobot.configs.train import TrainPipelineConfig

    transitions = {"": {"reach": 5}, "reach": {"close": 5}}
    policy = make_policy(event_transitions=transitions, event_max_frames={"reach": 12}, fps=10.0)
    folder = save_checkpoint(policy, tmp_path_factory.mktemp("whole") / "pretrained_model")
    cfg = TrainPipelineConfig(
        dataset=DatasetConfig(repo_id="test/tiny_events", root="/home/somebody/data/tiny"),
        policy=policy.config,
        output_dir=Path("/home/somebody/outputs/train"),
        steps=700,
        batch_size=16,
    )
    with (folder / "train_config.json").open("w") as stream, draccus.config_type("json"):
        draccus.dump(cfg, stream, indent=4)
    return folder


@pytest.fixture
def checkpoint(whole_checkpoint, tmp_path) -> Path:
    """A copy of it to do things to."""
    return Path(shutil.copytree(whole_checkpoint, tmp_path / "pretrained_model"))


@pytest.fixture
def publish_files(hub) -> Callable[..., str]:
    """Puts a folder's files on the stand-in unchecked, with some of them replaced or added."""

    def put(folder: Path, files: dict[str, bytes] | None = None) -> str:
        own = {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()}
        return hub.add_commit("me/x", {**own, **(files or {})})

    return put
