# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Language columns, self-contained copies, many source files: through LeRobot's own reader."""

import shutil
from collections import namedtuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, strategies as st
from lerobot.configs.recipe import MessageTurn, TrainingRecipe
from lerobot.datasets.language_render import nth_next, render_sample
from tables import change_info, load, rows_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.episodes import SourceDataset, split_episodes
from lerobot_wallwm.processors.source.events import Event, read_events
from lerobot_wallwm.processors.view import disk_space
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.processors.view.disk_space import needed_space
from lerobot_wallwm.processors.view.language_rows import PERSISTENT, LanguageRows, plan_text
from lerobot_wallwm.processors.view.verify import verify_view


@pytest.fixture(scope="module")
def events(tiny_view):
    return read_events(tiny_view / "events.parquet")


def test_lerobots_renderer_reads_the_events_of_a_demonstration(source, events, tmp_path):
    own = [e for e in events if e.episode_index in (1, 4)]
    EventCarver("task", language="action")(source, own, tmp_path / "view")
    dataset = load(tmp_path / "view")
    asked = MessageTurn(role="user", content="${task}", stream="high_level")
    answer = MessageTurn(role="assistant", content="${subtask} / ${plan}", stream="low_level", target=True)
    recipe = TrainingRecipe(messages=[asked, answer])
    at = 0
    for episode in (1, 4):
        group = [e for e in own if e.episode_index == episode and e.level == "action"]
        for position, event in enumerate(group):
            for frame in (event.start, event.end - 1):
                item = dataset[at + frame]
                rows = {"persistent": item[PERSISTENT], "events": item["language_events"]}
                when = {"t": float(item["timestamp"]), "sample_idx": 0, "task": item["task"]}
                rendered = render_sample(recipe=recipe, **rows, **when)
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
    table = pq.read_table(rows_file(tmp_path / "view")).to_pylist()
    actions = [e for e in own if e.level == "action"]
    for frame, row in enumerate(table):  # the view holds the whole episode in order
        holds = [r for r in row[PERSISTENT] if r["style"] == "subtask" and r["timestamp"] <= row["timestamp"]]
        assert holds[-1]["content"] == next(e.caption for e in actions if e.start <= frame < e.end)
    assert verify_view(source.root, tmp_path / "view", frames=False).ok
    assert len(load(tmp_path / "view")) == len(table)


@given(st.lists(st.integers(0, 39), min_size=1, unique=True).map(sorted), st.integers(1, 38))
def test_pruned_rows_keep_the_right_subtask(frames, cut):
    def span(start, end, caption):
        return Event(start, 0, "action", start, end, "move", caption, caption, -1, 1.0, "pause")

    rows = LanguageRows([span(cut, 40, "b"), span(0, cut, "a")], "action")
    frames = np.array(frames)
    clock = ((frames - frames[0]) / 10).astype(np.float32)
    made = [r for r in rows.rows(0, frames, clock) if r["style"] == "subtask"]
    for frame, timestamp in zip(frames, clock, strict=True):
        holds = [r["content"] for r in made if r["timestamp"] <= timestamp]
        assert holds[-1] == ("a" if frame < cut else "b")


def test_the_sources_own_language_rows(damaged, events, tmp_path):
    """`language_events` has no clock and stays; `language_persistent` is replaced, or left out."""
    table = pq.read_table(rows_file(damaged))
    word = {"role": "user", "style": "interjection", "camera": None, "tool_calls": None}
    said = [[] if i % 7 else [{**word, "content": f"no, frame {i}"}] for i in range(len(table))]
    old = [[{"role": "assistant", "content": "old", "style": "subtask", "timestamp": 0.0}]] * len(table)
    table = table.append_column("language_events", pa.array(said))
    pq.write_table(table.append_column(PERSISTENT, pa.array(old)), rows_file(damaged))
    feature = {"dtype": "language", "shape": [1], "names": None}
    language = dict.fromkeys(("language_events", PERSISTENT), feature)
    change_info(damaged, lambda info: info["features"].update(language))
    annotated = SourceDataset.open(damaged)
    EventCarver(language="action")(annotated, events, tmp_path / "with")
    dataset = load(tmp_path / "with")
    assert dataset[7]["language_events"][0]["content"] == "no, frame 7"
    assert dataset[8]["language_events"] == []
    assert "old" not in {row["content"] for row in dataset[0][PERSISTENT]}
    EventCarver()(annotated, events, tmp_path / "without")
    assert not {PERSISTENT, "language_events"} & set(load(tmp_path / "without")[0])
    for name in ("with", "without"):
        assert verify_view(damaged, tmp_path / name, frames=False).ok


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
    rows = needed_space(source, tmp_path, splits)[0]
    videos = sum(p.stat().st_size for p in (tiny_dataset / "videos").rglob("*.mp4"))
    free = rows + videos  # train and held-out together copy them twice
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, free))
    flags = ["prepare", f"--dataset.root={tiny_dataset}", "--heldout=0.2", "--quiet=true"]
    assert main([*flags, f"--out.root={tmp_path / 'copied'}", "--copy_videos=true"]) == 2
    err = capsys.readouterr().err
    assert "free space" in err and "--copy_videos=true copies" in err
    assert "Fix: " in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    # On another disk a link is impossible, so the same question is asked.
    monkeypatch.setattr(disk_space, "can_link", lambda *_: False)
    assert main([*flags, f"--out.root={tmp_path / 'across'}"]) == 2
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, free))
    assert main([*flags, f"--out.root={tmp_path / 'linked'}"]) == 0


def test_prepare_writes_other_kinds_of_views(capsys, tiny_dataset, tmp_path):
    flags = ["prepare", f"--dataset.root={tiny_dataset}", "--quiet=true", f"--out.root={tmp_path / 'out'}"]
    assert main([*flags, "--language=chapter"]) == 2
    assert "--language" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
    assert main([*flags, "--language=action", "--copy_videos=true", "--level=subtask"]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir() if p.is_dir()} == {"train", "heldout"}
    assert PERSISTENT in load(tmp_path / "out" / "heldout")[0]
