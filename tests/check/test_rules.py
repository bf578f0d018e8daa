# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The verdict: what each rule says on either side of its line, and that the worst one decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lerobot_wallwm.check import thresholds as t
from lerobot_wallwm.check.measure.errors import HOLD, MEAN, OpenLoopErrors
from lerobot_wallwm.check.measure.latency import WITH_LOOK, WITHOUT_LOOK, Times, Timings
from lerobot_wallwm.check.measure.match import CameraMatch, JointRange, Match
from lerobot_wallwm.check.measure.measure import Measured
from lerobot_wallwm.check.measure.sight import (
    CAPTION,
    IMAGES,
    NOISE,
    OTHER_SCENE,
    OWN,
    STATE,
    InputChanges,
    Sight,
)
from lerobot_wallwm.check.rules import LEVELS, RULES, judge


def errors(
    near: float = 0.5,
    event: float = 0.5,
    high: float = 0.6,
    mean: float = 0.8,
    gripper: float = 0.5,
    grasp: float = 0.5,
) -> OpenLoopErrors:
    """Errors as parts of holding the pose, whose error is 1."""
    return OpenLoopErrors(
        error={"near": near, "event": event},
        intervals={"near": None, "event": None},
        baselines={HOLD: {"near": 1.0, "event": 1.0}, MEAN: {"near": mean, "event": mean}},
        against_hold={"near": (near, (0.1, high)), "event": (event, (0.1, high))},
        by_joint={"elbow": 0.5, "gripper": gripper, "roll": 0.02},
        hold_by_joint={"elbow": 1.0, "gripper": 1.0, "roll": 0.01},  # roll hardly moves
        by_event={},
        scale=np.ones(3),
        critical={"grasp": {"error": grasp, "hold": 1.0, "steps": 9}},
    )


def follows(images: float = 0.5, caption: float = 0.5, noise: float = 0.01) -> InputChanges:
    change = {IMAGES: images, CAPTION: caption, STATE: 0.2, NOISE: noise}
    return InputChanges(change, {IMAGES: 1.0, CAPTION: 1.0, STATE: 1.0, NOISE: float("nan")})


def looks(other: float, own: float = 1.0) -> Sight:
    """Errors at the end of one event with its own and another scene's pictures."""
    ends = {OWN: np.full((1, 1), own), OTHER_SCENE: np.full((1, 1), other)}
    return Sight(ends, np.zeros((1, 1)), np.array(["reach"]), np.zeros(1), [0])


def times(look: float, tick: float, between: float = 1.0, p99: float = 1.0, steps: float = 4) -> Timings:
    looks = {name: Times(look, look * p99, 10) for name in ("none", "anchor", "full")}
    ticks = {WITH_LOOK: Times(tick, tick * p99, 10), WITHOUT_LOOK: Times(between, between, 10)}
    return Timings(looks, ticks, "none", steps)


def match(**changes) -> Match:
    joint = JointRange("elbow", (-10.0, 10.0), (-9.0, 9.0), 0.0)
    fine = Match(
        states=[joint],
        actions=[joint],
        names=None,
        cameras=[CameraMatch("wrist", (96, 96), (96, 96))],
        still=[],
        still_here=[],
        trained_fps=20.0,
        data_fps=20.0,
        control_fps=20.0,
        captions=4,
    )
    return replace(fine, **changes)


def good(**changes) -> Measured:
    fine = Measured(
        episodes=11,
        open_loop=errors(),
        clamped=0.0,
        first_step=(2.0, 2.0),
        sensitivity=follows(),
        sight=looks(2.0),
        remaining=(1.0, 4.0),
        latency=times(20, 20),
        match=match(),
        psnr=(20.0, 19.0),
    )
    return replace(fine, **changes)


def outside(share: float) -> list[JointRange]:
    return [JointRange("elbow", (-10.0, 10.0), (-30.0, 9.0), share)]


CASES = [
    ("nothing wrong", {}, "yes", "better than holding"),
    ("weights", {"bad_weights": ["model.a"]}, "no", "numbers"),
    ("outputs", {"bad_outputs": 0.01}, "no", "numbers"),
    ("would not act", {"refuses": "it was never taught how long an event lasts"}, "no", "stage"),
    ("video stage", {"stage": "video", "acts": False}, "no", "stage"),
    (
        "no better",
        {"open_loop": errors(event=t.NO_BETTER_THAN_HOLDING + 0.01, mean=2.0)},
        "no",
        "better than holding",
    ),
    ("near only", {"open_loop": errors(near=1.2)}, "no", "better than holding"),
    ("cannot tell", {"open_loop": errors(high=1.0)}, "no", "better than holding"),
    ("not a number", {"open_loop": errors(event=float("nan"))}, "no", "better than holding"),
    (
        "little better",
        {"open_loop": errors(event=t.HARDLY_BETTER_THAN_HOLDING + 0.01, mean=0.9)},
        "care",
        "better than holding",
    ),
    ("blind mean", {"open_loop": errors(mean=0.4)}, "care", "better than the caption's mean"),
    (
        "never grasps",
        {"open_loop": errors(grasp=t.NO_BETTER_THAN_HOLDING + 0.01)},
        "no",
        "grasps and releases",
    ),
    (
        "hardly grasps",
        {"open_loop": errors(grasp=t.HARDLY_BETTER_THAN_HOLDING + 0.01)},
        "care",
        "grasps and releases",
    ),
    ("deaf by design", {"policy": "act", "sensitivity": follows(caption=0.0)}, "care", "follows captions"),
    ("ACT", {"policy": "act", "stage": "", "remaining": None, "sight": None}, "yes", "better than holding"),
    ("gripper", {"open_loop": errors(gripper=t.JOINT_WORSE + 0.01)}, "care", "every joint"),
    ("blind", {"sight": None, "sensitivity": follows(images=0.0, noise=0.0)}, "no", "follows images"),
    (
        "nearly blind",
        {"sight": None, "sensitivity": follows(images=t.IGNORES_IMAGES * 1.1)},
        "care",
        "follows images",
    ),
    (
        "looks where it counts",
        {"sensitivity": follows(images=t.IGNORES_IMAGES * 1.1)},
        "yes",
        "follows images",
    ),
    ("deaf", {"sensitivity": follows(caption=0.0)}, "no", "follows captions"),
    ("nearly deaf", {"sensitivity": follows(caption=t.HARDLY_READS * 0.9)}, "care", "follows captions"),
    ("one caption", {"sensitivity": follows(caption=float("nan"))}, "yes", "follows images"),
    ("does not look", {"sight": looks(t.BLIND - 0.01)}, "no", "follows images"),
    ("ends nowhere", {"sight": looks(float("nan"))}, "no", "follows images"),
    ("hardly looks", {"sight": looks(t.HARDLY_LOOKS - 0.01)}, "care", "follows images"),
    ("perfect", {"sight": looks(1.0, own=0.0)}, "yes", "follows images"),
    ("no event needs eyes", {"sight": None}, "yes", "follows images"),
    ("chance", {"sensitivity": follows(noise=0.6)}, "care", "steady"),
    ("clamped", {"clamped": t.CLAMPED + 0.01}, "care", "inside the range"),
    ("jerks", {"first_step": (t.FIRST_STEP * 2 + 0.1, 2.0)}, "care", "begins softly"),
    ("slow now and then", {"latency": times(20, 20, p99=3)}, "care", "quick enough"),
    ("slow looks", {"latency": times(100, 100)}, "care", "quick enough"),
    ("slower than the plan", {"latency": times(300, 300)}, "care", "quick enough"),
    ("far too slow", {"latency": times(450, 450)}, "no", "quick enough"),
    ("slow between looks", {"latency": times(20, 20, between=60)}, "no", "quick enough"),
    ("no idea of the end", {"remaining": (4.1, 4.0)}, "care", "knows the end"),
    ("other names", {"match": match(names="the joints come in another order")}, "no", "same joints"),
    ("out of range", {"match": match(states=outside(t.OUTSIDE + 0.01))}, "care", "same units"),
    ("radians", {"match": match(actions=outside(t.OTHER_UNITS + 0.01))}, "no", "same units"),
    ("range unknown", {"match": match(states=[], actions=[])}, "yes", "better than holding"),
    ("half a per cent", {"match": match(data_fps=20.1)}, "yes", "better than holding"),
    ("other clock", {"match": match(control_fps=22.0)}, "care", "same clock"),
    ("wrong clock", {"match": match(data_fps=30.0, control_fps=30.0)}, "no", "same clock"),
    ("new captions", {"match": match(unknown_captions=["dance"])}, "care", "known captions"),
    ("a camera less", {"match": match(cameras=[CameraMatch("wrist", (9, 9), None)])}, "care", "all cameras"),
    ("still joint", {"match": match(still=["elbow"])}, "care", "moving joints"),
    ("bad dreams", {"imagination": "full", "psnr": (15.0, 19.0)}, "care", "imagines"),
    ("bad dreams, unused", {"psnr": (15.0, 19.0)}, "yes", "better than holding"),
    ("training view", {"from_training": True}, "care", "held out"),
    ("uncarved", {"carved": False}, "care", "events known"),
    ("uncarved, one of chunks", {"carved": False, "stage": "next_chunk"}, "yes", "better than holding"),
    ("one episode", {"episodes": 1}, "care", "enough data"),
]


@pytest.mark.parametrize(("changes", "level", "rule"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_rule_on_either_side_of_its_line(changes, level, rule):
    verdict = judge(good(**changes))
    assert verdict.level == level, verdict
    assert rule in [finding.rule for finding in verdict.findings if finding.level == level]
    assert verdict.switch_on == (level != "no")
    others = [f for f in verdict.findings if f.rule != rule and f.level != "yes"]
    assert not others, "one thing wrong, one rule that says so"


def test_a_complaint_names_no_figure_that_is_better_than_its_baseline():
    """Of two reaches, a grasp and a release only those at fault are listed."""
    found = judge(good(open_loop=errors(near=0.2, event=1.3, mean=2.0)))
    (text,) = [f.text for f in found.findings if f.rule == "better than holding"]
    assert "1.3 against 1.0 to the event's end" in text and "0.2 against" not in text
    loop = errors(grasp=1.2)
    loop.critical["release"] = {"error": 0.3, "hold": 1.0, "steps": 4}
    (text,) = [f.text for f in judge(good(open_loop=loop)).findings if f.rule == "grasps and releases"]
    assert "around a grasp" in text and "release" not in text


def test_joints_of_different_units_matter_by_how_far_they_move_for_their_range():
    """Millimetres beside a gripper's 850 ticks: a hand that would better be held is found."""
    loop = errors()
    loop.hold_by_joint, loop.by_joint = {"x": 0.001, "gripper": 200.0}, {"x": 0.002, "gripper": 50.0}
    loop.scale = np.array([0.0001, 8.5])
    found = judge(good(open_loop=loop))
    (text,) = [f.text for f in found.findings if f.rule == "every joint"]
    assert "x 0.002 against 0.001" in text and "gripper" not in text


def test_captions_of_whole_tasks_may_be_ignored_with_care():
    verdict = judge(good(carved=False, sensitivity=follows(caption=0.0)))
    assert verdict.level == "care"


def test_every_rule_can_complain():
    complaints = {
        f.rule for _, changes, *_ in CASES for f in judge(good(**changes)).findings if f.level != "yes"
    }
    assert complaints == set(RULES)


@given(st.lists(st.sampled_from([case[1] for case in CASES]), max_size=4))
def test_the_worst_finding_decides_and_reasons_begin_with_it(changes):
    merged = {key: value for part in changes for key, value in part.items()}
    verdict = judge(good(**merged))
    levels = [finding.level for finding in verdict.findings]
    assert verdict.level == max(levels, key=LEVELS.index)
    assert levels == sorted(levels, key=LEVELS.index, reverse=True)
    assert verdict.reasons and verdict.reasons[0] == verdict.findings[0].text
    wanted = ["yes"] if verdict.level == "yes" else ["no", "care"]
    assert len(verdict.reasons) == sum(level in wanted for level in levels)


def test_nothing_measured_but_numbers_still_gives_a_verdict():
    assert judge(Measured(bad_weights=["a"])).level == "no"
    assert "a" in judge(Measured(bad_weights=["a"])).reasons[0]
