# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import json

import pytest
import tiny_arm
from hypothesis import given, strategies as st
from tiny_arm import PICKED, TINY_TASK as RED

from lerobot_wallwm.language.event_grammar import END, learn_transitions, matches
from lerobot_wallwm.policies.planning.planners import (
    GrammarPlanner,
    InstructionPlanner,
    ScriptPlanner,
    check_captions,
)

REACH, GRASP, MOVE = tiny_arm.PICK
RELEASE = "release the {object}"
PICK = [REACH, GRASP, MOVE, RELEASE]


def plan(planner, instruction: str = RED, limit: int = 200) -> list[str]:
    planner.begin(instruction)
    captions = []
    while (caption := planner.next()) is not None and len(captions) < limit:
        captions.append(caption)
    return captions


def test_the_commonest_sequence_wins():
    retry = [REACH, GRASP, REACH, GRASP, MOVE, RELEASE]
    planner = GrammarPlanner(learn_transitions([PICK] * 7 + [retry] * 2 + [PICK[:2]]))
    assert plan(planner) == [*PICKED, "release the red cube"]


def test_an_instruction_never_seen_fills_the_slots():
    planner = GrammarPlanner(learn_transitions([PICK]))
    assert plan(planner, "put the green mug on the tray")[2] == "move the green mug to the tray"
    assert plan(planner, RED)[2] == "move the red cube to the blue disc"  # and is forgotten by the next one


def test_beginning_again_starts_over_and_a_plan_that_ended_stays_ended():
    planner = GrammarPlanner(learn_transitions([PICK[:2]]))
    planner.begin(RED)
    planner.next()
    assert plan(planner) == PICKED[:2] == plan(planner)
    assert planner.next() is None and planner.next() is None


def test_the_context_tells_a_repeated_event_from_its_first_time_and_rounds_are_counted():
    twice = [GRASP, MOVE, REACH, MOVE, RELEASE]
    assert len(plan(GrammarPlanner(learn_transitions([twice] * 3)))) == 5
    assert len(plan(GrammarPlanner(learn_transitions([PICK * 3] * 5 + [PICK * 2])))) == 12


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


def test_a_script_is_followed_in_order_and_an_instruction_is_repeated():
    planner = ScriptPlanner(["lift it", "drop it"])
    assert plan(planner) == ["lift it", "drop it"] == plan(planner, "something else")
    assert plan(InstructionPlanner(), RED, limit=3) == [RED] * 3


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
    says = r"unknown caption 'dance'\. This checkpoint knows: grasp the \{object\}; move"
    with pytest.raises(ValueError, match=says):
        check_captions(["grasp the pear", "dance"], PICK)
