# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import json

import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.language.event_grammar import END, learn_transitions, matches
from lerobot_wallwm.policies.planning.planners import (
    GrammarPlanner,
    InstructionPlanner,
    ScriptPlanner,
    check_captions,
)

REACH, GRASP, MOVE, RELEASE = (
    "reach for the {object}",
    "grasp the {object}",
    "move the {object} to the {target}",
    "release the {object}",
)
PICK = [REACH, GRASP, MOVE, RELEASE]
RED = "pick up the red cube and place it on the blue disc"


def plan(planner, instruction: str = RED, limit: int = 200) -> list[str]:
    planner.begin(instruction)
    captions = []
    while (caption := planner.next()) is not None and len(captions) < limit:
        captions.append(caption)
    return captions


def test_the_commonest_sequence_wins():
    retry = [REACH, GRASP, REACH, GRASP, MOVE, RELEASE]
    planner = GrammarPlanner(learn_transitions([PICK] * 7 + [retry] * 2 + [PICK[:2]]))
    assert plan(planner) == [
        "reach for the red cube",
        "grasp the red cube",
        "move the red cube to the blue disc",
        "release the red cube",
    ]


def test_an_instruction_never_seen_fills_the_slots():
    planner = GrammarPlanner(learn_transitions([PICK]))
    assert plan(planner, "put the green mug on the tray")[2] == "move the green mug to the tray"
    assert plan(planner, RED)[2] == "move the red cube to the blue disc"  # and is forgotten by the next one


def test_beginning_again_starts_over():
    planner = GrammarPlanner(learn_transitions([PICK]))
    planner.begin(RED)
    first = planner.next()
    planner.next()
    planner.begin(RED)
    assert planner.next() == first


def test_a_plan_that_ended_stays_ended():
    planner = GrammarPlanner(learn_transitions([PICK[:1]]))
    assert plan(planner) == ["reach for the red cube"]
    assert planner.next() is None and planner.next() is None


def test_the_context_tells_a_repeated_event_from_its_first_time():
    twice = [GRASP, MOVE, REACH, MOVE, RELEASE]
    planner = GrammarPlanner(learn_transitions([twice] * 3))
    assert len(plan(planner)) == 5


def test_rounds_of_a_repeated_task_are_counted():
    planner = GrammarPlanner(learn_transitions([PICK * 3] * 5 + [PICK * 2]))
    assert len(plan(planner)) == 12


templates = st.sampled_from(["a", "b", "c"])


@given(sequences=st.lists(st.lists(templates, min_size=1, max_size=6), min_size=1, max_size=6))
def test_every_plan_ends_and_can_be_repeated(sequences):
    transitions = learn_transitions(sequences)
    planner = GrammarPlanner(transitions, max_events=20)
    first = plan(planner)
    assert 0 < len(first) <= 20
    assert plan(planner) == first
    seen = {event for sequence in sequences for event in sequence}
    assert set(first) <= seen
    assert first[0] in {sequence[0] for sequence in sequences}


def test_running_in_circles_is_stopped():
    circle = {"<start>": {"a": 1}, "a": {"b": 1}, "b": {"a": 1}}
    assert plan(GrammarPlanner(circle, max_events=10)) == ["a", "b"] * 5


@given(sequences=st.lists(st.lists(templates, max_size=5), min_size=1, max_size=5))
def test_counts_add_up_and_survive_json(sequences):
    transitions = learn_transitions(sequences)
    assert json.loads(json.dumps(transitions)) == transitions
    ends = sum(nexts.get(END, 0) for context, nexts in transitions.items() if " || " not in context)
    assert ends == len(sequences)
    for template in ("a", "b", "c"):
        arrivals = sum(n.get(template, 0) for c, n in transitions.items() if " || " not in c)
        assert arrivals == sum(sequence.count(template) for sequence in sequences)


def test_no_grammar_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="no event grammar: train on a view written by .wallwm prepare."):
        GrammarPlanner({})


def test_script_is_followed_in_order():
    planner = ScriptPlanner(["lift it", "drop it"])
    assert plan(planner) == ["lift it", "drop it"] == plan(planner, "something else")


def test_instruction_planner_repeats_the_instruction():
    planner = InstructionPlanner()
    planner.begin(RED)
    assert [planner.next() for _ in range(3)] == [RED] * 3


@pytest.mark.parametrize(
    ("template", "caption", "fits"),
    [
        (REACH, "reach for the red cube", True),
        (REACH, "Reach for the red cube", True),
        (REACH, "reach for the ", False),
        (REACH, "then reach for the red cube", False),
        (MOVE, "move the cup to the left to the tray", True),
        ("wait (2 s)", "wait (2 s)", True),
        ("wait (2 s)", "wait 2 s", False),
    ],
)
def test_captions_match_their_template(template, caption, fits):
    assert matches(template, caption) is fits


def test_unknown_captions_are_named_with_the_known_ones():
    check_captions(["grasp the pear", "reach for the pear"], PICK)
    check_captions(["anything"], [])  # a checkpoint that knows no events cannot judge
    with pytest.raises(
        ValueError, match=r"unknown caption 'dance'\. This checkpoint knows: grasp the \{object\}; move"
    ):
        check_captions(["grasp the pear", "dance"], PICK)
