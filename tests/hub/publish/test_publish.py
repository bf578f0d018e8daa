# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm publish` and `wallwm pull` against a stand-in Hub: whole, bit-exact, resumed, refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_repos import READ_TOKEN, Fault
from hub_server import StandInHub
from huggingface_hub import HfApi, constants
from lerobot.configs import PreTrainedConfig
from lerobot.configs.train import TrainPipelineConfig
from safetensors.torch import load, load_file, save_file
from tiny_wan import save_backbone

from lerobot_wallwm.cli import main
from lerobot_wallwm.hub.files.backbones import BACKBONES
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy

WAN = "wan2.1-1.3b"
EXACT = (
    "model.safetensors",
    "policy_preprocessor.json",
    "policy_postprocessor.json",
    "policy_postprocessor_step_1_unnormalizer_processor.safetensors",
)


def publish(folder: Path, *flags: str, name: str = "me/cups") -> int:
    return main(["publish", f"--policy.path={folder}", f"--repo_id={name}", *flags])


def commits(hub: StandInHub, name: str = "me/cups") -> int:
    """Commits of a reader's interest: without the one that makes the repository."""
    return len(hub.repo(name).commits) - 1


def change(folder: Path) -> None:
    """Other weights in the same shapes."""
    tensors = load_file(folder / "model.safetensors")
    changed = {key: value + 1 if value.is_floating_point() else value for key, value in tensors.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def pull(out: Path, *flags: str) -> int:
    return main(["pull", "me/cups", f"--out={out}", *flags])


def test_a_checkpoint_comes_back_bit_exact_in_one_commit(hub, checkpoint, tmp_path, capsys, make_observation):
    before = {f.name: f.read_bytes() for f in checkpoint.iterdir()}
    assert publish(checkpoint) == 0
    assert "published: http://127.0.0.1" in capsys.readouterr().out
    assert commits(hub) == 1
    assert {f.name: f.read_bytes() for f in checkpoint.iterdir()} == before
    assert pull(tmp_path / "pulled") == 0
    for name in EXACT:
        assert (tmp_path / "pulled" / name).read_bytes() == before[name], name
    ours, theirs = (PreTrainedConfig.from_pretrained(f) for f in (checkpoint, tmp_path / "pulled"))
    assert theirs.repo_id == "me/cups"
    theirs.repo_id = ours.repo_id
    assert ours == theirs
    a, b = (
        WallwmPolicy.from_pretrained(p).predict_action_chunk(make_observation(["reach"]))
        for p in (checkpoint, "me/cups")
    )
    assert torch.equal(a, b)


def test_nothing_of_this_machine_is_published(hub, checkpoint):
    assert publish(checkpoint) == 0
    for name, data in hub.files("me/cups").items():
        assert b"somebody" not in data and str(Path.home()).encode() not in data, name
    published = json.loads(hub.files("me/cups")["train_config.json"])
    assert "root" not in published["dataset"] and "output_dir" not in published and published["steps"] == 700
    (checkpoint / "train_config.json").write_bytes(hub.files("me/cups")["train_config.json"])
    assert TrainPipelineConfig.from_pretrained(str(checkpoint)).batch_size == 16


def test_what_was_learned_travels_apart_from_the_settings(hub, checkpoint, tmp_path):
    learned = {"event_transitions": {"": {"/ is a word": 3}}, "event_max_frames": {"/ is a word": 20}}
    (checkpoint / "learned.json").write_text(json.dumps({**learned, "output_dir": "/home/somebody/x"}))
    assert publish(checkpoint) == 0
    assert json.loads(hub.files("me/cups")["learned.json"]) == learned
    assert "/ is a word" in hub.files("me/cups")["README.md"].decode()
    assert pull(tmp_path / "pulled") == 0
    assert json.loads((tmp_path / "pulled" / "learned.json").read_text()) == learned


def test_the_card_of_a_newer_lerobot(checkpoint):
    """`publish_trained_model` asks a policy for its card with four values by place, and writes the other files itself."""
    policy = WallwmPolicy.from_pretrained(checkpoint)
    card = policy.generate_model_card("me/events", "wallwm", "mit", ["robotics"])
    card.save(checkpoint / "README.md")
    written = (checkpoint / "README.md").read_text()
    assert card.data.license == "mit" and card.data.datasets == ["me/events"]
    assert "The command was not recorded" in written and "Not measured" in written


def test_a_revision_is_pinned(hub, checkpoint, tmp_path):
    assert publish(checkpoint) == 0
    first, old = hub.repo("me/cups").branches["main"], weights(checkpoint)
    change(checkpoint)
    assert publish(checkpoint) == 0
    assert commits(hub) == 2
    assert pull(tmp_path / "old", f"--revision={first}") == 0
    assert main(["pull", "--repo_id=me/cups", f"--out={tmp_path / 'new'}"]) == 0
    assert weights(tmp_path / "old") == old and weights(tmp_path / "new") == weights(checkpoint)


def test_publishing_the_same_again_makes_no_commit_and_flags_choose_where(hub, checkpoint):
    assert publish(checkpoint, "--private=true") == publish(checkpoint, "--private=true") == 0
    assert commits(hub) == 1 and hub.repo("me/cups").private
    assert publish(checkpoint, "--branch=trial", name="me/tried") == 0
    assert "model.safetensors" not in hub.files("me/tried") and not hub.repo("me/tried").private
    assert "model.safetensors" in hub.files("me/tried", revision="trial")


def test_a_dry_run_talks_to_nobody(hub, checkpoint, tmp_path):
    assert publish(checkpoint, "--dry_run=true", f"--out={tmp_path / 'dry'}") == 0
    assert hub.requests == []
    assert (tmp_path / "dry" / "README.md").read_text().startswith("---\n")
    for name in EXACT:
        assert (tmp_path / "dry" / name).read_bytes() == (checkpoint / name).read_bytes()


def test_an_interrupted_upload_resumes(hub, checkpoint, capsys):
    """Large files that arrived are not sent again, and nothing is visible before all have."""
    hub.faults = [Fault("POST", "/commit/", times=99)]
    assert publish(checkpoint) == 2
    error = capsys.readouterr().err
    assert "Fix: run the same command again" in error and "Traceback" not in error
    assert commits(hub) == 0
    sent, received = dict(hub.puts), hub.received
    assert len(sent) == 2  # the weights, and the statistics, which both processors have
    hub.faults = []
    assert publish(checkpoint) == 0
    assert dict(hub.puts) == sent
    assert hub.received - received < received / 2
    assert commits(hub) == 1


def test_an_upload_cut_in_the_middle_of_a_file_resumes(hub, checkpoint):
    hub.faults = [Fault("PUT", "/lfs/", times=30, after=len(weights(checkpoint)) // 2)]
    assert publish(checkpoint) == 2
    assert commits(hub) == 0 and not hub.puts  # the server keeps no half a file
    hub.faults = []
    assert publish(checkpoint) == 0
    assert hub.files("me/cups")["model.safetensors"] == weights(checkpoint)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "/repos/create", status=500, times=2),
        Fault("POST", "/validate-yaml", status=503, times=2),
        Fault("POST", "/preupload/", status=500, times=3),
        Fault("POST", "/objects/batch", status=502, times=3),
        Fault("PUT", "/lfs/", status=500, times=4),
        Fault("PUT", "/lfs/", times=3, after=1000),
        Fault("POST", "/commit/", status=500, times=3),
        Fault("POST", "/commit/", times=2),
        Fault("POST", "/commit/", status=0, late=True),
        Fault("POST", "/commit/", status=500, late=True),
    ],
    ids=lambda fault: f"{fault.method} {fault.path} {fault.status or 'cut'}{' late' if fault.late else ''}",
)
def test_a_hub_that_fails_for_a_moment(hub, checkpoint, fault):
    """A commit whose answer is lost (`late`) is not made twice."""
    hub.faults = [Fault(**vars(fault))]
    assert publish(checkpoint) == 0
    assert hub.faults[0].times == 0
    assert commits(hub) == 1


def test_two_publishers_at_once_do_not_mix(hub, checkpoint, tmp_path, monkeypatch):
    """Somebody commits between our look at the repository and our commit: ours is made anew on top of theirs."""
    assert publish(checkpoint) == 0
    theirs = {**hub.files("me/cups"), "model.safetensors": b"theirs", "README.md": b"theirs"}
    (checkpoint / "train_config.json").unlink()  # ours differs from the first in the card alone
    preupload, calls = HfApi.preupload_lfs_files, []

    def meanwhile(self, *args, **kwargs):
        preupload(self, *args, **kwargs)
        calls.append(1)
        if len(calls) == 1:
            hub.add_commit("me/cups", theirs)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", meanwhile)
    assert publish(checkpoint) == 0
    assert len(calls) == 2
    assert hub.files("me/cups")["model.safetensors"] == weights(checkpoint)


def test_a_hub_that_stays_down(hub, checkpoint, capsys):
    hub.faults = [Fault("POST", "/preupload/", status=500, times=999)]
    assert publish(checkpoint) == 2
    assert "the Hub answered 500. Fix: wait a while" in capsys.readouterr().err
    assert commits(hub) == 0


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("hf_wrongwrongwrongwrongwrong0000", "does not know your token"),
        (READ_TOKEN, "may not do this (403)"),
        (None, "there is no token"),
    ],
)
def test_a_wrong_or_missing_token(hub, checkpoint, monkeypatch, capsys, token, says):
    monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
    assert publish(checkpoint) == 2
    error = capsys.readouterr().err
    assert says in error and "Fix: " in error and "hf_wrong" not in error
    assert hub.repos == {}


def test_what_an_earlier_publication_left_is_removed_in_the_same_commit(hub, checkpoint):
    assert publish(checkpoint) == 0
    kept = {**hub.files("me/cups"), "figures/old.png": b"x", "notes.md": b"mine"}
    hub.add_commit("me/cups", kept)
    change(checkpoint)
    assert publish(checkpoint) == 0
    assert commits(hub) == 3
    assert "notes.md" in hub.files("me/cups")
    assert "figures/old.png" not in hub.files("me/cups")


def test_a_truncated_download_is_resumed_or_refused(hub, checkpoint, capsys, tmp_path):
    assert publish(checkpoint) == 0
    hub.faults = [Fault("GET", "/cdn/", after=5000, lie=True, times=99)]
    assert pull(tmp_path / "a") == 2
    assert "should be of size" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    hub.faults = [Fault("GET", "/cdn/", after=5000)]  # cut off once: resumed
    assert pull(tmp_path / "a") == 0 and weights(tmp_path / "a") == weights(checkpoint)


def test_a_shortened_file_whose_size_is_lied_about_is_refused(hub, checkpoint, capsys, tmp_path):
    assert publish(checkpoint) == 0
    lie = {"after": 5000, "lie": True, "times": 99}
    hub.faults = [Fault("GET", "/cdn/", **lie), Fault("HEAD", "/resolve/.*model.safetensors", **lie)]
    hub.faults.append(Fault("GET", "/resolve/.*model.safetensors", **lie))
    with pytest.raises(ValueError, match="header|sum"):
        WallwmPolicy.from_pretrained("me/cups")
    assert pull(tmp_path / "a") == 2
    assert "is damaged" in capsys.readouterr().err
    hub.faults = []
    assert pull(tmp_path / "a", "--force_download=true") == 0


def test_the_cache_serves_without_a_connection(hub, checkpoint, monkeypatch):
    assert publish(checkpoint) == 0
    online = WallwmPolicy.from_pretrained("me/cups").state_dict()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = WallwmPolicy.from_pretrained("me/cups").state_dict()
    assert all(torch.equal(online[key], offline[key]) for key in online)


@pytest.fixture
def wan(hub, make_policy, whole_checkpoint, tmp_path, monkeypatch):
    """A tiny Wan on the stand-in, the same in a local folder, and a maker of checkpoints on it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "text_cache"))
    folder = save_backbone(tmp_path / "backbone", WAN)
    files = {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    commit = hub.add_commit(BACKBONES[WAN].repo_id, files)

    def make(**fields) -> Path:
        policy = make_policy(shake=False, backbone=WAN, stage="action", **fields)
        for name, parameter in policy.named_parameters():
            if parameter.requires_grad:
                assert not name.startswith("model.video.")
                parameter.data.add_(0.1)
        checkpoint = Path(shutil.copytree(whole_checkpoint, tmp_path / "checkpoint"))
        (checkpoint / "train_config.json").unlink()
        policy.save_pretrained(checkpoint)
        return checkpoint

    return folder, commit, make


@pytest.mark.parametrize("local", [False, True])
def test_frozen_wan_parts_are_referenced(hub, wan, local):
    folder, commit, make = wan
    checkpoint = make(backbone_path=str(folder)) if local else make()
    assert publish(checkpoint, name="me/wan") == 0
    files = hub.files("me/wan")
    config = json.loads(files["config.json"])
    assert config["backbone_path"] is None and config["backbone_revision"] == commit
    names = " ".join(load(files["model.safetensors"]))
    assert names and not any(part in names for part in ("codec", "text_encoder", "vae"))
    card = files["README.md"].decode()
    assert BACKBONES[WAN].repo_id in card and "Apache-2.0, as published by Wan-AI" in card
    frozen = sum(f.stat().st_size for part in ("vae", "text_encoder") for f in (folder / part).rglob("*"))
    assert sum(map(len, files.values())) < len(weights(checkpoint)) + 40_000 < frozen + 10**7
    ours, theirs = (WallwmPolicy.from_pretrained(name).state_dict() for name in (checkpoint, "me/wan"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_backbone_that_others_do_not_have_is_refused(hub, wan, capsys):
    folder, _, make = wan
    checkpoint = make(backbone_path=str(folder))
    weights = next((folder / "vae").glob("*.safetensors"))
    save_file({key: value + 1 for key, value in load_file(weights).items()}, weights)
    assert publish(checkpoint, name="me/wan") == 2
    assert "where readers of the checkpoint would look" in capsys.readouterr().err
    assert ("model", "me/wan") not in hub.repos


def test_base_weights_keep_their_own_card(checkpoint, tmp_path):
    """Our card tells of an arm, data and a run, which they do not have."""
    config = json.loads((checkpoint / "config.json").read_text())
    card = "---\nlibrary_name: lerobot\n---\n# An eye\n"
    (checkpoint / "README.md").write_text(card)
    flags = ("--dry_run=true", f"--out={tmp_path / 'staged'}", "--overwrite=true")
    assert publish(checkpoint, *flags) == 0
    assert (tmp_path / "staged" / "README.md").read_text() != card
    (checkpoint / "config.json").write_text(
        json.dumps(config | {"input_features": {}, "output_features": {}})
    )
    assert publish(checkpoint, *flags) == 0
    assert (tmp_path / "staged" / "README.md").read_text() == card
