# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Failed events are noticed: the gripper holds nothing, the plan leads back, and a loop ends."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tiny_arm import PICK, PICKED, TINY_TASK

from lerobot_wallwm.embodiment.description import Dimension, Embodiment
from lerobot_wallwm.language.event_grammar import learn_transitions
from lerobot_wallwm.policies.acting.event_cursor import EventCursor
from lerobot_wallwm.policies.batches.grips import learn_holds
from lerobot_wallwm.policies.planning.planners import GrammarPlanner, InstructionPlanner, ScriptPlanner

REACH, GRASP, MOVE = PICKED
HOLDS = {PICK[1]: [0.0] * 5 + [4.0], PICK[2]: [0.0] * 5 + [4.0]}


def gaps_of(tmp_path, gaps: dict[str, list[float]], side: float = 1.0, moving: float = 0.0):
    """What is learned of a view whose events of a template end so far from the command."""
    templates = [template for template, values in gaps.items() for _ in values]
    ends = [side * gap for values in gaps.values() for gap in values]
    events, states, actions = [], [], []
    for i, (template, gap) in enumerate(zip(templates, ends, strict=True)):
        events.append(
            {"wallwm/template": template, "dataset_from_index": 2 * i, "dataset_to_index": 2 * i + 2}
        )
        states += [[7.0, 20.0 + gap + moving], [8.0, 20.0 + gap]]
        actions += [[7.5, 20.0], [8.5, 20.0]]
    (tmp_path / "data/chunk-000").mkdir(parents=True)
    columns = {"observation.state": states, "action": actions}
    pq.write_table(pa.table(columns), tmp_path / "data/chunk-000/file-000.parquet")
    dims = (Dimension("a.pos", follows=0), Dimension("gripper.pos", quantity="gripper", follows=1))
    state = tuple(Dimension(dim.name, quantity=dim.quantity) for dim in dims)
    return learn_holds(tmp_path, events, Embodiment(action=dims, state=state))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_what_holds_is_learned_on_either_side(tmp_path, side):
    gaps = {"reach": [0.1, -0.2, 0.0], "grasp": [6.0, 5.5, 0.2, 6.1], "lift": [6.0] * 3, "release": [0.0] * 3}
    found = gaps_of(tmp_path, gaps, side)
    assert set(found) == {"grasp", "lift"}  # one missed grasp of four is no doubt of the kind
    for away in found.values():
        assert away[0] == 0 and 0.2 < side * away[1] < 5.5


@pytest.mark.parametrize(
    "gaps",
    [
        {"reach": [0.0] * 4, "grasp": [0.0] * 4},  # the state is the command: nothing can be told
        {"reach": list(np.linspace(0, 3, 8)), "grasp": list(np.linspace(2, 6, 8))},  # no border
        {"grasp": [6.0]},
    ],
)
def test_where_holding_cannot_be_told_nothing_is_judged(tmp_path, gaps):
    assert gaps_of(tmp_path, gaps) == {}


def test_a_gripper_that_still_opens_holds_nothing(tmp_path):
    gaps = {"reach": [0.0] * 4, "release": [-9.0] * 4}
    assert gaps_of(tmp_path, gaps, moving=-9.0) == {}


def test_the_plan_goes_back_to_what_the_event_is_about():
    planner = GrammarPlanner(learn_transitions([PICK]), holds=HOLDS)
    planner.begin(TINY_TASK)
    assert [planner.next() for _ in range(3)] == PICKED
    assert planner.again(MOVE) and planner.peek() == REACH
    assert [planner.next() for _ in range(4)] == [*PICKED, None]
    assert not planner.again("wave")
    steps = [*PICKED, "retreat from the blue disc", "reach for the blue cup", "lift the blue cup"]
    script = ScriptPlanner(steps)
    assert [script.next() for _ in steps] == steps
    assert script.again("lift the blue cup") and script.next() == "reach for the blue cup"
    assert script.again(GRASP) is True and script.next() == REACH


def test_it_mends_as_demonstrators_did():
    missed = [*PICK[:2], "open the gripper", *PICK[1:]]
    planner = GrammarPlanner(learn_transitions([PICK] * 9 + [missed]), holds=HOLDS)
    planner.begin(TINY_TASK)
    assert [planner.next() for _ in range(3)] == PICKED
    assert planner.again(MOVE)
    assert [planner.next() for _ in range(4)] == ["open the gripper", GRASP, MOVE, None]


@pytest.fixture
def run(lasting_policy, make_observation, tmp_path):
    """Lets an arm run whose gripper stays so far from its command, by which grasp it is and ticks since; returns the diary."""

    def play(gap, ticks: int, frames: float = 3.0, **fields):
        log = tmp_path / "log.jsonl"
        fields = {"event_log": str(log), "replan_steps": 3, **fields}
        policy = lasting_policy(frames, **fields)
        policy.config.learned.holds = HOLDS
        policy.reset()
        state, grasp, since, before = torch.zeros(1, 6), 0, 0, None
        for tick in range(ticks):
            observation = make_observation([TINY_TASK], seed=tick)
            told = policy.action_space.absolute(
                policy.select_action({**observation, "observation.state": state})
            )
            if fields.get("background_inference") and policy.rollout.worker.busy:
                policy.rollout.worker._job.result()  # an unhurried arm
            state = told.clone()
            caption = policy.rollout.cursors[0].caption
            if caption == GRASP and before != GRASP:
                grasp, since = grasp + 1, 0
            before, since = caption, since + 1
            state[:, 5] += gap(grasp, since) if caption in (GRASP, MOVE) else 0.0
        policy._log.flush()
        return [json.loads(line) for line in log.read_text().splitlines()]

    return play


def begun(lines: list[dict]) -> list[str]:
    return [line["caption"] for line in lines if line["kind"] == "begin"]


@pytest.mark.parametrize("background", [False, True])
def test_a_missed_grasp_is_tried_again(run, background):
    lines = run(lambda grasp, since: 6.0 * (grasp > 1), 80, background_inference=background)
    failed = [line for line in lines if line["kind"] == "failed"]
    assert [(line["caption"], line["empty"], line["action"]) for line in failed] == [
        (MOVE, ["gripper.pos"], "retry")
    ]
    assert begun(lines) == [*PICKED, *PICKED]
    assert lines[-1]["kind"] == "done"


def test_what_slips_on_the_way_is_fetched_again(run):
    lines = run(lambda grasp, since: 6.0 * (grasp > 1 or since <= 9), 80, frames=6.0)
    assert begun(lines) == [*PICKED, *PICKED] and lines[-1]["kind"] == "done"


def test_a_loop_ends_with_a_reason(run):
    lines = run(lambda *_: 0.0, 60, retries=2)
    failed = [(line["tries"], line["action"]) for line in lines if line["kind"] == "failed"]
    assert failed == [(1, "retry"), (2, "retry"), (3, "hold")]
    assert begun(lines) == PICKED * 3 and not any(line["kind"] == "done" for line in lines)


def test_without_retries_nothing_is_noticed(run):
    lines = run(lambda *_: 0.0, 40, retries=0)
    assert begun(lines) == PICKED and not any(line["kind"] == "failed" for line in lines)


def test_a_person_is_told_and_decides(run, tmp_path):
    orders = tmp_path / "orders.txt"
    orders.write_text(MOVE + "\n")
    lines = run(
        lambda _, since: 6.0 * (since < 9), 30, frames=30.0, planner="human", planner_file=str(orders)
    )
    assert [line["action"] for line in lines if line["kind"] == "failed"] == ["go on"]


def test_who_decides_for_himself_is_never_held():
    """A VLM or an instruction alone cannot go back, and nobody would let go of an arm that holds."""
    cursor = EventCursor(InstructionPlanner(), 3, 1.5, repeat=False)
    cursor.follow_instruction(TINY_TASK)
    assert cursor.current_event() == TINY_TASK
    for _ in range(4):
        cursor.fail(["gripper.pos"], retries=2)
    assert cursor.current_event() == TINY_TASK and not cursor.paused
