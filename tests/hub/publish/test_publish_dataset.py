# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A carved view on the Hub: whole, self-contained, found by LeRobot by its version tag."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_repos import Fault, rewrite
from lerobot.datasets import dataset_metadata, lerobot_dataset
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from lerobot_wallwm.cli import main


@pytest.fixture
def view(tiny_view, tmp_path) -> Path:
    """A copy to do things to."""
    return Path(shutil.copytree(tiny_view / "train", tmp_path / "view"))


def publish(root: Path, *flags: str) -> int:
    return main(["publish", f"--dataset.root={root}", "--dataset.repo_id=me/cups_events", *flags])


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """LeRobot's own cache, empty."""
    for module in (dataset_metadata, lerobot_dataset):
        monkeypatch.setattr(module, "HF_LEROBOT_HUB_CACHE", tmp_path / "lerobot_cache")


def test_a_view_loads_by_its_name_with_the_same_frames(hub, tiny_view, downloads):
    root = tiny_view / "train"
    assert publish(root) == 0
    repo = hub.repo("me/cups_events", "dataset")
    assert len(repo.commits) == 2 and repo.tags == {"v3.0": repo.branches["main"]}
    here, there = LeRobotDataset("test/tiny_events", root=root), LeRobotDataset("me/cups_events")
    assert len(here) == len(there) and Path(there.root) != root
    for index in (0, len(here) // 2, len(here) - 1):
        a, b = here[index], there[index]
        assert a.keys() == b.keys() and a["task"] == b["task"]
        assert all(torch.equal(a[key], b[key]) for key in a if isinstance(a[key], torch.Tensor))
    files = hub.files("me/cups_events", "dataset")
    assert files["README.md"] == (root / "README.md").read_bytes() and "meta/wallwm.json" in files
    assert not [name for name, data in files.items() if str(tiny_view).encode() in data]


def test_a_view_of_links_is_published_as_files(hub, view, downloads, tmp_path):
    """Where hard links are impossible, a view may have been moved with symbolic ones."""
    videos = view / "videos"
    for file in list(videos.rglob("*.mp4")):
        target = tmp_path / "elsewhere" / file.relative_to(videos)
        target.parent.mkdir(parents=True)
        shutil.move(file, target)
        file.symlink_to(target)
    assert publish(view) == 0
    shutil.rmtree(tmp_path / "elsewhere")
    assert LeRobotDataset("me/cups_events")[0]["task"]


def test_publishing_again_moves_the_tag(hub, view):
    assert publish(view) == publish(view) == 0
    repo = hub.repo("me/cups_events", "dataset")
    assert len(repo.commits) == 2
    (view / "README.md").write_text((view / "README.md").read_text() + "\nMore.\n")
    (view / "data" / "extra").mkdir()
    assert publish(view) == 0
    assert len(repo.commits) == 3 and repo.tags == {"v3.0": repo.branches["main"]}


def test_what_was_interrupted_is_finished_by_the_next_run(hub, view, capsys):
    """Files that arrived are not sent again; a tag that failed is set."""
    hub.faults = [Fault("POST", "/commit/", times=99)]
    assert publish(view) == 2
    sent, repo = dict(hub.puts), hub.repo("me/cups_events", "dataset")
    assert sent and len(repo.commits) == 1
    hub.faults = [Fault("POST", "/tag/", status=500, times=99)]
    capsys.readouterr()
    assert publish(view) == 2 and dict(hub.puts) == sent
    assert "tagging me/cups_events" in capsys.readouterr().err
    hub.faults = []
    assert publish(view) == 0
    assert len(repo.commits) == 2 and repo.tags == {"v3.0": repo.branches["main"]}


def _absolute_videos(view: Path) -> None:
    info = view / "meta" / "info.json"
    rewrite(info, video_path=f"{view}/{json.loads(info.read_text())['video_path']}")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_absolute_videos, "video_path leads to another place"),
        (lambda v: next(v.rglob("*.mp4")).unlink(), "Fix: carve the view again"),
        (lambda v: next((v / "data").rglob("*.parquet")).write_bytes(b"PAR1"), "LeRobot cannot load it"),
        (lambda v: (v / "README.md").unlink(), "there is no card"),
        (lambda v: (v / "data" / "x.pkl").write_bytes(b""), "may hold a pickle"),
        (lambda v: (v / "videos" / "gone.mp4").symlink_to("/nowhere"), "leads to no file"),
    ],
)
def test_a_view_that_is_not_whole_is_refused(hub, view, capsys, spoil, says):
    spoil(view)
    assert publish(view) == 2
    error = capsys.readouterr().err
    assert says in error and "Fix: " in error
    assert hub.repos == {}


def test_flags_that_name_nothing(hub, capsys):
    nowhere = ["--policy.path=/nowhere", "--repo_id=me/x"]
    for args in ([], ["--repo_id=me/x"], ["--dataset.repo_id=me/x"], nowhere):
        assert main(["publish", *args]) == 2
    for name in ("x", "a/b/c", "../x", "me/--x", "https://h/x"):
        assert main(["publish", "--policy.path=.", f"--repo_id={name}"]) == 2
        assert main(["pull", name]) == 2
    assert hub.requests == [] and capsys.readouterr().err.count("Fix: ") == 14
