# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare` on datasets with bad episodes: they are left out with a reason, and the rest is what it always was."""

import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import record
from tables import read_cleaning

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.clean.cleaner import EpisodeCleaner
from lerobot_wallwm.processors.clean.dataset import DatasetCleaner
from lerobot_wallwm.processors.clean.rules import CleanConfig
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import read_events
from lerobot_wallwm.processors.view.verify import verify_view


def run(capsys, source: Path, out: Path, *flags: str) -> tuple[int, str, str]:
    flags = ("--quiet=true", "--heldout=0", *flags)
    code = main(["prepare", f"--dataset.root={source}", f"--out.root={out}", *flags])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def damaged(tiny_dataset, tmp_path):
    """A private copy of the tiny dataset to damage."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "source" / "dataset"))


@pytest.fixture(scope="module")
def undamaged_events(tiny_dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("undamaged") / "out"
    assert main(["prepare", f"--dataset.root={tiny_dataset}", f"--out.root={out}", "--quiet=true"]) == 0
    return read_events(out / "events.parquet")


def left_out(
    capsys, source: Path, out: Path, events, episode: int, rule: str, *evidence: str, flags=()
) -> Path:
    """Checks that just one episode is left out, for that reason, and that all others give the events they always gave."""
    code, printed, _ = run(capsys, source, out, *flags)
    assert code == 0
    summary = json.loads((out / "summary.json").read_text())
    assert [row["episode_index"] for row in summary["cleaning"]["excluded"]] == [episode]
    line = next(text for text in printed.splitlines() if f"episode {episode}: {rule}: " in text)
    for text in evidence:
        assert text in line
    assert str(source) not in (out / "summary.json").read_text()
    kept = {e for e in range(6) if e != episode}
    assert {v.episode_index for v in read_cleaning(out / "cleaning.parquet")} == kept | {episode}
    assert summary["episodes"] == 5 and summary["views"]["train"]["episodes"] == 5

    def plain(group):
        return [(e.episode_index, e.level, e.start, e.end, e.caption) for e in group]

    assert plain(read_events(out / "events.parquet")) == plain([e for e in events if e.episode_index in kept])
    return out / "train"


def edit_rows(root: Path, change):
    """Rewrites the rows as pandas columns; arrays stay arrays."""
    path = next((root / "data").glob("*/*.parquet"))
    table = pq.read_table(path)
    frame = table.to_pandas()
    frame = change(frame)
    pq.write_table(pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False), path)


def edit_episodes(root: Path, change):
    path = next((root / "meta" / "episodes").glob("*/*.parquet"))
    frame = pq.read_table(path).to_pandas()
    change(frame)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)


def rows_of(frame, episode):
    return frame.index[frame["episode_index"] == episode]


def test_not_a_number(capsys, damaged, tmp_path, undamaged_events):
    def spoil(frame):
        values = frame["action"].tolist()
        values[rows_of(frame, 2)[7]][3] = np.nan
        frame["action"] = values
        return frame

    edit_rows(damaged, spoil)
    view = left_out(
        capsys, damaged, tmp_path / "out", undamaged_events, 2, "finite", "action[3] is nan", "frame 7"
    )
    report = verify_view(damaged, view, quiet=True)
    assert report.ok and report.frames == 2 * report.rows > 200


def test_clock_that_stands(capsys, damaged, tmp_path, undamaged_events):
    def spoil(frame):
        frame.loc[rows_of(frame, 4)[9], "timestamp"] = frame.loc[rows_of(frame, 4)[8], "timestamp"]
        return frame

    edit_rows(damaged, spoil)
    left_out(capsys, damaged, tmp_path / "out", undamaged_events, 4, "timestamps", "repeated at frame 9")


def test_other_frame_rate(capsys, damaged, tmp_path, undamaged_events):
    def spoil(frame):
        frame.loc[rows_of(frame, 1), "timestamp"] /= 2
        return frame

    edit_rows(damaged, spoil)
    left_out(capsys, damaged, tmp_path / "out", undamaged_events, 1, "frame_rate", "20.00 Hz", "says 10")


def test_rows_that_are_gone(capsys, damaged, tmp_path, undamaged_events):
    edit_rows(damaged, lambda frame: frame.drop(rows_of(frame, 3)[5:9]))
    left_out(capsys, damaged, tmp_path / "out", undamaged_events, 3, "rows", "rows, but meta/episodes says")


def test_all_rows_of_an_episode_gone_and_a_length_of_nothing(capsys, damaged, tmp_path, undamaged_events):
    edit_rows(damaged, lambda frame: frame.drop(rows_of(frame, 3)))
    edit_episodes(
        damaged, lambda frame: frame.__setitem__("length", frame["length"].where(frame.index != 3, 0))
    )
    left_out(capsys, damaged, tmp_path / "out", undamaged_events, 3, "rows", "holds 0 rows")


def test_one_frame(capsys, damaged, tmp_path, undamaged_events):
    edit_rows(damaged, lambda frame: frame.drop(rows_of(frame, 0)[1:]))
    edit_episodes(
        damaged, lambda frame: frame.__setitem__("length", frame["length"].where(frame.index != 0, 1))
    )
    left_out(capsys, damaged, tmp_path / "out", undamaged_events, 0, "too_short", "has 1 frames")


def test_unknown_task(capsys, damaged, tmp_path, undamaged_events):
    def spoil(frame):
        frame.loc[rows_of(frame, 5), "task_index"] = 7
        return frame

    edit_rows(damaged, spoil)
    left_out(capsys, damaged, tmp_path / "out", undamaged_events, 5, "task", "task_index is 7")


def test_a_camera_that_one_episode_lacks(capsys, damaged, tmp_path, undamaged_events):
    def forget(frame):
        for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp"):
            column = f"videos/observation.images.wrist/{name}"
            # As pandas has it: NaN for what is missing, and floats for the rest.
            frame[column] = frame[column].astype(float).where(frame.index != 2)

    edit_episodes(damaged, forget)
    left_out(
        capsys, damaged, tmp_path / "out", undamaged_events, 2, "camera_streams", "wrist has no video in this"
    )


def whole_front(path: Path) -> None:
    """Moves an mp4's index to its front: cut, it still opens and reports its full length."""
    moved = path.with_suffix(".moved.mp4")
    with av.open(str(path)) as old, av.open(str(moved), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    moved.replace(path)


def test_a_cut_video_costs_only_the_episodes_behind_the_cut(capsys, damaged, tmp_path):
    path = sorted((damaged / "videos").rglob("*.mp4"))[0]
    whole_front(path)
    os.truncate(path, int(path.stat().st_size * 0.6))
    code, printed, _ = run(capsys, damaged, tmp_path / "out")
    assert code == 0
    verdicts = read_cleaning(tmp_path / "out" / "cleaning.parquet")
    states = [verdict.verdict for verdict in verdicts]
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


def test_nothing_is_found_in_what_lerobot_wrote(tiny_dataset):
    for decode in ("ends", "all"):
        verdicts = DatasetCleaner(EpisodeCleaner(CleanConfig(decode=decode)))(
            SourceDataset.open(tiny_dataset)
        )
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
    path = next((source / "data").glob("*/*.parquet"))
    table = pq.read_table(path)
    images = table["observation.images.top"].to_pylist()
    images[table["episode_index"].to_pylist().index(1) + 3]["bytes"] = b""
    index = table.schema.get_field_index("observation.images.top")
    field = table.schema.field(index)
    pq.write_table(table.set_column(index, field, pa.array(images, field.type)), path)
    assert run(capsys, source, tmp_path / "out")[0] == 0
    verdicts = read_cleaning(tmp_path / "out" / "cleaning.parquet")
    assert [v.verdict for v in verdicts] == ["ok", "exclude", "ok"]


def test_no_episode_left_is_an_error(capsys, damaged, tmp_path):
    def spoil(frame):
        frame["timestamp"] = 0.0
        return frame

    edit_rows(damaged, spoil)
    code, _, err = run(capsys, damaged, tmp_path / "place" / "out")
    assert code == 2 and "no episode is usable; the first of 6: " in err and err.count("\n") == 1
    assert list((tmp_path / "place").iterdir()) == []


def test_skipping_a_rule_keeps_its_episodes(capsys, damaged, tmp_path):
    def spoil(frame):
        frame.loc[rows_of(frame, 1), "timestamp"] /= 2
        return frame

    edit_rows(damaged, spoil)
    assert run(capsys, damaged, tmp_path / "out", "--clean.skip=[frame_rate,gaps]")[0] == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["episodes"] == 6


def test_subset_keeps_rows_and_order(tiny_dataset):
    source = SourceDataset.open(tiny_dataset)
    part = source.subset([4, 1])
    assert part.episode_indices == [1, 4] and len(source) == 6
    assert (part.read(1).action == source.read(4).action).all()
