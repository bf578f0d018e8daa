# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare` on tasks of any wording: no word is lost, and what is not understood is said."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata
from tables import change_column, episodes_file, rows_file

from lerobot_wallwm.cli import main
from lerobot_wallwm.policies.batches.dataset_facts import event_grammar, instruction_slots
from lerobot_wallwm.policies.planning.planners import GrammarPlanner
from lerobot_wallwm.processors.source.events import read_events

RED, BLUE = "把红色方块放到黑色圆盘上", "把蓝色方块放到黑色圆盘上"


def retask(root: Path, tasks: list[str], at: int | None = None) -> None:
    """Gives episode i task i (again from the first after the last); with `at`, all tasks in turn from frame 0 and `at`."""
    rows = pq.read_table(rows_file(root), columns=["episode_index", "frame_index"]).to_pydict()
    pairs = zip(rows["episode_index"], rows["frame_index"], strict=True)
    index = [(episode % len(tasks)) if at is None else int(frame >= at) for episode, frame in pairs]
    change_column(rows_file(root), "task_index", lambda _: index)
    own = (lambda e: [tasks[e % len(tasks)]]) if at is None else lambda e: tasks
    change_column(episodes_file(root), "tasks", lambda old: [own(e) for e in range(len(old))])
    write_tasks(root, tasks, range(len(tasks)))


def write_tasks(root: Path, tasks: list[str], indices) -> None:
    table = pd.DataFrame({"task_index": list(indices)}, index=pd.Index(tasks, name="task"))
    table.to_parquet(root / "meta" / "tasks.parquet")


def prepare(capsys, root: Path, out: Path, *flags: str) -> tuple[dict, list, str]:
    code = main(
        ["prepare", f"--dataset.root={root}", f"--out.root={out}", "--quiet=true", "--heldout=0", *flags]
    )
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads((out / "summary.json").read_text()), read_events(out / "events.parquet"), captured.out


def plan_of(view: Path, task: str) -> list[str]:
    episodes = LeRobotDatasetMetadata("test/view", root=view).episodes
    planner = GrammarPlanner(event_grammar(episodes)[0], instructions=instruction_slots(episodes))
    planner.begin(task)
    return list(iter(planner.next, None))


def test_two_chinese_tasks_stay_apart_and_are_named(capsys, damaged, tmp_path):
    retask(damaged, [RED, BLUE])
    summary, events, printed = prepare(capsys, damaged, tmp_path / "out")
    assert "2 of 2 tasks could not be read" in printed and f"{RED!r} is not in Latin letters" in printed
    said = {e.caption for e in events if e.label == "grasp" and e.level == "action"}
    assert said == {f"grasp the object: {RED}", f"grasp the object: {BLUE}"}
    assert plan_of(tmp_path / "out" / "train", BLUE)[0] == f"reach for the object: {BLUE}"
    assert set(summary["instructions"]["unread"]) == {RED, BLUE}


def test_a_file_says_what_tasks_mean_and_the_planner_knows(capsys, damaged, tmp_path):
    retask(damaged, [RED, BLUE])
    path = tmp_path / "tasks.json"
    meaning = {t: [{"object": f"{c} cube", "target": "disc"}] for t, c in ((RED, "red"), (BLUE, "blue"))}
    path.write_text(json.dumps(meaning | {"other": [{"object": "x"}]}))
    summary, events, printed = prepare(capsys, damaged, tmp_path / "out", f"--instructions={path}")
    assert "could not be read" not in printed and "a task that the dataset has not: 'other'" in printed
    assert {e.caption for e in events if e.label == "grasp"} == {"grasp the red cube", "grasp the blue cube"}
    assert summary["templates"]["grasp the {object}"] == len({e.episode_index for e in events})
    assert "grasp the blue cube" in plan_of(tmp_path / "out" / "train", BLUE)


def test_flags_name_object_and_target(capsys, damaged, tmp_path):
    retask(damaged, [RED])
    _, events, printed = prepare(capsys, damaged, tmp_path / "out", "--object=red cube", "--target=disc")
    assert "could not be read" not in printed
    assert {"grasp the red cube", "move the red cube to the disc"} <= {e.caption for e in events}


def test_tasks_of_the_same_things_are_said_and_kept_apart(capsys, damaged, tmp_path):
    retask(damaged, ["fold the towel", "unfold the towel"])
    _, events, printed = prepare(capsys, damaged, tmp_path / "out")
    assert "2 of 2 tasks name the same things" in printed
    sides = [{e.caption for e in events if e.episode_index == i and "towel" in e.caption} for i in (0, 1)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    assert "grasp the towel: unfold the towel" in plan_of(tmp_path / "out" / "train", "unfold the towel")


@pytest.mark.parametrize("wrong", ['{"a": [{"object": 3}]}', "no json", None])
def test_a_wrong_file_of_instructions_is_refused_before_any_work(capsys, damaged, tmp_path, wrong):
    path = tmp_path / "tasks.json"
    if wrong is not None:
        path.write_text(wrong)
    code = main(
        [
            "prepare",
            f"--dataset.root={damaged}",
            f"--out.root={tmp_path / 'out'}",
            f"--instructions={path}",
            "--quiet=true",
        ]
    )
    assert code == 2 and not (tmp_path / "out").exists()
    error = capsys.readouterr().err
    assert "tasks.json" in error and "Fix:" in error
