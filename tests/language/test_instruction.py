# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Slots and templates of instructions."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from lerobot_wallwm.language import lexicon
from lerobot_wallwm.language.instruction import (
    Instruction,
    Instructions,
    fill,
    parse_instruction,
    read_instruction_file,
)
from lerobot_wallwm.language.reading import read
from lerobot_wallwm.storage.errors import DataError

# Columns: where a sentence is from, the sentence, its steps as "object > target; ...", or "?" where it is kept whole.
# Set E are cases that failed once; public and heldout are tasks of public datasets, heldout collected after the rules.
SENTENCES = [
    line.split("\t") for line in (Path(__file__).parent / "instructions.tsv").read_text().splitlines()[1:]
]
CASES = [
    ("pick up the red cube and place it on the blue disc", "red cube", "blue disc", "on"),
    ("Pick up the cup.", "cup", None, "on"),
    ("put the cup on the plate", "cup", "plate", "on"),
    ("lift the cube", "cube", None, "on"),
    ("stack the red block on top of the green block", "red block", "green block", "on"),
    ("push the T to the target zone", "T", "target zone", "at"),
    ("pour the water from the bottle into the mug", "bottle", "mug", "in"),
    ("Grab a lego brick and put it in the box", "lego brick", "box", "in"),
    ("pick and place the red cube onto the blue disc", "red cube", "blue disc", "on"),
    ("take the cube off the shelf, then put it into the bin", "cube", "bin", "in"),
    ("Place salt and pepper in the tray", "salt and pepper", "tray", "in"),
    ("pick up the cube on the table", "cube", None, "on"),
    ("move the cup over the saucer", "cup", "saucer", "over"),
    ("please pick up the pen and then place it into the holder", "pen", "holder", "in"),
    ("put_the_cup_on_the_plate", "cup", "plate", "on"),
    ("open the drawer", "drawer", None, "on"),
]


@pytest.mark.parametrize(("text", "thing", "goal", "preposition"), CASES)
def test_slots(text, thing, goal, preposition):
    expected = {"object": thing} | ({"target": goal} if goal else {})
    assert parse_instruction(text) == expected
    steps = Instruction.of(text).steps
    assert next((step.place for step in steps if step.target), "on") == preposition


@pytest.mark.parametrize("text", ["", "asdf qwer", None, "   ", "!?", "pick up it"])
def test_falls_back_to_object(text):
    assert parse_instruction(text) == {"object": "object"}


@pytest.mark.parametrize(("text", "steps"), [(row[1], row[2]) for row in SENTENCES])
def test_steps_of_the_table(text, steps):
    reading = read(text)
    expected = [] if steps == "?" else [tuple((step.split(" > ") + [""])[:2]) for step in steps.split("; ")]
    assert [(step.object, step.target) for step in reading.steps] == expected
    assert bool(reading.problem) == (steps == "?")


@pytest.mark.parametrize("text", [case[0] for case in CASES if "_" not in case[0]])
def test_template_fills_back_to_the_instruction(text):
    template = Instruction.of(text).template
    assert "{object}" in template
    assert fill(template, parse_instruction(text)) == text


def test_same_request_with_other_objects_has_the_same_template():
    one = Instruction.of("pick up the red cube and place it on the blue disc").template
    other = Instruction.of("pick up the green cube and place it on the white disc").template
    assert one == other == "pick up the {object} and place it on the {target}"


def test_an_object_named_inside_the_target_does_not_break_it():
    assert Instruction.of("put the cube on the cube tray").template == "put the {object} on the {target}"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_never_raises(text):
    slots = parse_instruction(text)
    assert slots["object"]
    fill(Instruction.of(text).template, slots)


def test_long_texts_are_read_in_time_or_refused():
    start = time.process_time()
    for text in ("pick up the cup and ", "a", "hi ", "the ", "put it, ", "with the left arm "):
        read((text * 2000)[:2000])
    assert time.process_time() - start < 5
    assert read("pick up the cup " * 200).problem == "is longer than 2000 characters"


def test_what_is_not_understood_stays_whole():
    for text in ("把红色方块放到黑色圆盘上", "Nimm den roten Würfel und lege ihn auf die Scheibe", "clean"):
        one = Instruction.of(text)
        assert one.slots == {"task": text} and one.template == "{task}" and one.problem


def test_tasks_that_would_be_captioned_alike_are_kept_whole():
    alike = ["fold the towel", "unfold the towel"]
    read_together = Instructions([*alike, "put the towel in the basket", "Fold the towel."])
    assert [sorted(group) for group in read_together.report()["alike"]] == [
        sorted([*alike, "Fold the towel."])
    ]
    assert all(read_together(text).slots == {"task": text, "object": "towel"} for text in alike)
    assert not read_together("put the towel in the basket").whole
    # Case, articles and courtesy make no other task.
    assert not Instructions(["Lift the cube.", "please lift cube"]).report()["alike"]


def test_a_person_sets_steps(tmp_path):
    path = tmp_path / "tasks.json"
    path.write_text('{"拿起红色方块": [{"object": "red cube", "target": "black disc"}]}', "utf-8")
    given = Instructions(["拿起红色方块", "pick up the cup"], read_instruction_file(path))
    assert given("拿起红色方块").slots == {"object": "red cube", "target": "black disc"}
    assert given.report()["unread"] == {} and given.report()["by_hand"] == ["拿起红色方块"]
    flags = Instructions(["tidy"], object="red cube", target="box")
    assert flags("tidy").slots == {"object": "red cube", "target": "box"}
    path.write_text('{"a": []}')
    with pytest.raises(DataError, match=r"a: has no step\. Fix: write"):
        read_instruction_file(path)
    path.write_text('{"a": [{"thing": "x"}]}')
    with pytest.raises(DataError, match="Fix: write"):
        read_instruction_file(path)


WORDS = sorted(lexicon.VERBS | lexicon.FUNCTION | lexicon.DETERMINERS | lexicon.MANNER | lexicon.POSITIONS)
OFTEN = [
    "and",
    "then",
    ",",
    ".",
    "the",
    "to",
    "with",
    "left",
    "arm",
    "use",
    "not",
    "is",
    "of",
    "cube",
    "cup",
    "it",
]


@settings(max_examples=400)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(OFTEN)), max_size=16).map(" ".join))
def test_every_order_of_words_is_read(text):
    reading = read(text)
    assert bool(reading.steps) != bool(reading.problem)
    assert all(step.object.strip() for step in reading.steps)
    one = Instruction.of(text)
    # No word is lost: what fills the template again is the sentence.
    assert fill(one.template, one.slots).lower() == " ".join(text.split()).lower()
