# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm join`: each frame of a recorded rollout gets the event that the policy was in."""

import json

import pytest
from tables import load

from lerobot_wallwm.cli import main
from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import read_events
from lerobot_wallwm.storage.line_log import LineLog

REACH, GRASP = "reach for the red cube", "grasp the red cube"


def write_log(path, runs):
    """A log as a policy writes it, from each run's ``(tick, kind, caption)``."""
    log = LineLog(path)
    for run in runs:
        log.write("instruction", 0, text="pick up the red cube", planner="grammar")
        for tick, kind, caption in run:
            log.write(kind, tick, caption=caption)
    log.flush(30)
    return path


def joined(root, log, out):
    return main(["join", f"--dataset.root={root}", f"--log={log}", f"--out.root={out}"])


RUN = [(2, "begin", REACH), (3, "look", REACH), (20, "end", REACH), (22, "begin", GRASP)]


def test_each_episode_is_a_run_and_prepare_cuts_there(tiny_dataset, tmp_path, capsys):
    lengths = SourceDataset.open(tiny_dataset).episodes.column("length").to_pylist()
    before = {p: p.stat().st_mtime_ns for p in tiny_dataset.rglob("*") if p.is_file()}
    log = write_log(tmp_path / "log.jsonl", [RUN] * len(lengths))
    assert joined(tiny_dataset, log, tmp_path / "out") == 0
    assert f" {18 * len(lengths)}  {REACH}\n" in capsys.readouterr().out
    data, recorded = load(tmp_path / "out"), load(tiny_dataset)
    expected = ["hold still"] * 2 + [REACH] * 18 + ["hold still"] * 2 + [GRASP] * (lengths[1] - 22)
    names = ["hold still", REACH, GRASP]
    first = lengths[0]
    assert [names[int(data[first + i]["subtask_index"])] for i in range(lengths[1])] == expected
    assert all((data[5][key] == recorded[5][key]).all() for key in recorded.meta.camera_keys)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    words = [
        "prepare",
        f"--dataset.root={tmp_path / 'out'}",
        f"--out.root={tmp_path / 'cut'}",
        "--quiet=true",
    ]
    assert main(words) == 0
    events = [e for e in read_events(tmp_path / "cut" / "events.parquet") if e.episode_index == 1]
    spans = [(e.start, e.end, e.caption) for e in events if e.caption in (REACH, GRASP)]
    assert (2, 20, REACH) in spans and (22, lengths[1], GRASP) in spans


def test_one_run_goes_on_through_all_episodes(tiny_dataset, tmp_path):
    length = SourceDataset.open(tiny_dataset).episodes.column("length").to_pylist()[0]
    late = [(0, "begin", REACH), (length + 3, "end", REACH), (length + 3, "begin", GRASP)]
    assert joined(tiny_dataset, write_log(tmp_path / "log.jsonl", [late]), tmp_path / "out") == 0
    data = load(tmp_path / "out")
    assert [int(data[length + i]["subtask_index"]) for i in range(5)] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([RUN] * 2, "has 2 runs, but"),
        ([[(0, "begin", REACH), (9999, "begin", GRASP)]], "goes on to tick 9999"),
        ([[(0, "look", REACH)]], "no event began"),
    ],
)
def test_another_rollouts_log_is_refused(tiny_dataset, tmp_path, capsys, runs, said):
    assert joined(tiny_dataset, write_log(tmp_path / "log.jsonl", runs), tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert said in err and "Fix:" in err and not (tmp_path / "out").exists()


def test_what_is_no_log_is_refused_by_its_line(tiny_dataset, tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    for text in ("{", json.dumps({"tick": 1}), "[]", json.dumps({"tick": 0, "kind": "begin", "robot": 1})):
        log.write_text(text + "\n")
        assert joined(tiny_dataset, log, tmp_path / "out") == 2
        assert "line 1: is none of an event log" in capsys.readouterr().err
    assert joined(tiny_dataset, tmp_path / "nowhere", tmp_path / "out") == 2
    assert "cannot be read" in capsys.readouterr().err
