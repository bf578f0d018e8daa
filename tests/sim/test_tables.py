# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Tables with choices: what splits hold back, what is refused, how steps count, and that the expert does as it is told."""

import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest

from lerobot_env_so101_sim.colours import DISC_COLOURS, LEFT_OUT_PAIRS
from lerobot_env_so101_sim.tables.splits import PLANS, TABLE_SPLITS, draw, trained
from lerobot_env_so101_sim.tables.words import CUBES, Step, StepError, check_steps
from lerobot_env_so101_sim.task_progress import SceneTruth, StepsProgress

SCENARIOS = {
    split: [draw(split, np.random.default_rng([s, 101])) for s in range(300)] for split in TABLE_SPLITS
}
NOTHING = SceneTruth(1.0, False, 0.0, False, False)


@pytest.fixture(scope="module")
def make_table(make_env):
    """``make_env`` is asked for only because it skips where nothing can render."""
    from lerobot_env_so101_sim.tables.env import So101TableEnv

    made = []

    def make(**kwargs):
        made.append(So101TableEnv(**kwargs))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture(scope="module")
def blind_table():
    from lerobot_env_so101_sim.tables.env import So101TableEnv

    env = So101TableEnv(cameras=False)
    yield env
    env.close()


def _plan(steps):
    return "".join("S" if step.kind == "cube" else "P" for step in steps)


def _pairs(scenario):
    return {(s.cube.split()[0], s.place.split()[0]) for s in scenario.steps if s.kind != "cube"}


def _order(scenario):
    """The plan with its first two cubes; None for a single cube."""
    steps = scenario.steps
    if _plan(steps) == "P":
        return None
    two = (steps[0].cube, steps[0].place if steps[0].kind == "cube" else steps[1].cube)
    return _plan(steps), *two


@pytest.mark.parametrize("split", TABLE_SPLITS)
def test_every_drawn_instruction_can_be_done_and_names_what_it_moves(split):
    for scenario in SCENARIOS[split]:
        check_steps(scenario.steps, scenario.cubes, scenario.places)
        assert len({name.split()[0] for name in scenario.cubes}) == len(scenario.cubes)
        assert len({name.split()[0] for name in scenario.places}) == len(scenario.places)
        for step in scenario.steps:
            colour = step.cube.split()[0]
            assert colour in scenario.task or "the other cube" in scenario.task
            assert step.place in scenario.task or "on it" in scenario.task


def test_training_holds_back_half_of_the_combinations_and_every_piece_occurs():
    for plan in PLANS[1:]:
        kept = [two for two in permutations(CUBES, 2) if trained(plan, *two)]
        assert len(kept) == 6
        assert {one for one, _ in kept} == {other for _, other in kept} == set(CUBES)
        assert not {two[::-1] for two in kept} & set(kept)
    seen = SCENARIOS["seen"]
    assert {_plan(s.steps) for s in seen} == set(PLANS)
    assert {step.cube for s in seen for step in s.steps} == set(CUBES)
    assert {name.split()[0] for s in seen for name in s.places} == set(DISC_COLOURS)
    assert {step.kind for s in seen for step in s.steps} == {"disc", "bin", "cube"}


def test_splits_differ_from_training_in_what_they_are_named_for():
    for split, scenarios in SCENARIOS.items():
        pairs = set().union(*map(_pairs, scenarios))
        if split == "unseen_pairs":
            assert pairs <= set(LEFT_OUT_PAIRS)
        else:
            assert not pairs & set(LEFT_OUT_PAIRS)
        if not TABLE_SPLITS[split].pairs:
            new = split in ("unseen_orders", "unseen_compositions")
            assert all(trained(*_order(s)) != new for s in scenarios if _order(s))
    assert {len(s.steps) for s in SCENARIOS["unseen_compositions"]} == {3}
    assert {len(s.cubes) for s in SCENARIOS["more_objects"]} == {4}
    assert max(len(s.cubes) for s in SCENARIOS["seen"]) == 3
    words = {split: {s.task for s in SCENARIOS[split]} for split in ("seen", "paraphrases")}
    assert not words["seen"] & words["paraphrases"]
    assert [s.steps for s in SCENARIOS["seen"]] == [s.steps for s in SCENARIOS["paraphrases"]]


def test_pairs_are_two_instructions_for_one_table():
    for one, other in zip(SCENARIOS["pairs"], SCENARIOS["pairs_swapped"], strict=True):
        assert (one.steps, one.other) == (other.other, other.steps)
        assert (one.cubes, one.places, one.clutter) == (other.cubes, other.places, other.clutter)
        assert one.task != other.task and one.differ_in == other.differ_in
    assert {s.differ_in for s in SCENARIOS["pairs"]} == {"cube", "place", "order"}


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([("green cube", "black disc")], "there is no green cube on this table"),
        ([("red cube", "white disc")], "there is no white disc on this table"),
        ([("red cube", "red cube")], "cannot stand on itself"),
        ([("blue cube", "red cube"), ("red cube", "black disc")], "step 2 .*blue cube stands on it by then"),
        ([("red cube", "black disc"), ("blue cube", "black disc")], "red cube is there by then"),
        ([("red cube", "black disc"), ("blue cube", "red cube"), ("yellow cube", "blue cube")], "third cube"),
    ],
)
def test_steps_that_a_table_does_not_allow_are_refused(steps, says):
    with pytest.raises(StepError, match=says) as refused:
        check_steps([Step(*s) for s in steps], ("red cube", "blue cube", "yellow cube"), ("black disc",))
    assert "Fix: " in str(refused.value)


def test_rendering_is_chosen_before_mujoco_is_imported():
    """MuJoCo keeps the backend that it is first imported with; LeRobot imports the environment without having one."""
    code = "import sys, lerobot_env_so101_sim.tables.env; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_environment_refuses_what_its_table_does_not_hold(blind_table):
    blind_table.reset(seed=0)
    absent = next(cube for cube in CUBES if cube not in blind_table.scenario.cubes)
    with pytest.raises(StepError, match=f"no {absent}"):
        blind_table.reset(seed=0, options={"steps": [Step(absent, blind_table.scenario.places[0])]})


def test_other_steps_leave_the_scene_as_it_is(make_table):
    env = make_table()
    first, _ = env.reset(seed=2)
    cube, place = env.scenario.cubes[-1], env.scenario.places[-1]
    again, _ = env.reset(seed=2, options={"steps": [Step(cube, place)]})
    assert env.scenario.steps == (Step(cube, place),) and cube in env.task_description
    for camera in ("wrist", "overhead"):
        np.testing.assert_array_equal(first["pixels"][camera], again["pixels"][camera])


def test_same_seed_same_pixels_and_pairs_share_them(make_table):
    env, one, other = (
        make_table(split="more_objects"),
        make_table(split="pairs"),
        make_table(split="pairs_swapped"),
    )
    first = env.reset(seed=3)[0]
    env.reset(seed=4)
    again = env.reset(seed=3)[0]
    told, swapped = one.reset(seed=5)[0], other.reset(seed=5)[0]
    assert one.task_description != other.task_description
    for a, b in ((first, again), (told, swapped)):
        np.testing.assert_array_equal(a["agent_pos"], b["agent_pos"])
        for camera in ("wrist", "overhead"):
            np.testing.assert_array_equal(a["pixels"][camera], b["pixels"][camera])


@pytest.mark.parametrize("shift", ["camera", "light", "texture", "size"])
def test_a_shift_changes_the_look_and_nothing_else(make_table, shift):
    plain, shifted = make_table(), make_table(split=shift)
    for seed in (0, 1):
        usual, other = plain.reset(seed=seed)[0], shifted.reset(seed=seed)[0]
        assert plain.scenario.steps == shifted.scenario.steps
        assert plain.task_description == shifted.task_description
        np.testing.assert_allclose(usual["agent_pos"], other["agent_pos"])
        for cube in plain.scenario.cubes:
            here, there = plain.simulation.pose(cube), shifted.simulation.pose(cube)
            np.testing.assert_allclose(here[:2], there[:2], atol=1e-3)
        assert (usual["pixels"]["overhead"] != other["pixels"]["overhead"]).mean() > 0.01
    if shift == "camera":
        where = [
            env._cameras.project(env.simulation.data, "overhead", np.array([0.2, 0.0, 0.0]))
            for env in (plain, shifted)
        ]
        assert 0.05 < np.linalg.norm(where[0] - where[1]) < 0.5


def test_steps_count_in_their_order_only():
    done = [
        SceneTruth(0.0, False, 0.0, False, False),
        SceneTruth(0.0, True, 0.05, True, False),
        SceneTruth(0.1, False, 0.0, True, True),
    ]
    progress = StepsProgress(2)
    for truth in done:
        progress.update(lambda step, truth=truth: truth if step == 1 else NOTHING)
    assert progress.score == 0.0 and progress.current == 0
    for truth in done:
        progress.update(lambda step, truth=truth: truth if step == 0 else NOTHING)
    assert progress.score == 50.0 and progress.current == 1 and not progress.complete
    for truth in done:
        progress.update(lambda step, truth=truth: truth if step == 1 else NOTHING)
    assert progress.complete and progress.score == 100.0 and all(progress.flags.values())


@pytest.mark.parametrize("plan", ["SP", "PPS"])
def test_the_expert_does_every_plan_step_by_step(blind_table, plan):
    from lerobot_env_so101_sim.record import demonstrate, phase_rows

    seed = next(s for s in range(300) if _plan(SCENARIOS["seen"][s].steps) == plan)
    frames, commands, style, success = demonstrate(blind_table, seed)
    assert success and len(frames) < 240 * len(plan)
    assert sorted({command.step for command in commands}) == list(range(len(plan)))
    rows = phase_rows(0, seed, commands, style, steps=blind_table.named_steps())
    assert rows[-1]["end"] == len(frames)
    asked = {(step.cube, step.place, number) for number, step in enumerate(blind_table.scenario.steps)}
    assert {(row["object"], row["target"], row["step"]) for row in rows} == asked
    line = blind_table.about_scene()
    assert line["plan"] == plan and all(step["success"] for step in line["each_step"])
