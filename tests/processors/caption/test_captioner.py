# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Names of events at four levels."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import PHASES, pick_and_place

from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.segment.segmenter import Cut, EventSegmenter, Segmentation
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.source.events import validate_events


def caption(episode: Episode, cuts: list[int] | None = None):
    if cuts is None:
        segmentation = EventSegmenter()(episode)
    else:
        segmentation = Segmentation(len(episode), tuple(Cut(c, "action", 0.9, "pause") for c in cuts))
    events = EventCaptioner()(episode, segmentation)
    validate_events(events, {episode.index: len(episode)})
    return events


def texts(events, level):
    return [event.caption for event in events if event.level == level]


def labels(events):
    return [event.label for event in events if event.level == "action"]


def joint_episode(moves: list[tuple[str, float]], task: str, fps: int = 20) -> Episode:
    """Rest-to-rest moves; "move" moves the arm, "close"/"open" the gripper, "both" closes while moving."""
    rng = np.random.default_rng(0)
    arm, grip, rows = np.zeros(5), 60.0, [np.append(np.zeros(5), 60.0)]
    for kind, seconds in moves:
        goal = arm + rng.normal(size=5) * 30 if kind in ("move", "both") else arm
        goal_grip = {"close": 8.0, "both": 8.0, "open": 60.0}.get(kind, grip)
        steps = round(seconds * fps)
        for step in range(1, steps + 1):
            t = step / steps
            blend = t**3 * (10 - 15 * t + 6 * t * t)
            rows.append(np.append(arm + blend * (goal - arm), grip + blend * (goal_grip - grip)))
        arm, grip = goal, goal_grip
    names = tuple(f"{n}.pos" for n in ("a", "b", "c", "d", "e", "gripper"))
    return Episode(0, task, fps, np.array(rows[:-1]), np.array(rows[1:]), names, names)


def test_pick_and_place_at_four_levels():
    episode, bounds = pick_and_place(4, 20)
    events = caption(episode)
    assert labels(events) == list(PHASES)
    assert texts(events, "task") == ["pick up the red cube and place it on the blue disc"]
    assert texts(events, "subtask") == ["pick up the red cube", "place the red cube on the blue disc"]
    assert texts(events, "action") == [
        *(f"{verb} the red cube" for verb in ("reach for", "approach", "grasp", "lift")),
        "move the red cube to the blue disc",
        "lower the red cube onto the blue disc",
        "release the red cube",
        "retreat from the blue disc",
    ]
    place = next(e for e in events if e.caption.startswith("place"))
    assert abs(place.start - bounds[3]) <= 2


def test_templates_fill_to_captions_and_are_shared_between_tasks():
    episode, _ = pick_and_place(4, 20)
    other = replace(episode, task="pick up the green cup and put it into the brown box")
    one, two = caption(episode), caption(other)
    for a, b in zip(one, two, strict=True):
        if a.level == "task" or "{target}" in a.template:
            continue
        assert a.template == b.template
        assert b.caption == a.caption.replace("red cube", "green cup")
    assert "lower the green cup into the brown box" in texts(two, "action")


def test_a_missed_grasp_reads_sensibly():
    miss = [("move", 1), ("move", 0.7), ("close", 0.5), ("open", 0.5)]
    grasp = [*miss[:3], ("move", 0.8), ("move", 1), ("move", 0.7), ("open", 0.5), ("move", 0.8)]
    events = caption(joint_episode([*miss, *grasp], "put the cup on the plate"))
    assert labels(events) == ["reach", "approach", "grasp", "open", *PHASES]
    assert texts(events, "subtask") == ["pick up the cup", "place the cup on the plate"]


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7])
def test_a_cut_inside_the_closing_does_not_lose_the_grasp(at):
    episode, bounds = pick_and_place(4, 20)
    begin, end = bounds[1], bounds[2]
    inside = begin + max(1, round(at * (end - begin)))
    found = labels(caption(episode, sorted({*bounds, inside})))
    assert found.count("grasp") == 1 and found.count("release") == 1
    assert found.index("grasp") < found.index("lift") < found.index("release")


def test_lifting_only_and_going_home_with_a_closed_jaw():
    lift = caption(joint_episode([("move", 1), ("move", 0.8), ("close", 0.5), ("move", 1)], "lift the cube"))
    assert labels(lift) == ["reach", "approach", "grasp", "lift"]
    assert texts(lift, "subtask") == ["pick up the cube"]
    home = [("move", 1), ("close", 0.5), ("move", 1), ("open", 0.5), ("both", 1)]
    placed = caption(joint_episode(home, "put the cup on the plate"))
    assert labels(placed) == ["reach", "grasp", "move", "release", "retreat"]


def test_pushing_without_a_gripper():
    events = caption(joint_episode([("move", 1)] * 3, "push the block to the line"))
    pushed = "push the block to the line"
    assert texts(events, "action") == ["reach for the block", pushed, "retreat from the line"]
    assert texts(events, "subtask") == [pushed]


def test_an_unreadable_instruction_still_has_captions():
    episode, _ = pick_and_place(4, 20)
    events = caption(replace(episode, task=""))
    assert "grasp the object" in texts(events, "action")
    assert all(e.caption for e in events if e.level != "task")


@pytest.mark.parametrize("seconds", [0.5, 3])
def test_long_rests_are_waits_and_short_ones_are_not(seconds):
    moves = [("move", 1), ("rest", seconds), ("move", 1), ("close", 0.5), ("move", 1)]
    rested = 20 + round(seconds * 20)
    cuts = [20, rested, rested + 20, rested + 30]
    held = "hold still" in texts(caption(joint_episode(moves, "lift the cube"), cuts), "action")
    assert held == (seconds == 3)


def test_same_kind_of_event_has_the_same_string_in_every_episode():
    sets = [set(texts(caption(pick_and_place(seed, 30)[0]), "action")) for seed in range(4)]
    assert all(s == sets[0] for s in sets)


def test_numbering_keeps_ids_unique_and_parents_right():
    table = number_events([caption(pick_and_place(seed, 20, index=seed)[0]) for seed in range(3)])
    assert [e.event_id for e in table] == list(range(len(table)))
    validate_events(table)
    with pytest.raises(ValueError, match="EventSegmenter"):
        EventCaptioner()({"episode_index": [0]})


def test_what_is_in_the_gripper_from_the_start_is_placed_and_released():
    episode, bounds = pick_and_place(seed=3, pause_s=0.2)
    # From the lift on; and opened before it moves: nothing was held.
    held, opened = (
        labels(caption(replace(episode, state=episode.state[at:], action=episode.action[at:])))
        for at in (bounds[3], bounds[5])
    )
    assert "release" in held and held[-1] == "retreat" and "reach" not in held
    assert "release" not in opened


ROUND = [("move", 1), ("move", 0.7), ("close", 0.5), ("move", 0.8), ("move", 1), ("move", 0.7), ("open", 0.5)]


def test_each_round_is_captioned_by_its_own_step():
    task = "put the white mug on the left plate and put the yellow and white mug next to the right plate"
    events = caption(joint_episode([*ROUND, *ROUND, ("move", 0.8)], task))
    grasps = [e for e in events if e.label == "grasp" and e.level == "action"]
    assert [e.caption for e in grasps] == ["grasp the white mug", "grasp the yellow and white mug"]
    assert [e.template for e in grasps] == ["grasp the {object}", "grasp the {object2}"]
    said = texts(events, "action")
    assert "move the white mug to the left plate" in said
    assert "move the yellow and white mug next to the right plate" in said
    assert said[-1] == "retreat from the right plate"


def test_between_two_rounds_the_arm_leaves_what_it_set_down_before_it_reaches_on():
    task = "put the red cube on the black disc, then put the blue cube on the white disc"
    events = caption(joint_episode([*ROUND, ("move", 0.8), *ROUND, ("move", 0.8)], task))
    said = texts(events, "action")
    between = said[said.index("release the red cube") + 1 :][:3]
    assert between == ["retreat from the black disc", "reach for the blue cube", "approach the blue cube"]
    assert texts(events, "subtask")[1] == "place the red cube on the black disc"


def test_a_step_without_a_grasp_takes_no_round():
    events = caption(joint_episode([*ROUND, ("move", 0.8)], "turn on the stove and put the moka pot on it"))
    assert "grasp the moka pot" in texts(events, "action")
    assert "lower the moka pot onto the stove" in texts(events, "action")


def test_rounds_that_fit_no_step_hold_the_task_whole():
    task = "put the red cube and the blue cube in the box"
    events = caption(joint_episode([*ROUND, *ROUND, *ROUND], task))
    grasps = {(e.caption, e.template) for e in events if e.label == "grasp" and e.level == "action"}
    assert grasps == {(f"grasp the object: {task}", "grasp the object: {task}")}


def test_what_is_cleaned_is_not_what_the_gripper_holds():
    events = caption(joint_episode([*ROUND, ("move", 0.8)], "clean up the desk"))
    assert "grasp the object: clean up the desk" in texts(events, "action")
    wiping = caption(joint_episode([*ROUND, ("move", 0.8)], "wipe the table with the sponge"))
    assert {"grasp the sponge", "move the sponge to the table"} <= set(texts(wiping, "action"))


@pytest.mark.parametrize(
    "task", ["把红色方块放到黑色圆盘上", "Nimm den roten Würfel und lege ihn auf die Scheibe"]
)
def test_another_language_goes_whole_into_every_caption(task):
    episode, _ = pick_and_place(4, 20)
    events = caption(replace(episode, task=task))
    named = [e for e in events if e.label not in ("wait", "open", "close")]
    assert named and all(task in e.caption and task not in e.template for e in named)
