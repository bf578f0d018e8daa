# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Slots and templates of instructions."""

import pytest
from hypothesis import given, settings, strategies as st

from lerobot_wallwm.language.instruction import (
    fill,
    instruction_template,
    parse_instruction,
    target_preposition,
)

CASES = [
    ("pick up the red cube and place it on the blue disc", "red cube", "blue disc", "on"),
    ("Pick up the cup.", "cup", None, "on"),
    ("put the cup on the plate", "cup", "plate", "on"),
    ("lift the cube", "cube", None, "on"),
    ("stack the red block on top of the green block", "red block", "green block", "on"),
    ("push the T to the target zone", "T", "target zone", "at"),
    ("pour the water from the bottle into the mug", "water", "mug", "in"),
    ("Grab a lego brick and put it in the box", "lego brick", "box", "in"),
    ("pick and place the red cube onto the blue disc", "red cube", "blue disc", "on"),
    ("take the cube off the shelf, then put it into the bin", "cube", "bin", "in"),
    ("Place salt and pepper in the tray", "salt and pepper", "tray", "in"),
    ("pick up the cube on the table", "cube", None, "on"),
    ("move the cup over the saucer", "cup", "saucer", "at"),
    ("please pick up the pen and then place it into the holder", "pen", "holder", "in"),
    ("put_the_cup_on_the_plate", "cup", "plate", "on"),
    ("open the drawer", "drawer", None, "on"),
]


@pytest.mark.parametrize(("text", "thing", "goal", "preposition"), CASES)
def test_slots(text, thing, goal, preposition):
    expected = {"object": thing} | ({"target": goal} if goal else {})
    assert parse_instruction(text) == expected
    assert target_preposition(text) == preposition


@pytest.mark.parametrize("text", ["", "asdf qwer", None, "   ", "!?", "pick up it"])
def test_falls_back_to_object(text):
    assert parse_instruction(text) == {"object": "object"}


@pytest.mark.parametrize("text", [case[0] for case in CASES if "_" not in case[0]])
def test_template_fills_back_to_the_instruction(text):
    template = instruction_template(text)
    assert "{object}" in template
    assert fill(template, parse_instruction(text)) == text


def test_same_request_with_other_objects_has_the_same_template():
    one = instruction_template("pick up the red cube and place it on the blue disc")
    other = instruction_template("pick up the green cube and place it on the white disc")
    assert one == other == "pick up the {object} and place it on the {target}"


def test_an_object_named_inside_the_target_does_not_break_it():
    assert instruction_template("put the cube on the cube tray") == "put the {object} on the {target}"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_never_raises(text):
    slots = parse_instruction(text)
    assert slots["object"]
    fill(instruction_template(text), slots)
    target_preposition(text)
