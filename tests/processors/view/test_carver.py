# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The view: rows, frames and pads equal the source; the source stays as it is."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tables import annotated, change_column, contents, episodes_file, load, rows_file

from lerobot_wallwm.processors.source.episodes import SourceDataset, split_episodes
from lerobot_wallwm.processors.source.events import Event
from lerobot_wallwm.processors.view.carver import EventCarver
from lerobot_wallwm.processors.view.verify import verify_view
from lerobot_wallwm.storage.errors import DataError


def test_rows_frames_and_pads_equal_the_source_whose_bytes_stay(source, events, tmp_path):
    before = contents(source.root)
    result = EventCarver()(source, events, tmp_path / "view")
    report = verify_view(source.root, tmp_path / "view", quiet=True)
    assert report.ok, report
    assert report.rows == source.info["total_frames"] == result.frames
    assert report.frames == 2 * report.rows
    assert contents(source.root) == before
    assert [p.name for p in tmp_path.iterdir()] == ["view"]


def test_videos_are_hard_links_or_copies(source, events, tmp_path, monkeypatch):
    result = EventCarver()(source, events, tmp_path / "linked")
    videos = sorted(source.root.glob("videos/**/*.mp4"))
    assert result.videos_linked == len(videos) == 2
    for path in videos:
        assert path.samefile(tmp_path / "linked" / path.relative_to(source.root))

    def across_devices(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", across_devices)
    result = EventCarver()(source, events, tmp_path / "copied")
    assert (result.videos_linked, result.videos_copied) == (0, 2)
    for path in videos:
        copy = tmp_path / "copied" / path.relative_to(source.root)
        assert not path.samefile(copy) and path.read_bytes() == copy.read_bytes()


def test_metadata_of_each_event(source, events, tmp_path):
    EventCarver()(source, events, tmp_path / "view", sidecar={"split": "train"})
    dataset = load(tmp_path / "view")
    own = [e for e in events if e.level == "action"]
    assert dataset.num_episodes == len(own)
    ordinal = {}
    for i, event in enumerate(own):
        meta = dataset.meta.episodes[i]
        expected = ordinal[event.episode_index] = ordinal.get(event.episode_index, -1) + 1
        assert meta["tasks"] == [event.caption] and meta["length"] == event.length
        for key in ("event_id", "start", "end", "label", "template"):
            assert meta[f"wallwm/{key}"] == getattr(event, key)
        assert (meta["wallwm/source_episode"], meta["wallwm/ordinal"]) == (event.episode_index, expected)
        assert meta["wallwm/instruction"] == source.tasks[0] and meta["wallwm/copy"] == 0
    sidecar = json.loads((tmp_path / "view" / "meta" / "wallwm.json").read_text())
    assert sidecar["level"] == "action" and sidecar["split"] == "train" and sidecar["format_version"] == 1
    tasks = pq.read_table(tmp_path / "view" / "meta" / "tasks.parquet")
    assert tasks["task_index"].to_pylist() == list(range(len(tasks)))
    item = dataset[own[0].length]
    assert item["task"] == own[1].caption and item["frame_index"] == 0 and item["timestamp"] == 0


def test_statistics_are_those_of_the_rows(source, events, tmp_path):
    picked = [e for e in events if e.level == "action"][3:5]
    EventCarver()(source, picked, tmp_path / "view", copies={picked[0].event_id: 3})
    stats = json.loads((tmp_path / "view" / "meta" / "stats.json").read_text())
    table = pq.read_table(rows_file(tmp_path / "view"))
    action = np.array(table["action"].to_pylist())
    assert stats["action"]["count"] == [3 * picked[0].length + picked[1].length] == [len(action)]
    np.testing.assert_allclose(stats["action"]["mean"], action.mean(0), rtol=1e-6, atol=1e-6)
    q99 = np.quantile(action, 0.99, axis=0)
    np.testing.assert_allclose(stats["action"]["q99"], q99, rtol=1e-6, atol=1e-6)
    images = json.loads((source.root / "meta" / "stats.json").read_text())
    assert all(stats[key] == images[key] for key in source.camera_keys)
    assert set(stats["action"]) >= {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}


def test_copies_are_sampled_as_often_as_they_are_written(source, events, tmp_path):
    own = [e for e in events if e.level == "action"]
    copies = {own[0].event_id: 3, own[1].event_id: 0}
    EventCarver()(source, own[:4], tmp_path / "view", copies=copies)
    dataset = load(tmp_path / "view")
    ids = [dataset.meta.episodes[i]["wallwm/event_id"] for i in range(dataset.num_episodes)]
    assert ids == [own[0].event_id] * 3 + [own[2].event_id, own[3].event_id]
    assert [dataset.meta.episodes[i]["wallwm/copy"] for i in range(3)] == [0, 1, 2]
    assert verify_view(source.root, tmp_path / "view", quiet=True).ok


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tiling_carves_exactly(source, tmp_path_factory, data):
    root = tmp_path_factory.mktemp("tiling") / "view"
    tiling = []
    for position, episode in enumerate(source.episode_indices[:3]):
        length = source.meta(position)["length"]
        cuts = data.draw(st.lists(st.integers(1, length - 1), unique=True, max_size=6).map(sorted))
        edges = [0, *cuts, length]
        for start, end in zip(edges, edges[1:], strict=False):
            words = ("move", f"move {len(tiling) % 3}", "move")
            tiling.append(Event(len(tiling), episode, "action", start, end, *words, -1, 1.0, "pause"))
    EventCarver()(source, tiling, root)
    assert verify_view(source.root, root, frames=False).ok
    horizon = 7
    dataset = load(root, delta_timestamps={"action": [k / source.fps for k in range(horizon)]})
    at = 0
    for event in tiling:
        for frame in {0, event.length // 2, event.length - 1}:
            item = dataset[at + frame]
            pads = [frame + k >= event.length for k in range(horizon)]
            assert item["action_is_pad"].tolist() == pads
            truth = source.read(event.episode_index).action[event.start : event.end]
            expected = truth[np.minimum(frame + np.arange(horizon), event.length - 1)]
            np.testing.assert_array_equal(item["action"].numpy(), expected.astype(np.float32))
            assert item["task"] == event.caption
        at += event.length
    shutil.rmtree(root.parent)


def test_verify_notices_each_kind_of_damage(source, events, tmp_path):
    view = tmp_path / "view"
    EventCarver()(source, events, view)
    data, episodes = rows_file(view), episodes_file(view)
    good = {path: path.read_bytes() for path in (data, episodes)}

    def nudge(action):
        action[5][2] = np.nextafter(np.float32(action[5][2]), np.float32(1e9))

    change_column(data, "action", nudge)
    report = verify_view(source.root, view, frames=False)
    assert report.row_mismatches == 1 and not report.ok
    data.write_bytes(good[data])

    name, frame = f"videos/{source.video_keys[0]}/from_timestamp", 1 / source.fps
    change_column(episodes, name, lambda values: [v + frame for v in values[:-1]] + values[-1:])
    report = verify_view(source.root, view, quiet=True)
    assert report.frame_mismatches > 0 and report.row_mismatches == 0
    episodes.write_bytes(good[episodes])
    assert verify_view(source.root, view, frames=False).ok


def test_a_failure_half_way_leaves_nothing(source, events, tmp_path):
    own = [e for e in events if e.level == "action"]
    bad = [*own[:-1], replace(own[-1], end=own[-1].end + 50)]
    with pytest.raises(DataError, match="ends at"):
        EventCarver()(source, bad, tmp_path / "view")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "view").mkdir()
    with pytest.raises(FileExistsError, match="view"):
        EventCarver()(source, own, tmp_path / "view")


def test_split_is_by_source_episode_and_seeded():
    train, held = split_episodes(range(40), 0.1, 3)
    assert len(held) == 4 and sorted(train + held) == list(range(40))
    assert split_episodes(range(40), 0.1, 3) == (train, held) != split_episodes(range(40), 0.1, 4)
    assert split_episodes([5], 0.5, 0) == ([5], [])
    assert split_episodes(range(3), 0.01, 0)[1] != []
    assert split_episodes(range(3), 0, 0) == ([0, 1, 2], [])


def test_committed_so101_dataset_carves_exactly(tmp_path):
    source = SourceDataset.open(Path(__file__).parents[3] / "examples/so101_sim/data/so101_pick_place")
    table = annotated(source)
    EventCarver()(source, table, tmp_path / "view")
    assert verify_view(source.root, tmp_path / "view", frames=False).ok
    few = source.episode_indices[:2]
    EventCarver()(source, table, tmp_path / "few", episodes=few)
    report = verify_view(source.root, tmp_path / "few", quiet=True)
    assert report.ok and report.frames > 0
