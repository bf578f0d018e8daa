# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A policy that is not ours trains on a carved view: LeRobot's ACT under the unmodified `lerobot-train`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_plugin import TRAIN, run
from tiny_arm import TINY_FLAGS

from lerobot_wallwm.language.view_events import view_rows
from lerobot_wallwm.policies.batches.dataset_facts import event_grammar
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import read_events
from lerobot_wallwm.processors.view.carver import EventCarver

ACT = [
    "--policy.type=act",
    "--policy.push_to_hub=false",
    "--policy.device=cpu",
    "--policy.pretrained_backbone_weights=null",
    "--policy.dim_model=32",
    "--policy.n_heads=2",
    "--policy.dim_feedforward=32",
    "--policy.n_encoder_layers=1",
    "--policy.n_vae_encoder_layers=1",
    "--policy.latent_dim=8",
    "--policy.chunk_size=8",
    "--policy.n_action_steps=8",
]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["action", "task"])
def test_act_trains_on_a_balanced_view_with_language(tiny_dataset, tiny_view, tmp_path, level):
    """Copies balance what is drawn; language columns are there and in nobody's way."""
    events = read_events(tiny_view / "events.parquet")
    own = [e for e in events if e.level == level]
    copies = {own[0].event_id: 3, own[1].event_id: 0}
    view = tmp_path / "view"
    result = EventCarver(level, language="action", copy_videos=True)(
        SourceDataset.open(tiny_dataset), events, view, copies=copies
    )
    assert result.episodes == len(own) + 1
    out = tmp_path / "run"
    printed = run(
        TRAIN,
        *ACT,
        "--dataset.repo_id=test/tiny_events",
        f"--dataset.root={view}",
        f"--output_dir={out}",
        "--steps=6",
        "--batch_size=4",
        "--num_workers=0",
        "--log_freq=2",
    )
    assert f"num_episodes={len(own) + 1}" in printed
    checkpoint = out / "checkpoints" / "last" / "pretrained_model"
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["type"] == "act"
    assert set(config["input_features"]) == {
        "observation.state",
        "observation.images.overhead",
        "observation.images.wrist",
    }
    weights = load_file(checkpoint / "model.safetensors")
    assert weights and all(torch.isfinite(value).all() for value in weights.values())


EDIT = "from lerobot.scripts.lerobot_edit_dataset import main; main()"
WALLWM = ["--policy.type=wallwm", "--policy.push_to_hub=false", "--policy.device=cpu", *TINY_FLAGS]
EDITS = {
    "delete": ["--operation.type=delete_episodes", "--operation.episode_indices=[1,5,6]"],
    "split": ["--operation.type=split", '--operation.splits={"a": [0,1,2,3,4,5,6,7,8,9], "b": [10,11,12]}'],
    "tasks": ["--operation.type=modify_tasks", "--operation.new_task=tidy up"],
    "stats": ["--operation.type=recompute_stats", "--operation.overwrite=true"],
    "encode": ["--operation.type=reencode_videos", "--operation.overwrite=true"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*EDITS, "merge"])
def test_act_and_wallwm_train_on_what_each_edit_leaves_of_a_view(tiny_view, tmp_path, name):
    view = Path(shutil.copytree(tiny_view / "train", tmp_path / "view"))
    where = [f"--new_root={tmp_path / 'edited'}", "--new_repo_id=test/edited"]
    if name == "merge":
        roots = json.dumps([str(view), str(tiny_view / "heldout")])
        what = ["--operation.type=merge", '--operation.repo_ids=["a/a","b/b"]', f"--operation.roots={roots}"]
    else:
        what = EDITS[name]
        # In place, where LeRobot allows it; it writes into its home where neither folder nor name is given.
        new = {"delete": where, "split": where[:1], "tasks": []}.get(
            name, [f"--new_root={view}", "--new_repo_id=test/view"]
        )
        where = ["--repo_id=test/view", f"--root={view}", *new]
    run(EDIT, *where, *what)
    edited = {
        "delete": tmp_path / "edited",
        "merge": tmp_path / "edited",
        "split": tmp_path / "edited" / "a",
    }.get(name, view)
    for kind, flags in (("act", ACT), ("wallwm", WALLWM)):
        out = tmp_path / kind
        data = ["--dataset.repo_id=test/edited", f"--dataset.root={edited}", f"--output_dir={out}"]
        run(TRAIN, *flags, *data, "--steps=2", "--batch_size=4", "--num_workers=0", "--log_freq=1")
    learned = json.loads((out / "checkpoints" / "last" / "pretrained_model" / "learned.json").read_text())
    transitions, _ = event_grammar(view_rows(edited))
    assert learned["event_transitions"] == transitions and transitions
    assert all(len(limit) == 6 for limit in learned["motion_limits"].values())
