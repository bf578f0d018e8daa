# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Demonstrations in a Koch arm's units, -100 to 100 of each joint's range, are cut as those in degrees are."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.segmentation.score import boundary_score, tolerance_frames
from emulated_arm.arms import ARMS, travel_as_built
from emulated_arm.hand import along, from_degrees, led_in, read_actions
from lerobot_wallwm.processors.caption.captioner import EventCaptioner
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import SourceDataset

DATA = Path(__file__).resolve().parents[2] / "examples/so101_sim/data/so101_pick_place"
KOCH = ARMS["koch_leader"]


def labels(episode) -> list[str]:
    return [e.label for e in EventCaptioner()(episode, EventSegmenter()(episode)) if e.level == "action"]


def test_boundaries_and_captions_survive_the_change_of_units():
    source = SourceDataset.open(DATA)
    same, scores = 0, []
    numbers = range(0, 60, 6)
    for number in numbers:
        degrees = source.read(number)
        koch = replace(
            degrees, state=from_degrees(degrees.state, KOCH), action=from_degrees(degrees.action, KOCH)
        )
        assert np.abs(koch.action).max() <= 100.0
        cuts = [[cut.frame for cut in EventSegmenter()(episode).cuts] for episode in (degrees, koch)]
        scores.append(boundary_score(cuts[1], cuts[0], tolerance_frames(degrees.fps)).f1)
        same += labels(koch) == labels(degrees)
        assert {"grasp", "release"} <= set(labels(koch))
    # The trigger starts to close a frame or two later than the SO arm's gripper.
    assert np.mean(scores) > 0.9
    assert same >= 0.8 * len(numbers)


def test_played_back_angles_are_the_recorded_ones():
    """A Koch arm's shafts turn by the angles that the demonstrations name."""
    rows, _ = read_actions(f"{DATA}:0", KOCH)
    original, _ = read_actions(f"{DATA}:0", ARMS["so101_leader"])
    travels = travel_as_built(KOCH, seed=3)
    for index, joint in enumerate(KOCH.joints[:5]):
        shafts = np.array([travels[index].to_shaft(value) for value in rows[:, index]])
        turned = np.diff(shafts) * 360 / 4095 * (-1 if joint.inverted else 1)
        np.testing.assert_allclose(turned, np.diff(original[:, index]), atol=0.05)
    opened = original[:, 5] >= 30.0
    assert 0 < opened.sum() < len(rows)
    np.testing.assert_array_equal(rows[opened, 5], 50.0)
    assert np.all(np.diff(rows[np.argsort(original[:, 5]), 5]) >= 0)


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_the_hand_goes_to_the_start_of_what_it_plays(seconds):
    rows, fps = read_actions(f"{DATA}:0", KOCH)
    travels = travel_as_built(KOCH, seed=3)
    motion = along(rows, fps, travels, loops=False)
    now = [travel.to_shaft(0.0) for travel in travels]
    led = led_in(motion, now, seconds)
    assert led.at(0.0) == pytest.approx(dict(enumerate(now)))
    assert led.at(seconds + 1.0) == pytest.approx(motion.at(1.0))
    assert led.duration == pytest.approx(motion.duration + seconds)


def test_playing_back_imports_nothing_while_the_bus_runs():
    """An import holds Python's lock for longer than the 34 ms that LeRobot's Koch driver waits for a reply, once."""
    program = (
        "import sys; from emulated_arm.hand import read_actions; from emulated_arm.arms import ARMS;"
        "import emulated_arm.emulator; before = set(sys.modules);"
        f"read_actions({str(DATA) + ':0'!r}, ARMS['koch_leader']); print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
