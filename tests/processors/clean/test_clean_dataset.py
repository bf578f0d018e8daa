# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare` on datasets with bad episodes: they are left out with a reason, and the rest is what it always was."""

import json
import os
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import record
from tables import change_column, cut_short, episodes_file, read_cleaning, rows_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.clean.cleaner import DatasetCleaner, EpisodeCleaner
from lerobot_wallwm.processors.clean.rules import CleanConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import read_events
from lerobot_wallwm.processors.view.verify import verify_view


def run(capsys, source: Path, out: Path, *flags: str) -> tuple[int, str, str]:
    flags = ("--quiet=true", "--heldout=0", *flags)
    code = main(["prepare", f"--dataset.root={source}", f"--out.root={out}", *flags])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def undamaged_events(tiny_dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("undamaged") / "out"
    assert main(["prepare", f"--dataset.root={tiny_dataset}", f"--out.root={out}", "--quiet=true"]) == 0
    return read_events(out / "events.parquet")


def verdicts_of(out: Path) -> list[str]:
    return [verdict.verdict for verdict in read_cleaning(out / "cleaning.parquet")]


def edit_rows(change):
    """Damage to a dataset's rows, as a pandas frame; ``change`` gets the frame and the labels of an episode's rows."""

    def spoil(root: Path, episode: int) -> None:
        table = pq.read_table(rows_file(root))
        frame = table.to_pandas()
        changed = change(frame, frame.index[frame["episode_index"] == episode])
        frame = frame if changed is None else changed
        pq.write_table(
            pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False), rows_file(root)
        )

    return spoil


def shortened_to(length: int):
    """Leaves so many rows, and says so in the table of episodes."""

    def spoil(root: Path, episode: int) -> None:
        edit_rows(lambda frame, rows: frame.drop(rows[length:]))(root, episode)
        change_column(episodes_file(root), "length", lambda values: values.__setitem__(episode, length))

    return spoil


@edit_rows
def no_number(frame, rows):
    values = frame["action"].tolist()
    values[rows[7]][3] = np.nan
    frame["action"] = values


@edit_rows
def clock_stands(frame, rows):
    frame.loc[rows[9], "timestamp"] = frame.loc[rows[8], "timestamp"]


@edit_rows
def other_rate(frame, rows):
    frame.loc[rows, "timestamp"] /= 2


@edit_rows
def unknown_task(frame, rows):
    frame.loc[rows, "task_index"] = 7


def without_a_camera(root: Path, episode: int) -> None:
    frame = pq.read_table(episodes_file(root)).to_pandas()
    for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp"):
        column = f"videos/observation.images.wrist/{name}"
        # As pandas has it: NaN for what is missing, and floats for the rest.
        frame[column] = frame[column].astype(float).where(frame.index != episode)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), episodes_file(root))


@pytest.mark.parametrize(
    ("spoil", "episode", "rule", "evidence"),
    [
        (no_number, 2, "finite", ["action[3] is nan", "frame 7"]),
        (clock_stands, 4, "timestamps", ["repeated at frame 9"]),
        (other_rate, 1, "frame_rate", ["20.00 Hz", "says 10"]),
        (edit_rows(lambda f, rows: f.drop(rows[5:9])), 3, "rows", ["rows, but meta/episodes says"]),
        (shortened_to(0), 3, "rows", ["holds 0 rows"]),
        (shortened_to(1), 0, "too_short", ["has 1 frames"]),
        (unknown_task, 5, "task", ["task_index is 7"]),
        (without_a_camera, 2, "camera_streams", ["wrist has no video in this"]),
    ],
)
def test_a_bad_episode_is_left_out_for_that_reason_and_the_rest_gives_what_it_always_gave(
    capsys, damaged, tmp_path, undamaged_events, spoil, episode, rule, evidence
):
    spoil(damaged, episode)
    out = tmp_path / "out"
    code, printed, _ = run(capsys, damaged, out)
    assert code == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [row["episode_index"] for row in summary["cleaning"]["excluded"]] == [episode]
    line = next(text for text in printed.splitlines() if f"episode {episode}: {rule}: " in text)
    assert all(text in line for text in evidence)
    assert str(damaged) not in (out / "summary.json").read_text()
    assert {v.episode_index for v in read_cleaning(out / "cleaning.parquet")} == set(range(6))
    assert summary["episodes"] == 5 and summary["views"]["train"]["episodes"] == 5

    def plain(group):
        return [
            (e.episode_index, e.level, e.start, e.end, e.caption) for e in group if e.episode_index != episode
        ]

    events = read_events(out / "events.parquet")
    assert plain(events) == plain(undamaged_events) and len(plain(events)) == len(events)
    if spoil is no_number:
        report = verify_view(damaged, out / "train", quiet=True)
        assert report.ok and report.frames == 2 * report.rows > 200


def test_a_cut_video_costs_only_the_episodes_behind_the_cut(capsys, damaged, tmp_path):
    path = sorted((damaged / "videos").rglob("*.mp4"))[0]
    cut_short(path, 0.6)
    code, printed, _ = run(capsys, damaged, tmp_path / "out")
    assert code == 0
    verdicts = read_cleaning(tmp_path / "out" / "cleaning.parquet")
    states = verdicts_of(tmp_path / "out")
    first_bad = states.index("exclude")
    assert 1 <= first_bad <= 4 and states == ["ok"] * first_bad + ["exclude"] * (6 - first_bad)
    assert all(f.rule in ("video", "video_frames") for v in verdicts for f in v.of("exclude"))
    assert path.name in printed
    report = verify_view(damaged, tmp_path / "out" / "train", quiet=True)
    assert report.ok and report.frames > 0


def test_a_video_of_half_the_frames(damaged):
    """A camera that recorded at half the rate: its frames are there, but not one for each row."""
    path = sorted((damaged / "videos").rglob("*.mp4"))[0]
    thin = path.with_suffix(".thin.mp4")
    with av.open(str(path)) as old, av.open(str(thin), "w") as new:
        stream = new.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(old.decode(video=0)):
            if number % 2 == 0:
                plain = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
                new.mux(stream.encode(plain))
        new.mux(stream.encode())
    thin.replace(path)
    verdicts = DatasetCleaner(EpisodeCleaner())(SourceDataset.open(damaged))
    for verdict in verdicts:
        assert verdict.verdict == "exclude"
        assert {f.rule for f in verdict.of("exclude")} <= {"video", "video_frames"}
    assert any("frames for" in f.evidence for f in verdicts[0].findings)


def test_damage_inside_a_video_is_found_when_all_is_decoded(damaged):
    path = sorted((damaged / "videos").rglob("*.mp4"))[0]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    source = SourceDataset.open(damaged)
    bad = DatasetCleaner(EpisodeCleaner(CleanConfig(decode="all")))(source)
    assert 1 <= sum(v.verdict == "exclude" for v in bad) <= 2
    assert {f.rule for v in bad for f in v.of("exclude")} == {"video"}


@pytest.mark.parametrize("decode", ["ends", "all"])
def test_nothing_is_found_in_what_lerobot_wrote(tiny_dataset, decode):
    verdicts = DatasetCleaner(EpisodeCleaner(CleanConfig(decode=decode)))(SourceDataset.open(tiny_dataset))
    assert [v.verdict for v in verdicts] == ["ok"] * 6


def test_a_missing_video_file_of_several(capsys, tmp_path):
    source = record(tmp_path / "source", video=True, video_files_size_in_mb=0.01, data_files_size_in_mb=0.01)
    sorted((source / "videos").rglob("*.mp4"))[1].unlink()
    assert run(capsys, source, tmp_path / "out")[0] == 0
    verdicts = read_cleaning(tmp_path / "out" / "cleaning.parquet")
    assert [v.verdict for v in verdicts] == ["ok", "exclude", "ok"]
    assert "file-001.mp4 is missing" in verdicts[1].of("exclude")[0].evidence
    cut = sorted((source / "data").rglob("*.parquet"))[2]
    os.truncate(cut, 1000)
    assert run(capsys, source, tmp_path / "again")[0] == 0
    verdicts = read_cleaning(tmp_path / "again" / "cleaning.parquet")
    assert [v.verdict for v in verdicts] == ["ok", "exclude", "exclude"]
    assert "file-002.parquet" in verdicts[2].of("exclude")[0].evidence


def test_empty_images(capsys, tmp_path):
    source = record(tmp_path / "source", video=False)
    first = pq.read_table(rows_file(source))["episode_index"].to_pylist().index(1)
    change_column(rows_file(source), "observation.images.top", lambda v: v[first + 3].update(bytes=b""))
    assert run(capsys, source, tmp_path / "out")[0] == 0
    assert verdicts_of(tmp_path / "out") == ["ok", "exclude", "ok"]


def test_no_episode_left_is_an_error(capsys, damaged, tmp_path):
    change_column(rows_file(damaged), "timestamp", lambda values: [0.0] * len(values))
    code, _, err = run(capsys, damaged, tmp_path / "place" / "out")
    assert code == 2 and "no episode is usable; the first of 6: " in err and err.count("\n") == 1
    assert list((tmp_path / "place").iterdir()) == []


def test_skipping_a_rule_keeps_its_episodes(capsys, damaged, tmp_path):
    other_rate(damaged, 1)
    assert run(capsys, damaged, tmp_path / "out", "--clean.skip=[frame_rate,gaps]")[0] == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["episodes"] == 6


def test_subset_keeps_rows_and_order(tiny_dataset):
    source = SourceDataset.open(tiny_dataset)
    part = source.subset([4, 1])
    assert part.episode_indices == [1, 4] and len(source) == 6
    assert (part.read(1).action == source.read(4).action).all()
