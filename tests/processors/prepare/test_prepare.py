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
import pyarrow.parquet as pq
import pytest
from tables import change_column, change_episodes, change_info, contents, cut_short, episodes_file, rows_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.events import read_events


def run(capsys, source: Path, out: Path, *flags: str) -> tuple[int, str, str]:
    code = main(["prepare", f"--dataset.root={source}", f"--out.root={out}", "--quiet=true", *flags])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# At the first bad episode; without it prepare leaves the episode out and goes on (test_clean_dataset.py).
STOP = ("--clean.on_bad=error",)
DELETE = "delete_episodes"


def test_writes_views_events_and_summary(capsys, tiny_dataset, tmp_path):
    code, printed, _ = run(capsys, tiny_dataset, tmp_path / "out", "--heldout=0.34", "--seed=5")
    assert code == 0
    written = {"cleaning.parquet", "events.parquet", "heldout", "summary.json", "train"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == written
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    events = [e for e in read_events(tmp_path / "out" / "events.parquet") if e.level == "action"]
    carved = sum(view["events"] for view in summary["views"].values())
    assert summary["events"]["action"] == len(events) == carved
    assert summary["views"]["heldout"]["episodes"] == 2 and summary["episodes"] == 6
    for word in ("grasp", "real time", "captions", "heldout"):
        assert word in printed
    sources = {}
    for split in ("train", "heldout"):
        table = pq.read_table(episodes_file(tmp_path / "out" / split))
        sources[split] = set(table["wallwm/source_episode"].to_pylist())
    assert not sources["train"] & sources["heldout"]
    assert sources["train"] | sources["heldout"] == set(range(6))


def test_same_input_gives_the_same_output(capsys, tiny_dataset, tmp_path):
    for name in ("a", "b"):
        assert run(capsys, tiny_dataset, tmp_path / name)[0] == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("level", ["task", "subtask", "segment"])
def test_other_levels(capsys, tiny_dataset, tmp_path, level):
    assert run(capsys, tiny_dataset, tmp_path / "out", f"--level={level}", "--heldout=0")[0] == 0
    events = [e for e in read_events(tmp_path / "out" / "events.parquet") if e.level == level]
    info = json.loads((tmp_path / "out" / "train" / "meta" / "info.json").read_text())
    assert info["total_episodes"] == len(events)
    assert not (tmp_path / "out" / "heldout").exists()


def vectors(key: str, change):
    return lambda root: change_episodes(root, key, change)


def at(episode: int, change):
    """A change to the vectors of one episode."""
    return lambda values, e: change(values) if e == episode else values


def no_number(values: np.ndarray) -> np.ndarray:
    values[7, 3] = np.nan
    return values


def cut(path: Path, part: float) -> None:
    os.truncate(path, int(path.stat().st_size * part))


def fewer_rows(root: Path) -> None:
    table = pq.read_table(rows_file(root))
    pq.write_table(table.slice(0, len(table) - 3), rows_file(root))


def later_videos(root: Path) -> None:
    names = pq.read_schema(episodes_file(root)).names
    name = next(n for n in names if n.endswith("/from_timestamp"))
    change_column(episodes_file(root), name, lambda values: [v + 500 for v in values])


def without(word: str):
    """A dataset that has no feature of such a name."""

    def drop(info: dict) -> None:
        info["features"] = {k: v for k, v in info["features"].items() if not k.startswith(word)}

    return lambda root: change_info(root, drop)


def first_video(root: Path) -> Path:
    return sorted((root / "videos").rglob("*.mp4"))[0]


CONVERTER = "lerobot.scripts.convert_dataset_v21_to_v30"
FROZEN = at(1, lambda values: np.full_like(values, 12.5))


@pytest.mark.parametrize(
    ("spoil", "needed", "flags"),
    [
        (shutil.rmtree, ["info.json", "the folder that holds meta/"], ()),
        (without("action"), ["info.json", "features.action", "no actions"], ()),
        (without("observation.images"), ["info.json", "observation.images", "no cameras"], ()),
        (
            lambda root: change_info(root, lambda info: info.update(codebase_version="v2.1")),
            ["info.json", "codebase_version", "v2.1", CONVERTER],
            (),
        ),
        *(
            (
                vectors(key, at(2, no_number)),
                [".parquet", f"{key}[3]", "nan", "episode 2, frame 7", DELETE],
                STOP,
            )
            for key in ("action", "observation.state")
        ),
        (
            vectors("observation.state", FROZEN),
            [".parquet", "observation.state", "constant", "episode 1"],
            STOP,
        ),
        (lambda root: cut(rows_file(root), 0.5), ["{rows}", "truncated"], ()),
        (fewer_rows, ["{rows}", "episode_index 5"], STOP),
        (lambda root: cut(first_video(root), 0.7), ["{video}", "video"], STOP),
        (lambda root: cut_short(first_video(root), 0.7), ["{video}", "video"], STOP),
        (lambda root: first_video(root).unlink(), ["{video}", "missing"], ()),
        (later_videos, [".mp4", "ends at"], ()),
        (
            lambda root: None,
            [".parquet", "episode_index 0", "too short", "record the dataset again"],
            ("--segmenter.min_event_s=10",),
        ),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_nothing(capsys, tmp_path, damaged, spoil, needed, flags):
    places = {"rows": rows_file(damaged), "video": first_video(damaged)}
    spoil(damaged)
    out = tmp_path / "outputs" / "events"
    code, _, err = run(capsys, damaged, out, *flags)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and "Fix: " in err
    for text in needed:
        assert text.format(**places) in err
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_constant_dimension_is_a_warning(capsys, tmp_path, damaged):
    change_episodes(damaged, "action", lambda v, e: np.where(np.arange(6) == 4, 1.0, v))
    code, printed, _ = run(capsys, damaged, tmp_path / "out")
    assert code == 0 and "warning: action[wrist_roll.pos] is constant" in printed


@pytest.mark.parametrize(
    "flag",
    [
        "--level=chapter",
        "--heldout=1.5",
        "--heldout=abc",
        "--segmenter.min_event_s=-1",
        "--segmenter.action_confidence=0.1",
        "--kinematics.smooth_s=-1",
        "--clean.on_bad=shrug",
        "--clean.skip=[nan]",
        "--clean.jump_factor=-1",
    ],
)
def test_parameters_out_of_range(capsys, tmp_path, tiny_dataset, flag):
    code, _, err = run(capsys, tiny_dataset, tmp_path / "out", flag)
    assert code == 2 and flag.split("=")[0].split(".")[-1].strip("-") in err
    assert list(tmp_path.iterdir()) == []


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
    without("action")(damaged)
    assert run(capsys, damaged, out, "--overwrite=true")[0] == 2
    assert (out / "summary.json").is_file()


def test_killed_run_leaves_no_output_and_the_next_starts_clean(capsys, tiny_dataset, tmp_path):
    place = tmp_path / "outputs"
    command = [sys.executable, "-m", "lerobot_wallwm.cli", "prepare", f"--dataset.root={tiny_dataset}"]
    command += [f"--out.root={place / 'events'}", "--quiet=true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(place.glob(".events.partial-*")) and process.poll() is None:
        assert time.monotonic() < deadline
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
