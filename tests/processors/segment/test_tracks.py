# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Events of every part of a robot: two arms, an arm on a base, no gripper; ends and pauses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from synthetic import PHASES, pick_and_place

from benchmarks.harness.repo import DATASET
from benchmarks.segmentation.two_arms import ARMS, LAYOUTS, beside, described, wrong_frames
from lerobot_wallwm.language.event_grammar import END, PAUSE, START, learn_transitions
from lerobot_wallwm.language.instruction import parse_instruction
from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter, Segmentation
from lerobot_wallwm.processors.source.episodes import Episode, SourceDataset
from lerobot_wallwm.processors.source.events import Event, validate_events
from lerobot_wallwm.processors.view.language_rows import LanguageRows


def actions_of(episode: Episode) -> list[Event]:
    events = EventCaptioner()(episode, EventSegmenter()(episode))
    validate_events(number_events([events]), {episode.index: len(episode)})
    return [event for event in events if event.level == "action"]


# ------------------------------------------------------------------ two arms


@pytest.fixture(scope="module")
def demonstrations() -> list[Episode]:
    source = SourceDataset.open(DATASET)
    return [source.read(position) for position in (1, 2, 3, 4)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_each_of_two_arms_has_its_own_verbs_and_objects(demonstrations, layout, shift):
    pairs = [demonstrations[:2], demonstrations[2:]]
    made = [beside(left, right, shift, layout) for left, right in pairs]
    what = described([episode for episode, _ in made])
    assert {dim.part for dim in what.action} == set(ARMS) and len(what.grippers) == 2
    for pair, (episode, verbs) in zip(pairs, made, strict=True):
        objects = [parse_instruction(e.task)["object"] for e in pair]
        for wrong, counted in wrong_frames(replace(episode, embodiment=what), verbs, objects):
            assert counted > 40 and sum(wrong.values()) <= 0.15 * counted, wrong


def test_a_caption_says_the_arm_and_what_both_do_at_once(demonstrations):
    left, right = demonstrations[:2]
    episode, _ = beside(left, right, 0.5, LAYOUTS[0])
    captions = [event.caption for event in actions_of(episode)]
    assert captions[0].startswith("left arm: reach for the") and ";" not in captions[0]
    both = [caption for caption in captions if "; right arm: " in caption]
    assert both and all(caption.startswith("left arm: ") for caption in both)
    assert captions[-1].startswith("right arm: retreat from the")


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 50), st.floats(0.0, 1.2))
def test_the_table_of_two_arms_tiles_whatever_their_times(seed, shift):
    left, right = (pick_and_place(seed + i, 20, pause_s=0.2)[0] for i in (0, 1))
    episode, _ = beside(replace(left, index=10**6), replace(right, index=10**6), shift, LAYOUTS[0])
    actions = actions_of(episode)
    tracks = EventCaptioner().tracks(episode, EventSegmenter()(episode))
    assert set(tracks) == set(ARMS)
    assert {"grasp", "release"} <= {span.label for span in tracks["right arm"]["action"]}
    assert actions[0].start == 0 and actions[-1].end == len(episode)


def test_two_arms_go_through_the_rows_of_a_dataset_unchanged(demonstrations):
    episode, _ = beside(*demonstrations[:2], 0.5, LAYOUTS[0])
    rows = {name: [value] for name, value in episode.to_row().items()}
    mapped = EventCaptioner()(EventSegmenter()(rows))["events"][0]
    assert [row["caption"] for row in mapped if row["level"] == "action"] == [
        e.caption for e in actions_of(episode)
    ]


# ------------------------------------------------------------------ an arm on a base


def test_a_base_that_drives_and_turns_is_told_beside_the_arm():
    arm, _ = pick_and_place(2, 20, pause_s=0.2)
    before, after = 40, 30
    state, action = (np.pad(v, ((before, after), (0, 0)), mode="edge") for v in (arm.state, arm.action))
    base = np.zeros((len(state), 3))
    base[:before, 0], base[-after:, 2] = 0.2, 30.0
    names = (*(f"arm_{name}" for name in arm.state_names), "x.vel", "y.vel", "theta.vel")
    episode = Episode(0, arm.task, 20, np.hstack([state, base]), np.hstack([action, base]), names, names)
    actions = actions_of(episode)
    assert [actions[0].caption, actions[-1].caption] == ["drive the base", "turn the base"]
    assert abs(actions[0].end - before) <= 2 and abs(actions[-1].start - (before + len(arm))) <= 2
    assert {"grasp", "lift", "release"} <= {event.label for event in actions[1:-1]}
    assert not any("arm:" in event.caption for event in actions)


# ------------------------------------------------------------------ the end of an episode


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 200),
    st.sampled_from([10, 20, 30]),
    st.sampled_from(["smooth", "linear"]),
    st.integers(1, 4),
)
def test_an_episode_that_ends_as_the_gripper_opens_keeps_its_carry(seed, fps, style, after):
    episode, bounds = pick_and_place(seed, fps, style)
    end = bounds[PHASES.index("release") - 1] + after
    actions = actions_of(replace(episode, state=episode.state[:end], action=episode.action[:end]))
    release = [event for event in actions if event.label == "release"]
    assert sum(event.length for event in release) <= after + 2
    carry = sum(event.length for event in actions if event.label in ("lift", "move", "lower"))
    assert carry >= 0.8 * (bounds[5] - bounds[2])


@pytest.mark.parametrize("frames", [1, 2])
def test_a_release_of_one_frame_names_one_frame(frames):
    """No cut fits so near to the end, and no rest comes before: all since the grasp was once a release."""
    episode, bounds = pick_and_place(3, 20, "linear")
    action = episode.action.copy()
    action[bounds[5] :, 5] = 60.0  # at once
    end = bounds[5] + frames
    cut = replace(episode, state=episode.state[:end], action=action[:end])
    found = EventSegmenter()(cut)
    grasped = [c for c in found.cuts if c.frame <= bounds[2] + 2]
    events = EventCaptioner()(cut, Segmentation(end, tuple(grasped)))
    last = [(e.label, e.start, e.end) for e in events if e.level == "action"][-2:]
    assert last[0][0] == "move" and last[1] == ("release", bounds[5], end)


# ------------------------------------------------------------------ no gripper, and pauses


@pytest.mark.parametrize("named", [True, False])
def test_without_a_gripper_nothing_is_grasped_or_lifted(named):
    rng = np.random.default_rng(0)
    goals = np.cumsum(rng.normal(0, 120, (6, 2)), axis=0)
    steps = [np.linspace(a, b, 18) for a, b in zip(goals, goals[1:], strict=False)]
    path = np.concatenate(steps)
    names = ("x", "y") if named else ()
    episode = Episode(0, "push the T block onto the target", 10, path[:-1], path[1:], names, names)
    labels = {event.label for event in actions_of(episode)}
    assert labels <= {"reach", "move", "manipulate", "turn", "retreat", "wait"}
    assert episode.what.grippers == []


def test_a_pause_is_no_step_of_the_plan():
    sequence = ["reach", PAUSE, "reach", "grasp", PAUSE, "lift"]
    first = learn_transitions([sequence], order=1)
    assert first == learn_transitions([["reach", "grasp", "lift"]], order=1)
    assert PAUSE not in first and first[START] == {"reach": 1} and first["lift"] == {END: 1}
    twice = learn_transitions([["grasp", "grasp"]], order=1)
    assert twice["grasp"] == {"grasp": 1, END: 1}


def test_a_task_that_asks_to_wait_has_waiting_for_a_step():
    episode, _ = pick_and_place(0, 20, pause_s=1.5)
    captions = [event.caption for event in actions_of(episode)]
    assert PAUSE in captions
    asked = replace(episode, task="wait until the red cube comes, then pick it up")
    assert "wait" in [event.caption for event in actions_of(asked)]
    events = [
        Event(i, 0, "action", 10 * i, 10 * i + 10, "x", c, c, -1, 1.0, "")
        for i, c in enumerate(("a", PAUSE, "b"))
    ]
    plan = LanguageRows(events, "action").rows(0, np.arange(30), np.arange(30, dtype=np.float32) / 10)[0][
        "content"
    ]
    assert plan == "1. a\n2. b"
