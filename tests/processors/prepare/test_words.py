# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`wallwm prepare` on tasks of any wording: no word is lost, and what is not understood is said."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata
from tables import change_column, change_info, episodes_file, rows_file

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


TWO = ["pick up the red cube", "place the red cube onto the black disc"]


def test_a_task_that_changes_within_an_episode_is_a_boundary(capsys, damaged, tmp_path):
    retask(damaged, TWO, at=17)
    _, events, _ = prepare(capsys, damaged, tmp_path / "out")
    for level in ("task", "subtask", "action", "segment"):
        own = [e for e in events if e.episode_index == 0 and e.level == level]
        assert 17 in {e.start for e in own} and own[-1].end == max(
            e.end for e in events if e.episode_index == 0
        )
    tasks = [e for e in events if e.level == "task"]
    assert [e.caption for e in tasks] == TWO * 6
    by_id = {e.event_id: e for e in tasks}
    assert {by_id[e.parent].caption for e in events if e.level == "subtask" and e.start >= 17} == {TWO[1]}
    view = LeRobotDatasetMetadata("test/view", root=tmp_path / "out" / "train").episodes
    for start, instruction in zip(view["wallwm/start"], view["wallwm/instruction"], strict=True):
        assert instruction == TWO[start >= 17]
    first = plan_of(tmp_path / "out" / "train", TWO[0])
    assert first[0] == "reach for the red cube" and not any("disc" in caption for caption in first)


def test_tasks_out_of_order_are_read_as_the_episodes_say(capsys, damaged, tmp_path):
    tasks = ["pick up the red cube", "pick up the blue cube"]
    retask(damaged, tasks)
    write_tasks(damaged, tasks[::-1], [1, 0])  # the rows' own column is right
    _, events, printed = prepare(capsys, damaged, tmp_path / "a")
    own = {e.episode_index: e.caption for e in events if e.level == "task"}
    assert own == {i: tasks[i % 2] for i in range(6)} and "not in the order of task_index" in printed
    write_tasks(damaged, tasks, [1, 0])  # the rows' order is right
    _, events, _ = prepare(capsys, damaged, tmp_path / "b")
    assert {e.episode_index: e.caption for e in events if e.level == "task"} == own
    write_tasks(damaged, ["x", "y"], [1, 0])  # neither is
    code = main(["prepare", f"--dataset.root={damaged}", f"--out.root={tmp_path / 'c'}", "--quiet=true"])
    assert code == 2 and "neither its column task_index nor the order" in capsys.readouterr().err
    write_tasks(damaged, tasks[::-1], [0, 1])  # in order, and the episodes' metadata says otherwise
    _, events, printed = prepare(capsys, damaged, tmp_path / "e")
    assert {e.caption for e in events if e.level == "task" and e.episode_index == 0} == {tasks[1]}
    assert "meta/episodes names other tasks than the rows of 6 episodes" in printed


def subtasks(root: Path, values, texts: list[str] | None) -> None:
    """Adds LeRobot's column `subtask_index`, `values(frame)` in each episode, and the file of its texts."""
    table = pq.read_table(rows_file(root))
    column = pa.array([values(frame) for frame in table["frame_index"].to_pylist()], pa.int64())
    pq.write_table(table.append_column("subtask_index", column), rows_file(root))
    change_info(
        root, lambda i: i["features"].update(subtask_index={"dtype": "int64", "shape": [1], "names": None})
    )
    if texts is not None:
        named = pd.DataFrame({"subtask_index": range(len(texts))}, index=pd.Index(texts, name="subtask"))
        named.to_parquet(root / "meta" / "subtasks.parquet")


SUBTASKS = ["go to the cube", "take the cube", "bring the cube"]


def test_subtasks_of_lerobot_are_annotations_and_stay_in_the_view(capsys, damaged, tmp_path):
    subtasks(damaged, lambda frame: (frame >= 10) + (frame >= 20), SUBTASKS)
    summary, events, _ = prepare(capsys, damaged, tmp_path / "out")
    own = [(e.start, e.caption, e.source) for e in events if e.level == "subtask" and e.episode_index == 1]
    assert own == [(start, text, "subtask") for start, text in zip((0, 10, 20), SUBTASKS, strict=True)]
    assert summary["annotated_episodes"] == 6
    view = tmp_path / "out" / "train"
    kept, source = (pq.read_table(root / "meta" / "subtasks.parquet") for root in (view, damaged))
    assert kept.equals(source)
    assert set(pq.read_table(rows_file(view))["subtask_index"].to_pylist()) == {0, 1, 2}


def test_a_file_of_annotations_wins_over_subtasks_of_lerobot(capsys, damaged, tmp_path):
    subtasks(damaged, lambda frame: int(frame >= 10), SUBTASKS)
    file = tmp_path / "spans.json"
    spans = [{"level": "subtask", "start": 0, "end": 14, "caption": "by hand"}]
    episodes = [{"episode_index": 2, "spans": spans}]
    file.write_text(json.dumps({"format": "wallwm-annotations", "version": 1, "episodes": episodes}))
    _, events, _ = prepare(capsys, damaged, tmp_path / "out", f"--annotations={file}")
    named = {i: [e.caption for e in events if e.level == "subtask" and e.episode_index == i] for i in (1, 2)}
    assert named[1] == SUBTASKS[:2] and named[2][0] == "by hand" and not set(SUBTASKS) & set(named[2])


def test_frames_without_a_subtask_keep_their_proposals_and_faults_are_said(capsys, damaged, tmp_path):
    subtasks(damaged, lambda frame: -1 if frame < 12 else 1, SUBTASKS)
    _, events, _ = prepare(capsys, damaged, tmp_path / "a")
    own = [e for e in events if e.level == "subtask" and e.episode_index == 0]
    assert own[-1].caption == "take the cube" and own[-1].start == 12 and own[0].source != "subtask"
    change_column(rows_file(damaged), "subtask_index", lambda values: [7] * len(values))
    assert (
        "is 7 at frame 0, which meta/subtasks.parquet does not name"
        in prepare(capsys, damaged, tmp_path / "b")[2]
    )
    (damaged / "meta" / "subtasks.parquet").unlink()
    assert "annotation not used" in prepare(capsys, damaged, tmp_path / "c")[2]
