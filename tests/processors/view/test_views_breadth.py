# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Language columns, keyframe views, self-contained copies, many source files: through LeRobot's own reader."""

import os
import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import read_events
from lerobot_wallwm.processors.source.split import split_episodes
from lerobot_wallwm.processors.view import disk_space
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.processors.view.disk_space import estimate_space
from lerobot_wallwm.processors.view.keyframe_view import keyframe_rows
from lerobot_wallwm.processors.view.language_rows import PERSISTENT, LanguageRows, plan_text
from lerobot_wallwm.processors.view.verify import verify_view
from lerobot_wallwm.storage.errors import DataError


@pytest.fixture(scope="module")
def source(tiny_dataset):
    return SourceDataset.open(tiny_dataset)


@pytest.fixture(scope="module")
def events(tiny_view):
    return read_events(tiny_view / "events.parquet")


def load(root, **kwargs):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("test/view", root=root, **kwargs)


# -- language --------------------------------------------------------------------------------------------------------
def test_lerobots_renderer_reads_the_events_of_a_demonstration(source, events, tmp_path):
    from lerobot.configs.recipe import MessageTurn, TrainingRecipe
    from lerobot.datasets.language_render import nth_next, render_sample

    own = [e for e in events if e.episode_index in (1, 4)]
    EventCarver("task", language="action")(source, own, tmp_path / "view")
    dataset = load(tmp_path / "view")
    recipe = TrainingRecipe(
        messages=[
            MessageTurn(role="user", content="${task}", stream="high_level"),
            MessageTurn(role="assistant", content="${subtask} / ${plan}", stream="low_level", target=True),
        ]
    )
    at = 0
    for episode in (1, 4):
        group = [e for e in own if e.episode_index == episode and e.level == "action"]
        for position, event in enumerate(group):
            for frame in (event.start, event.end - 1):
                item = dataset[at + frame]
                rendered = render_sample(
                    recipe=recipe,
                    persistent=item[PERSISTENT],
                    events=item["language_events"],
                    t=float(item["timestamp"]),
                    sample_idx=0,
                    task=item["task"],
                )
                plan = plan_text(e.caption for e in group[position:])
                texts = [message["content"] for message in rendered["messages"]]
                assert texts == [source.tasks[0], f"{event.caption} / {plan}"]
            following = nth_next(float(item["timestamp"]), persistent=item[PERSISTENT], style="subtask")
            later = [e.caption for e in group[position + 1 :]][:1]
            assert ([following["content"]] if following else []) == later
        at += group[-1].end
    assert verify_view(source.root, tmp_path / "view", frames=False).ok


@pytest.mark.parametrize("level", ["subtask", "action", "segment"])
def test_every_level_carries_the_action_that_holds(source, events, tmp_path, level):
    own = [e for e in events if e.episode_index == 2]
    EventCarver(level, language="action")(source, own, tmp_path / "view")
    table = pq.read_table(next((tmp_path / "view" / "data").glob("*/*.parquet"))).to_pylist()
    actions = [e for e in own if e.level == "action"]
    for frame, row in enumerate(table):  # the view holds the whole episode in order
        holds = [r for r in row[PERSISTENT] if r["style"] == "subtask" and r["timestamp"] <= row["timestamp"]]
        assert holds[-1]["content"] == next(e.caption for e in actions if e.start <= frame < e.end)
    assert verify_view(source.root, tmp_path / "view", frames=False).ok
    assert len(load(tmp_path / "view")) == len(table)


@given(st.lists(st.integers(0, 39), min_size=1, unique=True).map(sorted), st.integers(1, 38))
def test_pruned_rows_keep_the_right_subtask(frames, cut):
    from lerobot_wallwm.processors.source.events import Event

    def span(start, end, caption):
        return Event(start, 0, "action", start, end, "move", caption, caption, -1, 1.0, "pause")

    rows = LanguageRows([span(cut, 40, "b"), span(0, cut, "a")], "action")
    frames = np.array(frames)
    clock = ((frames - frames[0]) / 10).astype(np.float32)
    made = [r for r in rows.rows(0, frames, clock) if r["style"] == "subtask"]
    for frame, timestamp in zip(frames, clock, strict=True):
        holds = [r["content"] for r in made if r["timestamp"] <= timestamp]
        assert holds[-1] == ("a" if frame < cut else "b")


def test_the_sources_own_language_rows(source, events, tmp_path):
    """`language_events` has no clock and stays; `language_persistent` is replaced, or left out."""
    import json

    import pyarrow as pa

    root = shutil.copytree(source.root, tmp_path / "source")
    path = next((root / "data").glob("*/*.parquet"))
    table = pq.read_table(path)
    said = [
        [
            {
                "role": "user",
                "content": f"no, frame {i}",
                "style": "interjection",
                "camera": None,
                "tool_calls": None,
            }
        ]
        if i % 7 == 0
        else []
        for i in range(len(table))
    ]
    old = [[{"role": "assistant", "content": "old", "style": "subtask", "timestamp": 0.0}]] * len(table)
    table = table.append_column("language_events", pa.array(said))
    pq.write_table(table.append_column(PERSISTENT, pa.array(old)), path)
    info = json.loads((root / "meta" / "info.json").read_text())
    for name in ("language_events", PERSISTENT):
        info["features"][name] = {"dtype": "language", "shape": [1], "names": None}
    (root / "meta" / "info.json").write_text(json.dumps(info))
    annotated = SourceDataset.open(root)
    EventCarver(language="action")(annotated, events, tmp_path / "with")
    dataset = load(tmp_path / "with")
    assert (
        dataset[7]["language_events"][0]["content"] == "no, frame 7" and dataset[8]["language_events"] == []
    )
    assert "old" not in {row["content"] for row in dataset[0][PERSISTENT]}
    EventCarver()(annotated, events, tmp_path / "without")
    assert not {PERSISTENT, "language_events"} & set(load(tmp_path / "without")[0])
    for name in ("with", "without"):
        assert verify_view(root, tmp_path / name, frames=False).ok


# -- keyframes -------------------------------------------------------------------------------------------------------
@given(st.integers(1, 500), st.integers(1, 20))
def test_keyframes_reach_the_end_at_the_least_stride(length, future):
    frames, late, stride = keyframe_rows(length, future)
    assert len(frames) == len(late) == future + 1
    assert frames[0] == 0 and not late[0] and (np.diff(frames[~late]) == stride).all()
    assert future * stride >= length - 1 and (stride == 1 or future * (stride - 1) < length - 1)
    assert (frames[late] == length - 1).all() and (np.diff(late.astype(int)) >= 0).all()


def test_a_keyframe_view_is_drawn_once_an_event_with_its_own_stride(source, events, tmp_path):
    from lerobot.datasets.sampler import EpisodeAwareSampler

    future = 4
    own = [e for e in events if e.level == "action" and e.episode_index in (0, 3)]
    copies = {own[1].event_id: 3, own[2].event_id: 0}
    EventCarver(keyframes=future)(source, own, tmp_path / "view", copies=copies)
    written = [e for e in own for _ in range(copies.get(e.event_id, 1))]
    deltas = {key: [k / source.fps for k in range(future + 1)] for key in source.camera_keys}
    dataset = load(tmp_path / "view", delta_timestamps=deltas)
    original = load(source.root)
    starts = original.meta.episodes["dataset_from_index"]
    episodes = dataset.meta.episodes
    sampler = EpisodeAwareSampler(
        episodes["dataset_from_index"], episodes["dataset_to_index"], drop_n_last_frames=future, shuffle=False
    )
    anchors = list(sampler)
    assert anchors == [i * (future + 1) for i in range(len(written))]
    longest = max(e.length for e in own)
    for anchor, event in zip(anchors, written, strict=True):
        item = dataset[anchor]
        frames, late, stride = keyframe_rows(event.length, future)
        assert episodes[anchor // (future + 1)]["wallwm/stride"] == stride
        assert item["task"] == event.caption and item["action"].shape == (longest, 6)
        truth = source.read(event.episode_index).action[event.start : event.end].astype(np.float32)
        np.testing.assert_array_equal(item["action"][: event.length].numpy(), truth)
        assert item["wallwm_action_is_pad"].tolist() == [k >= event.length for k in range(longest)]
        assert item["wallwm_video_is_pad"].tolist() == late.tolist()
        first = starts[event.episode_index] + event.start
        for key in source.camera_keys:
            assert not item[f"{key}_is_pad"].any()
            for k in {0, 1, future}:
                assert torch.equal(item[key][k], original[int(first + frames[k])][key])
    stats = dataset.meta.stats["action"]
    truth = np.concatenate([source.read(e.episode_index).action[e.start : e.end] for e in written])
    np.testing.assert_allclose(stats["mean"], truth.mean(0), rtol=1e-5, atol=1e-5)
    assert stats["count"] == [len(truth)]
    with pytest.raises(DataError, match="keyframe"):
        verify_view(source.root, tmp_path / "view")


# -- files -----------------------------------------------------------------------------------------------------------
def test_a_copied_view_shares_no_file_and_outlives_its_source(tiny_dataset, events, tmp_path):
    root = shutil.copytree(tiny_dataset, tmp_path / "source")
    EventCarver(copy_videos=True)(SourceDataset.open(root), events[:40], tmp_path / "view")
    files = [p for p in (tmp_path / "view").rglob("*") if p.is_file()]
    assert all(p.stat().st_nlink == 1 and not p.is_symlink() for p in files)
    names = {p.relative_to(tmp_path / "view").parts[0] for p in files}
    assert names == {"README.md", "data", "meta", "videos"}
    before = load(tmp_path / "view")[5]["observation.images.wrist"]
    shutil.rmtree(root)
    moved = (tmp_path / "view").rename(tmp_path / "elsewhere")
    assert torch.equal(load(moved)[5]["observation.images.wrist"], before)


Usage = namedtuple("Usage", "total used free")


def test_too_full_a_disk_is_refused_before_the_first_byte(capsys, tiny_dataset, tmp_path, monkeypatch):
    """With room for the rows but not for copies of the videos, links still go through."""
    source = SourceDataset.open(tiny_dataset)
    splits = split_episodes(source.episode_indices, 0.2, 0)
    rows = estimate_space(source, tmp_path, splits).rows
    videos = sum(p.stat().st_size for p in (tiny_dataset / "videos").rglob("*.mp4"))
    free = rows + videos  # train and held-out together copy them twice
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: Usage(10**9, 0, free))
    flags = ["prepare", f"--dataset.root={tiny_dataset}", "--heldout=0.2", "--quiet=true"]
    assert main([*flags, f"--out.root={tmp_path / 'copied'}", "--copy_videos=true"]) == 2
    err = capsys.readouterr().err
    assert (
        "free space" in err and "--copy_videos=true copies" in err and "Fix: " in err and err.count("\n") == 1
    )
    assert list(tmp_path.iterdir()) == []
    # On another disk a link is impossible, so the same question is asked.
    monkeypatch.setattr(disk_space, "can_link", lambda *_: False)
    assert main([*flags, f"--out.root={tmp_path / 'across'}"]) == 2
    monkeypatch.undo()
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: Usage(10**9, 0, free))
    assert main([*flags, f"--out.root={tmp_path / 'linked'}"]) == 0


def test_a_disk_that_fills_up_half_way_leaves_nothing(source, events, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("lerobot_wallwm.processors.view.writer.shutil.copyfile", full)
    with pytest.raises(DataError, match="free space.*ran out"):
        EventCarver(copy_videos=True)(source, events, tmp_path / "view")
    assert list(tmp_path.iterdir()) == []


def test_prepare_writes_all_kinds_of_views(tiny_dataset, tmp_path):
    flags = ["--language=action", "--keyframes=3", "--copy_videos=true", "--level=subtask", "--quiet=true"]
    out = tmp_path / "out"
    assert main(["prepare", f"--dataset.root={tiny_dataset}", f"--out.root={out}", *flags]) == 0
    assert {p.name for p in out.iterdir() if p.is_dir()} == {
        f"{split}{kind}" for split in ("train", "heldout") for kind in ("", "_keyframes")
    }
    plain, keyed = load(out / "heldout"), load(out / "heldout_keyframes")
    assert PERSISTENT in plain[0] and keyed.num_episodes == plain.num_episodes
    assert len(keyed) == 4 * keyed.num_episodes


@pytest.mark.parametrize("flag", ["--language=chapter", "--keyframes=-1"])
def test_view_flags_out_of_range(capsys, tiny_dataset, tmp_path, flag):
    assert main(["prepare", f"--dataset.root={tiny_dataset}", f"--out.root={tmp_path / 'out'}", flag]) == 2
    assert flag.split("=")[0] in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_carver_refuses_what_does_not_go_together(source, events, tmp_path):
    with pytest.raises(ValueError, match="keyframe view"):
        EventCarver(keyframes=4, language="action")
    with pytest.raises(ValueError, match="--keyframes"):
        EventCarver(keyframes=-1)
    bad = [replace(e, end=e.end + 99) for e in events if e.level == "action"][:1]
    with pytest.raises(DataError, match="ends at"):
        EventCarver(keyframes=4)(source, bad, tmp_path / "view")
    assert list(tmp_path.iterdir()) == []
