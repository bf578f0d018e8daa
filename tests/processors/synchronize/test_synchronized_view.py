# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare --synchronize=true`: rows out of step are mended in the view, doubtful episodes are left out of it."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import (
    change_column,
    change_episodes,
    change_info,
    contents,
    episodes_file,
    load,
    read_verdicts,
    synchronized,
)

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.episodes import ACTION, STATE, SourceDataset
from lerobot_wallwm.processors.source.pictures import pictures
from lerobot_wallwm.processors.synchronize.dataset import camera_motion, synchronize_dataset
from lerobot_wallwm.processors.synchronize.source import CameraFrames, SynchronizedSource, write_verdicts
from lerobot_wallwm.processors.synchronize.synchronizer import TemporalSynchronizer
from lerobot_wallwm.processors.view.verify import verify_view
from lerobot_wallwm.storage.errors import DataError

LAGS = {0: 2, 1: 2, 2: -1, 3: 2, 4: 2, 5: 2}


def rewritten(source: Path, target: Path, change) -> Path:
    """A copy of a dataset whose rows of each episode are `change(column, values, episode)`."""
    shutil.copytree(source, target)
    for name in (STATE, ACTION):
        change_episodes(target, name, lambda values, e, name=name: change(name, values, e))
    return target


def prepare(source: Path, out: Path, *flags: str) -> int:
    places = [f"--dataset.root={source}", f"--out.root={out}", "--quiet=true"]
    return main(["prepare", *places, "--synchronize=true", *flags])


def ahead(values: np.ndarray, rows: int) -> np.ndarray:
    """Row t gets what belongs to t + rows; the ends repeat."""
    return values[np.clip(np.arange(len(values)) + rows, 0, len(values) - 1)]


@pytest.fixture(scope="module")
def late(tiny_dataset, tmp_path_factory) -> Path:
    """The tiny dataset, its rows ahead of its videos by the frames of `LAGS`."""
    target = tmp_path_factory.mktemp("late") / "dataset"
    return rewritten(tiny_dataset, target, lambda name, values, e: ahead(values, LAGS[e]))


@pytest.fixture(scope="module")
def mended(late, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("mended") / "events"
    assert prepare(late, out, "--heldout=0.3") == 0
    return out


def views(out: Path) -> list[SourceDataset]:
    return [SourceDataset.open(out / split) for split in ("train", "heldout")]


def test_the_view_holds_what_was_recorded_at_the_time_of_the_frame(mended, late, tiny_dataset):
    verdicts = {v.episode_index: v for v in read_verdicts(mended / "sync.parquet")}
    good = {e for e, v in verdicts.items() if not v.quarantined}
    assert good == {0, 1, 3, 4, 5} and verdicts[2].reason.startswith("contradicts_rig")
    assert all(verdicts[e].lag == LAGS[e] for e in good)
    truth, seen, rows = SourceDataset.open(tiny_dataset), set(), 0
    for view in views(mended):
        assert verify_view(late, view.root, quiet=True).ok
        assert not verify_view(tiny_dataset, view.root, frames=False).ok
        for e in range(len(view)):
            meta = view.meta(e)
            origin = meta["wallwm/source_episode"]
            verdict = verdicts[origin]
            assert (meta["wallwm/lag"], meta["wallwm/first_frame"]) == (LAGS[origin], verdict.first_frame)
            frames = verdict.first_frame + np.arange(meta["wallwm/start"], meta["wallwm/end"])
            own, recorded = view.rows(meta), truth.read(origin)
            for name, values in ((STATE, recorded.state), (ACTION, recorded.action)):
                if name == ACTION and verdict.action_lag != verdict.lag:
                    continue
                found = np.array(own[name].to_pylist(), dtype=np.float32)
                np.testing.assert_array_equal(found, values[frames].astype(np.float32))
            seen.add(origin)
            rows += len(own)
    assert seen == good
    assert rows == sum(verdicts[e].end_frame - verdicts[e].first_frame for e in good)


def test_lerobot_shows_the_frame_that_belongs_to_the_row(mended, late):
    view, source = load(mended / "train"), load(late)
    for e in range(0, view.num_episodes, 5):
        meta = view.meta.episodes[e]
        origin = source.meta.episodes[meta["wallwm/source_episode"]]["dataset_from_index"]
        frame = origin + meta["wallwm/first_frame"] + meta["wallwm/start"]
        ours, theirs = view[meta["dataset_from_index"]], source[frame]
        for key in view.meta.camera_keys:
            assert (ours[key] == theirs[key]).all()
        assert (ours[STATE] == source[frame - meta["wallwm/lag"]][STATE]).all()
        assert (ours[ACTION] == source[frame - meta["wallwm/action_lag"]][ACTION]).all()


def test_the_summary_says_what_was_done(mended):
    summary = json.loads((mended / "summary.json").read_text())["synchronization"]
    assert summary["episodes"] == 6
    assert summary["synchronized"] + len(summary["quarantined"]) == 6
    assert sum(summary["lags"].values()) == summary["synchronized"]
    assert all(":" in row["reason"] for row in summary["quarantined"])


@pytest.mark.parametrize("name", ["wallwm/lag", "wallwm/action_lag", "wallwm/first_frame"])
def test_verify_notices_a_wrong_lag_and_a_wrong_first_frame(mended, late, name):
    path = episodes_file(mended / "train")
    good = path.read_bytes()
    change_column(
        path, name, lambda values: values.__setitem__(len(values) // 2, values[len(values) // 2] + 1)
    )
    report = verify_view(late, mended / "train", frames=False)
    path.write_bytes(good)
    assert report.row_mismatches > 0
    assert verify_view(late, mended / "train", frames=False).ok


def test_the_source_stays_and_a_second_run_writes_the_same(mended, late, tmp_path):
    before = contents(late)
    assert prepare(late, tmp_path / "again", "--heldout=0.3") == 0
    assert contents(late) == before
    assert contents(tmp_path / "again") == contents(mended)


def test_a_quarantined_episode_is_left_out_and_listed(tiny_dataset, tmp_path):
    rng = np.random.default_rng(0)

    def shuffled(name, values, episode):
        return values if episode != 3 else values[::-1] + rng.normal(0, 5, values.shape)

    root = rewritten(tiny_dataset, tmp_path / "shuffled", shuffled)
    # Without the flag the cleaner leaves it out first.
    assert prepare(root, tmp_path / "out", "--clean.skip=[discontinuity]") == 0
    verdicts = {v.episode_index: v for v in read_verdicts(tmp_path / "out" / "sync.parquet")}
    assert verdicts[3].quarantined and verdicts[3].reason
    metas = (view.meta(e) for view in views(tmp_path / "out") for e in range(len(view)))
    origins = {meta["wallwm/source_episode"] for meta in metas}
    assert 3 not in origins and origins == {e for e, v in verdicts.items() if not v.quarantined}


def test_a_dataset_in_which_nothing_is_in_step_is_one_clear_error(tiny_dataset, tmp_path, capsys):
    noise = lambda name, values, e: np.random.default_rng(e).normal(size=values.shape)  # noqa: E731
    assert prepare(rewritten(tiny_dataset, tmp_path / "noise", noise), tmp_path / "out") == 2
    # The cleaner may have left out one of the six already.
    assert re.search(r"all [56] episodes are quarantined, e\.g\. episode 0", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_an_unreadable_video_costs_its_episodes_and_not_the_run(damaged):
    video = next(damaged.glob("videos/*/*/*.mp4"))
    os.truncate(video, video.stat().st_size // 3)
    verdicts, summary = synchronize_dataset(SourceDataset.open(damaged), workers=2)
    assert len(verdicts) == 6 and summary["synchronized"] < 6
    assert any(v.reason.startswith("unreadable_video") and video.name in v.reason for v in verdicts)


def test_a_cut_video_and_a_nan_leave_the_rest_of_the_dataset(tiny_dataset, tmp_path):
    def with_nan(name, values, episode):
        return np.where(episode == 1, np.nan, values)

    root = rewritten(tiny_dataset, tmp_path / "cut", with_nan)
    video, fps = next(root.glob("videos/*/*/*.mp4")), SourceDataset.open(root).fps
    remuxed = tmp_path / "short.mp4"
    keep = SourceDataset.open(root).meta(5)[f"videos/{video.parts[-3]}/from_timestamp"]
    with av.open(str(video)) as source, av.open(str(remuxed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.pts is not None and float(packet.pts * packet.time_base) < keep - 0.5 / fps:
                packet.stream = stream
                target.mux(packet)
    remuxed.replace(video)
    verdicts, summary = synchronize_dataset(SourceDataset.open(root))
    assert "unreadable_rows" in verdicts[1].reason and "nan" in verdicts[1].reason
    assert "unreadable_video" in verdicts[5].reason and video.name in verdicts[5].reason
    assert not any("unreadable" in verdicts[e].reason for e in (0, 2, 3, 4))
    assert summary["episodes"] == 6 and len(verdicts) == 6


def test_a_synchronised_view_without_its_quasi_static_frames_verifies(late, tmp_path):
    assert prepare(late, tmp_path / "out", "--prune_quasi_static=0.4") == 0
    view = SourceDataset.open(tmp_path / "out" / "train")
    assert sum(view.episodes.column("wallwm/pruned").to_pylist()) > 5
    assert any(view.episodes.column("wallwm/first_frame").to_pylist())
    assert verify_view(late, view.root, quiet=True).ok


def test_neither_workers_nor_plain_calls_change_the_verdicts(late):
    source = SourceDataset.open(late)
    one, many = (synchronize_dataset(source, workers=n)[0] for n in (1, 3))
    assert rounded(one) == rounded(many)  # as text, for NaN is not equal to itself
    recordings = [(source.read(p), camera_motion(source, p)) for p in range(len(source))]
    plain = TemporalSynchronizer()(recordings).verdicts
    assert rounded(plain) == rounded(one)


def rounded(verdicts) -> str:
    """Without the last digits, which the number of threads may change."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.4g}", repr(verdicts))


@pytest.fixture(scope="module")
def one_late(tiny_dataset, tmp_path_factory) -> Path:
    """The tiny dataset with a second camera, whose pictures are those of the first two frames earlier."""
    root = tmp_path_factory.mktemp("one_late") / "dataset"
    shutil.copytree(tiny_dataset, root)
    source = SourceDataset.open(root)
    camera, fps = source.camera_keys[0], source.fps
    second = f"{camera}_late"
    shutil.copytree(root / "videos" / camera, root / "videos" / second)
    change_info(root, lambda info: info["features"].update({second: info["features"][camera]}))
    statistics = json.loads((root / "meta" / "stats.json").read_text())
    (root / "meta" / "stats.json").write_text(json.dumps(statistics | {second: statistics[camera]}))
    path = episodes_file(root)
    table = pq.read_table(path)
    for name in [name for name in table.column_names if f"/{camera}/" in name]:
        values = table[name]
        if name.endswith("_timestamp"):
            values = pa.array(np.array(values) - 2 / fps, table.schema.field(name).type)
        table = table.append_column(name.replace(camera, second), values)
    pq.write_table(table, path)
    return root


def test_a_camera_that_is_late_alone_is_moved_alone(one_late, tmp_path):
    assert prepare(one_late, tmp_path / "out", "--heldout=0.3") == 0
    camera = SourceDataset.open(one_late).camera_keys[0]
    second = f"{camera}_late"
    verdicts = {v.episode_index: v for v in read_verdicts(tmp_path / "out" / "sync.parquet")}
    # The second video has no frame before the first episode's.
    assert {e for e, v in verdicts.items() if v.quarantined} == {0}
    assert verdicts[0].reason.startswith("unreadable_video")
    assert [(v.lag, v.late) for e, v in verdicts.items() if e] == [(0, (CameraFrames(second, 2),))] * 5
    for view in views(tmp_path / "out"):
        assert verify_view(one_late, view.root, quiet=True).ok
        shown = load(view.root)
        for row in range(0, len(shown), 17):
            assert (shown[row][camera] == shown[row][second]).all()


def test_sync_prints_one_page_and_changes_nothing(one_late, tmp_path, capsys):
    before = contents(one_late)
    assert main(["sync", str(one_late), f"--out={tmp_path / 'sync.parquet'}"]) == 0
    page = capsys.readouterr().out
    camera = SourceDataset.open(one_late).camera_keys[0]
    second = f"{camera}_late"
    assert re.search(rf"{re.escape(camera)} +in step \([+-]\d+ ms\), sure", page)
    assert re.search(rf"{re.escape(second)} +late by 2 frames \(\+\d+ ms\), (sure|likely)", page)
    assert "synchronised 5 of 6 episodes" in page and "quarantined: episode 0, unreadable_video" in page
    assert len(page.splitlines()) < 60 and contents(one_late) == before
    assert len(read_verdicts(tmp_path / "sync.parquet")) == 6


def test_verdicts_survive_the_file_and_those_of_another_dataset_are_refused(mended, late, tmp_path):
    verdicts = read_verdicts(mended / "sync.parquet")
    write_verdicts(verdicts, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (mended / "sync.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_verdicts(tmp_path / "cut.parquet")
    with pytest.raises(DataError, match="was synchronised with"):
        SynchronizedSource.of(SourceDataset.open(late), [replace(v, length=v.length + 1) for v in verdicts])


def test_a_synchronized_source_reads_like_any_other(mended, late):
    raw = SourceDataset.open(late)
    source = SynchronizedSource.of(raw, read_verdicts(mended / "sync.parquet"))
    for position in range(len(source)):
        episode, verdict = source.read(position), source.verdicts[source.meta(position)["episode_index"]]
        expected = synchronized(raw.read(raw.episode_indices.index(episode.index)), verdict)
        np.testing.assert_array_equal(episode.state, expected.state)
        np.testing.assert_array_equal(episode.action, expected.action)
        clock = source.rows(source.meta(position))["timestamp"].to_numpy()
        np.testing.assert_allclose(clock, np.arange(len(episode)) / source.fps, atol=1e-6)
    first = next(pictures(source, source.meta(0), source.camera_keys[0]))
    kept = source.episode_indices[0]
    frames = list(pictures(raw, raw.meta(raw.episode_indices.index(kept)), raw.camera_keys[0]))
    np.testing.assert_array_equal(first, frames[source.verdicts[kept].first_frame])
    assert len(frames) == source.verdicts[kept].length


def test_without_the_flag_nothing_is_shifted(tiny_view):
    assert not (tiny_view / "sync.parquet").exists()
    assert "wallwm/lag" not in SourceDataset.open(tiny_view / "train").episodes.column_names
