# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints published as a difference come back bit for bit, and frozen Wan parts are named instead of uploaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_wan import save_backbone

from lerobot_wallwm.cli import main
from lerobot_wallwm.hub.files.backbones import BACKBONES
from lerobot_wallwm.hub.files.safe_files import UnsafeCheckpointError
from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

WAN = "wan2.1-1.3b"


def publish(folder: Path, name: str, *flags: str) -> int:
    return main(["publish", f"--policy.path={folder}", f"--repo_id={name}", *flags])


def save(policy, like: Path, folder: Path) -> Path:
    """A checkpoint folder with another's processors."""
    shutil.copytree(like, folder)
    policy.save_pretrained(folder)
    return folder


def same(a, b) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def stages(make_policy, whole_checkpoint, tmp_path) -> tuple[Path, Path]:
    """A checkpoint of stage `video` with averages, and one of stage `action` that started from it."""
    video = make_policy(stage="video").train()
    for _ in range(3):
        for parameter in video.parameters():
            parameter.data.add_(0.01 * torch.randn_like(parameter))
        video.update()
    first = save(video, whole_checkpoint, tmp_path / "video")
    from lerobot.configs import PreTrainedConfig

    config = PreTrainedConfig.from_pretrained(first)
    config.stage = "action"
    action = WallwmPolicy.from_pretrained(first, config=config)
    for name, parameter in action.named_parameters():
        if parameter.requires_grad:
            assert not name.startswith("model.video.")
            parameter.data.add_(0.1)
    return first, save(action, whole_checkpoint, tmp_path / "action")


def test_a_stage_is_published_as_its_difference_to_the_one_before(hub, stages, tmp_path, capsys):
    video, action = stages
    assert publish(video, "me/video") == 0
    whole = (action / "model.safetensors").read_bytes()
    assert publish(action, "me/action", "--delta=me/video") == 0
    delta = json.loads(hub.files("me/action")["delta.json"])
    # The next stage starts from the averages, so the base has its weights under other names.
    assert delta["from_base"]["model.video.proj_out.weight"] == "ema.video.video/proj_out/weight"
    assert delta["base"]["revision"] == hub.repo("me/video").branches["main"]
    published = hub.files("me/action")["model.safetensors"]
    assert len(published) < 0.6 * len(whole)
    assert (
        f"{len(whole) - len(published) - len(hub.files('me/action')['delta.json']):,} bytes are not sent"
        in (capsys.readouterr().out)
    )
    assert same(WallwmPolicy.from_pretrained("me/action"), WallwmPolicy.from_pretrained(action))
    assert main(["pull", "me/action", f"--out={tmp_path / 'out'}"]) == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == whole
    assert not (tmp_path / "out" / "delta.json").exists()
    card = hub.files("me/action")["README.md"].decode()
    assert "base_model:\n- me/video" in card or "base_model: me/video" in card


def test_a_moved_base_changes_nothing(hub, stages):
    """The base is pinned to its commit."""
    video, action = stages
    assert publish(video, "me/video") == 0
    assert publish(action, "me/action", "--delta=me/video") == 0
    tensors = {
        key: value + 1 if value.is_floating_point() else value
        for key, value in load_file(video / "model.safetensors").items()
    }
    save_file(tensors, video / "model.safetensors")
    assert publish(video, "me/video") == 0
    assert same(WallwmPolicy.from_pretrained("me/action"), WallwmPolicy.from_pretrained(action))


def test_a_delta_of_a_delta(hub, stages, tmp_path):
    video, action = stages
    assert publish(video, "me/video") == 0
    assert publish(action, "me/action", "--delta=me/video") == 0
    third = Path(shutil.copytree(action, tmp_path / "third"))
    tensors = load_file(third / "model.safetensors")
    name = next(
        key for key in tensors if key.startswith("model.action.") and tensors[key].is_floating_point()
    )
    tensors[name] = tensors[name] + 1
    save_file(tensors, third / "model.safetensors", metadata={"format": "pt"})
    assert publish(third, "me/third", "--delta=me/action") == 0
    assert set(_names(hub.files("me/third")["model.safetensors"])) == {name}
    assert same(WallwmPolicy.from_pretrained("me/third"), WallwmPolicy.from_pretrained(third))


def _names(data: bytes) -> list[str]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return [name for name in header if name != "__metadata__"]


def test_another_base_is_refused(hub, stages, publish_files):
    video, action = stages
    assert publish(video, "me/video") == 0
    assert publish(action, "me/action", "--delta=me/video") == 0
    tensors = {key: value * 2 for key, value in load_file(video / "model.safetensors").items()}
    save_file(tensors, video / "model.safetensors")
    files = hub.files("me/action")
    delta = json.loads(files["delta.json"])
    delta["base"]["revision"] = publish_files(video, "me/other")
    delta["base"]["repo_id"] = "me/other"
    hub.add_commit("me/action", {**files, "delta.json": json.dumps(delta).encode()})
    with pytest.raises(WeightsError, match="not the base"):
        WallwmPolicy.from_pretrained("me/action")


LIES = [
    (lambda d: d["base"].update(revision="main"), "at a commit"),
    (lambda d: d["base"].update(repo_id="../../etc"), "at a commit"),
    (lambda d: d["base"].update(kind="url"), "kind"),
    (lambda d: d["base"].update(kind="backbone", backbone="evil"), "no backbone"),
    (lambda d: d["from_base"].update({"model.video.proj_out.weight": "no such tensor"}), "neither here"),
    (lambda d: d["from_base"].update({"no.such.weight": "train_steps"}), "does not fit"),
    (lambda d: d["from_base"].update({"model.video.proj_out.weight": "train_steps"}), "shape"),
    (lambda d: d["from_base"].clear(), "neither here"),
    (lambda d: d["full"].update(header="{}"), "no header"),
    (lambda d: d["full"].update(header="[" * 10**5), "no header"),
    (lambda d: d.update(format="wallwm-delta/9"), "format"),
    (lambda d: d.pop("full"), "needs"),
    (lambda d: d["from_base"].update(a=3), "wrong type"),
]


def test_deltas_that_lie_are_refused(hub, stages):
    video, action = stages
    assert publish(video, "me/video") == 0
    assert publish(action, "me/action", "--delta=me/video") == 0
    files = hub.files("me/action")
    for change, says in LIES:
        delta = json.loads(files["delta.json"])
        change(delta)
        hub.add_commit("me/action", {**files, "delta.json": json.dumps(delta).encode()})
        with pytest.raises((UnsafeCheckpointError, WeightsError), match=says):
            WallwmPolicy.from_pretrained("me/action")


def test_a_chain_that_bites_its_tail_ends(hub, stages, tmp_path):
    """A repository cannot name its own commit, but a local copy may be edited to anything."""
    video, action = stages
    assert publish(video, "me/video") == 0
    assert publish(action, "me/d0", "--delta=me/video") == 0
    for number in range(1, 5):
        assert publish(action, f"me/d{number}", f"--delta=me/d{number - 1}") == (0 if number < 4 else 2)


def test_a_base_must_be_somewhere_others_find_it(hub, stages, capsys):
    video, action = stages
    assert publish(action, "me/action", f"--delta={video}") == 2
    assert "a base must be on the Hub" in capsys.readouterr().err
    assert publish(action, "me/action", "--delta=backbone") == 2
    assert "name a checkpoint instead" in capsys.readouterr().err
    assert publish(action, "me/action", "--delta=me/nothing") == 2
    assert "no such repository" in capsys.readouterr().err


def test_a_checkpoint_that_shares_nothing(hub, stages, checkpoint, capsys, tmp_path):
    tensors = {key: value + 3 for key, value in load_file(checkpoint / "model.safetensors").items()}
    save_file(tensors, checkpoint / "model.safetensors")
    assert publish(stages[0], "me/video") == 0
    assert publish(checkpoint, "me/x", "--delta=me/video") == 2
    assert "too little in common" in capsys.readouterr().err


# ---------------------------------------------------------------------- Wan


@pytest.fixture
def wan(hub, make_policy, whole_checkpoint, tmp_path):
    """A tiny Wan on the stand-in, the same in a local folder, and a maker of checkpoints on it."""
    folder = save_backbone(tmp_path / "backbone", WAN)
    files = {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    commit = hub.add_commit(BACKBONES[WAN].repo_id, files)

    def make(**fields) -> Path:
        numbers = {"backbone": WAN, "text_cache": str(tmp_path / "text_cache"), "stage": "action", **fields}
        policy = make_policy(shake=False, **numbers)
        for name, parameter in policy.named_parameters():
            if parameter.requires_grad:
                assert not name.startswith("model.video.")
                parameter.data.add_(0.1)
        return save(policy, whole_checkpoint, tmp_path / "checkpoint")

    return folder, commit, make


@pytest.mark.parametrize("local", [False, True])
def test_frozen_wan_parts_are_referenced(hub, wan, local):
    folder, commit, make = wan
    checkpoint = make(backbone_path=str(folder)) if local else make()
    (checkpoint / "train_config.json").unlink()
    assert publish(checkpoint, "me/wan") == 0
    files = hub.files("me/wan")
    config = json.loads(files["config.json"])
    assert (
        config["backbone_path"] is None
        and config["backbone_revision"] == commit
        and "text_cache" not in config
    )
    assert not [
        n for n in _names(files["model.safetensors"]) if "codec" in n or "text_encoder" in n or "vae" in n
    ]
    card = files["README.md"].decode()
    assert BACKBONES[WAN].repo_id in card and "Apache-2.0, as published by Wan-AI" in card
    frozen = sum(f.stat().st_size for part in ("vae", "text_encoder") for f in (folder / part).rglob("*"))
    assert (
        sum(map(len, files.values()))
        < (checkpoint / "model.safetensors").stat().st_size + 40_000
        < frozen + 10**7
    )
    assert same(WallwmPolicy.from_pretrained("me/wan"), WallwmPolicy.from_pretrained(checkpoint))


def test_a_tower_that_is_still_wan_is_not_uploaded(hub, wan, tmp_path):
    folder, commit, make = wan
    checkpoint = make(backbone_path=str(folder))
    (checkpoint / "train_config.json").unlink()
    whole = (checkpoint / "model.safetensors").read_bytes()
    assert publish(checkpoint, "me/wan", "--delta=backbone") == 0
    published = hub.files("me/wan")["model.safetensors"]
    theirs = sum(f.stat().st_size for f in (folder / "transformer").glob("*.safetensors"))
    assert len(whole) - len(published) > 0.8 * theirs
    assert not [n for n in _names(published) if ".attn1." in n]
    assert same(WallwmPolicy.from_pretrained("me/wan"), WallwmPolicy.from_pretrained(checkpoint))
    assert main(["pull", "me/wan", f"--out={tmp_path / 'out'}"]) == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == whole


def test_a_backbone_that_others_do_not_have_is_refused(hub, wan, capsys):
    folder, _, make = wan
    checkpoint = make(backbone_path=str(folder))
    weights = next((folder / "vae").glob("*.safetensors"))
    save_file({key: value + 1 for key, value in load_file(weights).items()}, weights)
    assert publish(checkpoint, "me/wan") == 2
    assert "where readers of the checkpoint would look" in capsys.readouterr().err
    assert ("model", "me/wan") not in hub.repos
