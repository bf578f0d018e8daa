# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare`: what it writes, and every bad input with its one clear error."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.events import read_events


def run(capsys, source: Path, out: Path, *flags: str) -> tuple[int, str, str]:
    code = main(["prepare", f"--dataset.root={source}", f"--out.root={out}", "--quiet=true", *flags])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# At the first bad episode; without it prepare leaves the episode out and goes on (test_clean_dataset.py).
STOP = ("--clean.on_bad=error",)


@pytest.fixture
def damaged(tiny_dataset, tmp_path):
    """A private copy of the tiny dataset to damage."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "source" / "dataset"))


def refuse(capsys, tmp_path, source, *needed: str, flags: tuple[str, ...] = ()):
    out = tmp_path / "outputs" / "events"
    code, _, err = run(capsys, source, out, *flags)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and "Fix: " in err
    for text in needed:
        assert text in err
    assert not (tmp_path / "outputs").exists() or list((tmp_path / "outputs").iterdir()) == []


def edit_info(root: Path, change):
    path = root / "meta" / "info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def edit_column(root: Path, key: str, change):
    path = next((root / "data").glob("*/*.parquet"))
    table = pq.read_table(path)
    values = np.array(table[key].to_pylist(), dtype=np.float32)
    change(values, np.array(table["episode_index"].to_pylist()))
    index = table.schema.get_field_index(key)
    field = table.schema.field(index)
    pq.write_table(table.set_column(index, field, pa.array(values.tolist(), field.type)), path)


def test_writes_views_events_and_summary(capsys, tiny_dataset, tmp_path):
    code, printed, _ = run(capsys, tiny_dataset, tmp_path / "out", "--heldout=0.34", "--seed=5")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "cleaning.parquet",
        "events.parquet",
        "heldout",
        "summary.json",
        "train",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    events = [e for e in read_events(tmp_path / "out" / "events.parquet") if e.level == "action"]
    assert (
        summary["events"]["action"]
        == len(events)
        == sum(view["events"] for view in summary["views"].values())
    )
    assert summary["views"]["heldout"]["episodes"] == 2 and summary["episodes"] == 6
    for word in ("grasp", "real time", "captions", "heldout"):
        assert word in printed
    sources = {}
    for split in ("train", "heldout"):
        table = pq.read_table(next((tmp_path / "out" / split / "meta" / "episodes").glob("*/*.parquet")))
        sources[split] = set(table["wallwm/source_episode"].to_pylist())
    assert not sources["train"] & sources["heldout"]
    assert sources["train"] | sources["heldout"] == set(range(6))


def test_same_input_gives_the_same_output(capsys, tiny_dataset, tmp_path):
    for name in ("a", "b"):
        assert run(capsys, tiny_dataset, tmp_path / name)[0] == 0
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file() and path.name != "summary.json":
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path


@pytest.mark.parametrize("level", ["task", "subtask", "segment"])
def test_other_levels(capsys, tiny_dataset, tmp_path, level):
    assert run(capsys, tiny_dataset, tmp_path / "out", f"--level={level}", "--heldout=0")[0] == 0
    events = [e for e in read_events(tmp_path / "out" / "events.parquet") if e.level == level]
    info = json.loads((tmp_path / "out" / "train" / "meta" / "info.json").read_text())
    assert info["total_episodes"] == len(events)
    assert not (tmp_path / "out" / "heldout").exists()


def test_no_dataset_at_all(capsys, tmp_path):
    refuse(capsys, tmp_path, tmp_path / "nowhere", "info.json", "--dataset.root")


def test_no_actions(capsys, tmp_path, damaged):
    edit_info(damaged, lambda info: info["features"].pop("action"))
    refuse(capsys, tmp_path, damaged, "info.json", "features.action", "no actions")


def test_no_cameras(capsys, tmp_path, damaged):
    def drop(info):
        info["features"] = {k: v for k, v in info["features"].items() if "images" not in k}

    edit_info(damaged, drop)
    refuse(capsys, tmp_path, damaged, "info.json", "observation.images", "no cameras")


def test_version_2_1_names_the_converter(capsys, tmp_path, damaged):
    edit_info(damaged, lambda info: info.update(codebase_version="v2.1"))
    refuse(
        capsys,
        tmp_path,
        damaged,
        "info.json",
        "codebase_version",
        "v2.1",
        "lerobot.scripts.convert_dataset_v21_to_v30",
    )


@pytest.mark.parametrize("key", ["action", "observation.state"])
def test_nan(capsys, tmp_path, damaged, key):
    def spoil(values, episodes):
        values[np.flatnonzero(episodes == 2)[7], 3] = np.nan

    edit_column(damaged, key, spoil)
    needed = (".parquet", f"{key}[3]", "nan", "episode 2, frame 7", "delete_episodes")
    refuse(capsys, tmp_path, damaged, *needed, flags=STOP)


def test_constant_state(capsys, tmp_path, damaged):
    def freeze(values, episodes):
        values[episodes == 1] = 12.5

    edit_column(damaged, "observation.state", freeze)
    refuse(capsys, tmp_path, damaged, ".parquet", "observation.state", "constant", "episode 1", flags=STOP)


def test_constant_dimension_is_a_warning(capsys, tmp_path, damaged):
    def freeze(values, episodes):
        values[:, 4] = 1.0

    edit_column(damaged, "action", freeze)
    code, printed, _ = run(capsys, damaged, tmp_path / "out")
    assert code == 0 and "warning: action[wrist_roll.pos] is constant" in printed


def test_truncated_parquet(capsys, tmp_path, damaged):
    path = next((damaged / "data").glob("*/*.parquet"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refuse(capsys, tmp_path, damaged, str(path), "truncated")


def test_missing_rows(capsys, tmp_path, damaged):
    path = next((damaged / "data").glob("*/*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 3), path)
    refuse(capsys, tmp_path, damaged, str(path), "episode_index 5", flags=STOP)


@pytest.mark.parametrize("faststart", [False, True])
def test_truncated_video(capsys, tmp_path, damaged, faststart):
    path = sorted((damaged / "videos").rglob("*.mp4"))[0]
    if faststart:
        # With its index at the front a cut mp4 opens and reports its full length.
        import av

        moved = path.with_suffix(".moved.mp4")
        with av.open(str(path)) as old, av.open(str(moved), "w", options={"movflags": "faststart"}) as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(old.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    new.mux(packet)
        moved.replace(path)
        assert run(capsys, damaged, tmp_path / "whole")[0] == 0
    os.truncate(path, int(path.stat().st_size * 0.7))
    refuse(capsys, tmp_path, damaged, str(path), "video", flags=STOP)


def test_missing_and_short_video(capsys, tmp_path, damaged):
    path = sorted((damaged / "videos").rglob("*.mp4"))[0]
    path.unlink()
    refuse(capsys, tmp_path, damaged, str(path), "missing")


def test_video_shorter_than_its_episodes(capsys, tmp_path, damaged):
    path = next((damaged / "meta" / "episodes").glob("*/*.parquet"))
    table = pq.read_table(path)
    name = next(n for n in table.column_names if n.endswith("/from_timestamp"))
    late = [v + 500 for v in table[name].to_pylist()]
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, pa.array(late)), path)
    refuse(capsys, tmp_path, damaged, ".mp4", "ends at")


def test_too_short_episode(capsys, tmp_path, damaged):
    flags = ("--segmenter.min_event_s=10",)
    refuse(
        capsys, tmp_path, damaged, ".parquet", "episode_index 0", "too short", "delete_episodes", flags=flags
    )


@pytest.mark.parametrize(
    "flag",
    [
        "--level=chapter",
        "--heldout=1.5",
        "--heldout=abc",
        "--segmenter.min_event_s=-1",
        "--segmenter.action_confidence=0.1",
        "--kinematics.gripper_open=sideways",
        "--clean.on_bad=shrug",
        "--clean.skip=[nan]",
        "--clean.jump_factor=-1",
    ],
)
def test_parameters_out_of_range(capsys, tmp_path, tiny_dataset, flag):
    code, _, err = run(capsys, tiny_dataset, tmp_path / "out", flag)
    assert (
        code == 2 and flag.split("=")[0].split(".")[-1].strip("-") in err and list(tmp_path.iterdir()) == []
    )


def test_output_inside_the_source(capsys, damaged):
    code, _, err = run(capsys, damaged, damaged / "events")
    assert code == 2 and "overlap" in err and not (damaged / "events").exists()


def test_existing_output_and_overwrite(capsys, tiny_dataset, tmp_path):
    out = tmp_path / "out"
    assert run(capsys, tiny_dataset, out)[0] == 0
    code, _, err = run(capsys, tiny_dataset, out)
    assert code == 2 and str(out) in err and "--overwrite=true" in err
    (out / "marker").touch()
    assert run(capsys, tiny_dataset, out, "--overwrite=true")[0] == 0
    assert not (out / "marker").exists() and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_overwrite_never_deletes_a_stranger(capsys, tiny_dataset, tmp_path):
    precious = tmp_path / "home" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    code, _, err = run(capsys, tiny_dataset, precious.parent, "--overwrite=true")
    assert code == 2 and "not an earlier output" in err and precious.read_text() == "years of work"


def test_failed_overwrite_keeps_the_old_output(capsys, damaged, tmp_path):
    out = tmp_path / "out"
    assert run(capsys, damaged, out)[0] == 0
    edit_info(damaged, lambda info: info["features"].pop("action"))
    assert run(capsys, damaged, out, "--overwrite=true")[0] == 2
    assert (out / "summary.json").is_file()


def test_killed_run_leaves_no_output_and_the_next_starts_clean(capsys, tiny_dataset, tmp_path):
    place = tmp_path / "outputs"
    command = [sys.executable, "-m", "lerobot_wallwm.cli", "prepare", f"--dataset.root={tiny_dataset}"]
    command += [f"--out.root={place / 'events'}", "--quiet=true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while (
        not list(place.glob(".events.partial-*")) and process.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (place / "events").exists()
    assert list(place.glob(".events.partial-*")), "the kill came too early to leave anything"
    assert run(capsys, tiny_dataset, place / "events")[0] == 0
    assert [p.name for p in place.iterdir()] == ["events"]


def test_two_runs_at_once_are_kept_apart(capsys, tiny_dataset, tmp_path):
    with filelock.FileLock(tmp_path / ".out.lock"):
        code, _, err = run(capsys, tiny_dataset, tmp_path / "out")
    assert code == 2 and "another process" in err


def test_help_and_unknown_command(capsys):
    assert main(["--help"]) == 0
    assert "prepare" in capsys.readouterr().out
    assert main(["carve"]) == 2
    assert "unknown command 'carve'" in capsys.readouterr().err


def test_verify_command(capsys, tiny_dataset, tiny_view):
    flags = [f"--source.root={tiny_dataset}", f"--view.root={tiny_view / 'heldout'}", "--quiet=true"]
    assert main(["verify", *flags]) == 0
    assert "camera frames" in capsys.readouterr().out
    assert main(["verify", f"--source.root={tiny_dataset}", f"--view.root={tiny_dataset}"]) == 2
    assert "not a carved view" in capsys.readouterr().err


def test_a_run_killed_between_its_two_renames_gets_its_old_output_back(capsys, tiny_dataset, tmp_path):
    out = tmp_path / "out"
    assert run(capsys, tiny_dataset, out)[0] == 0
    out.rename(tmp_path / ".out.partial-old-12345")  # where an overwrite has it for a moment
    (tmp_path / ".out.partial-12345").mkdir()
    code, _, err = run(capsys, tiny_dataset, out)
    assert code == 2 and "--overwrite=true" in err
    assert (out / "summary.json").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
