# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What counts as a right name of a frame."""

import pytest

from benchmarks.segmentation.naming import judge

STEP = {"object": "blue cube", "target": "red cube"}


@pytest.mark.parametrize(
    ("phase", "label", "caption", "found"),
    [
        ("close", "grasp", "grasp the blue one", {"verb right", "thing right", "both right"}),
        ("close", "lift", "lift the blue cube", {"thing right"}),
        ("close", "grasp", "grasp the other cube", {"verb right", "nothing named"}),
        ("close", "grasp", "grasp the green cube", {"verb right", "wrong thing"}),
        ("reach", "reach", "reach for the red cube", {"verb right", "wrong thing"}),
        (
            "lower",
            "lower",
            "lower the blue cube onto the red cube",
            {"verb right", "thing right", "both right", "placing", "place right"},
        ),
        (
            "lower",
            "lower",
            "lower the blue cube onto it",
            {"verb right", "thing right", "both right", "placing"},
        ),
        ("retreat", "retreat", "retreat from the red cube", {"verb right", "thing right", "both right"}),
    ],
)
def test_a_caption_is_right_if_it_names_its_own_things_and_no_other(phase, label, caption, found):
    assert set(judge({"phase": phase, **STEP}, {"label": label, "caption": caption})) == found
