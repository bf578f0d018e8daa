# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The guards around a whole policy, as LeRobot drives it: reload, batches, chunks, clocks, pictures."""

import copy
import gc
import json
import logging
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.envs.configs import EnvConfig
from lerobot.policies.factory import make_policy as make_lerobot_policy, make_pre_post_processors
from tiny_arm import CAMERAS, JOINTS

from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.hub.files.weights import WeightsError
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.modeling_wallwm import WallwmPolicy
from lerobot_wallwm.policies.safety import guards
from lerobot_wallwm.policies.safety.goal_guard import MotionLimits
from lerobot_wallwm.policies.safety.guards import MARK
from lerobot_wallwm.policies.safety.interventions import SafetyError

LIMITS = {"step": [2.0] * 5 + [10.0], "lead": [6.0] * 5 + [20.0]}
LIMITS |= {"state_low": [-60.0] * 5 + [0.0], "state_high": [60.0] * 5 + [100.0]}
STEP = torch.tensor([3.0] * 5 + [15.0])  # times the default rate_limit
CALM, NAN = torch.full((1, 6), 0.02), torch.full((1, 6), torch.nan)
WILD = torch.tensor([[0.9, -0.9, 5.0, -0.2, 0.3, 1.0]])


class Clock:
    """Seconds that pass when told to."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def limited(make_policy):
    """Builds a policy that has learned `LIMITS`, or those given."""

    def build(**fields):
        policy = make_policy(**{"motion_limits": dict(LIMITS), **fields})
        policy.config.learned.motion_limits = fields.get("motion_limits", dict(LIMITS))
        return policy

    return build


@pytest.fixture
def arm(limited, tiny_stats):
    """A policy on an arm, its clock, and its postprocessor."""

    def build(**fields):
        policy = limited(**{"guards": "arm", **fields})
        policy.guards.clock = Clock()
        _, post = make_pre_post_processors(policy.config, dataset_stats=tiny_stats)
        return policy, policy.guards.clock, post

    return build


def pose(**joints: float) -> torch.Tensor:
    """Of the arm at rest, but for some joints."""
    return torch.tensor([[joints.get(name, 50.0 if name == "gripper" else 0.0) for name in JOINTS]])


def observation(seed: int = 0, state: torch.Tensor | None = None, rows: int = 1) -> dict:
    generator = torch.Generator().manual_seed(seed)
    pictures = {key: torch.rand(rows, 3, 32, 32, generator=generator) for key in CAMERAS}
    state = pose().expand(rows, -1) if state is None else state
    return {**pictures, "observation.state": state, "task": ["lift it"] * rows}


def wants(policy, *actions: torch.Tensor):
    """Makes the policy want these normalised actions, the last for ever; returns what it was asked and what it must forget."""
    left, forgotten, calls = list(actions), [], []

    def step(observation):
        forgotten.extend(sorted(observation.void))
        if observation.held.all():
            return None
        calls.append(observation.batch)
        return (left.pop(0) if len(left) > 1 else left[0]).clone()

    policy.rollout.step = step
    return calls, forgotten


def goals(policy, post, count: int, start: int = 0, **kwargs) -> torch.Tensor:
    return torch.cat([post(policy.select_action(observation(start + k, **kwargs))) for k in range(count)])


def test_the_first_goal_starts_from_the_pose_and_goes_no_faster_than_the_data(arm):
    policy, _, post = arm()
    wants(policy, WILD)
    sent = goals(policy, post, 40)
    steps = torch.diff(torch.cat((observation()["observation.state"], sent)), dim=0).abs()
    assert bool((steps <= STEP + 1e-4).all()) and bool((steps[0] > STEP - 1e-3)[:2].all())
    torch.testing.assert_close(sent[-1], torch.tensor([54.0, -54.0, 60.0, -12.0, 18.0, 100.0]))
    report = policy.safety_report()
    assert report["ticks"] == 40 and report["interventions"]["range"] == 40
    assert report["joints"]["range"] == {"elbow_flex": 40}


def test_an_arm_outside_the_range_comes_in_slowly_through_the_whole_pipeline(arm):
    policy, _, post = arm()
    wants(policy, torch.zeros(1, 6))
    sent = goals(policy, post, 3, state=pose(shoulder_pan=-70.0))
    torch.testing.assert_close(sent[:, 0], torch.tensor([-67.0, -64.0, -61.0]))


def test_a_tensor_that_did_not_come_straight_from_the_policy_is_clamped(arm):
    policy, _, post = arm()
    wants(policy, torch.zeros(1, 6))
    action = policy.select_action(observation(state=pose(shoulder_pan=-70.0)))
    assert getattr(action, MARK) and not hasattr(action.clone(), MARK)
    assert float(post(action.clone())[0, 0]) == -60.0


def test_an_untouched_action_is_the_policys_own_bit_for_bit(arm):
    policy, _, _ = arm()
    inside = torch.tensor([[0.01, -0.03, 0.02, 0.0, 0.049, 0.1]])
    wants(policy, inside)
    assert torch.equal(policy.select_action(observation()), inside)
    assert policy.safety_report()["interventions"] == {}


def test_nan_is_held_counted_and_ends_the_run(arm, monkeypatch):
    monkeypatch.setattr(guards, "MAX_BAD_GOALS", 4)
    policy, _, post = arm()
    _, forgotten = wants(policy, CALM, NAN)
    sent = goals(policy, post, 4)
    assert bool((sent[1:] == sent[0]).all())
    assert forgotten  # it looks again
    with pytest.raises(SafetyError, match="4 goals were not finite"):
        policy.select_action(observation(9))
    assert policy.safety_report()["interventions"]["non_finite"] == 4


@pytest.mark.parametrize(("between", "ends"), [(1, True), (3, True), (4, False)])
def test_bad_goals_between_good_ones_end_the_run_unless_these_are_as_many(arm, between, ends, monkeypatch):
    monkeypatch.setattr(guards, "MAX_BAD_GOALS", 4)
    policy, _, _ = arm()
    plan = [CALM, *[NAN, *[CALM] * between] * 6]
    wants(policy, *plan)
    sent = 0
    with pytest.raises(SafetyError, match="4 goals were not finite") if ends else nullcontext():
        for tick in range(len(plan)):
            policy.select_action(observation(tick))
            sent += 1
    assert sent == (1 + 3 * (1 + between) if ends else len(plan))


def test_broken_weights_are_refused_before_there_is_an_arm(make_policy, tmp_path):
    policy = make_policy()
    next(policy.model.action.parameters()).data[..., 0] = torch.nan
    policy.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"1 of its tensors hold NaN or infinity \(model.action"):
        WallwmPolicy.from_pretrained(tmp_path)


def test_a_model_that_overflows_holds_the_observed_pose(arm, monkeypatch):
    """Finite weights, not finite actions: found at the first goal."""
    monkeypatch.setattr(guards, "MAX_BAD_GOALS", 3)
    policy, _, post = arm()
    for parameter in policy.model.action.parameters():
        parameter.data.mul_(1e30)
    sent = goals(policy, post, 2)
    torch.testing.assert_close(sent, observation()["observation.state"].expand(2, 6))
    with pytest.raises(SafetyError, match="3 goals were not finite"):
        policy.select_action(observation(7))


def test_a_plan_that_is_over_holds_what_the_arm_was_told(arm):
    """Not what the policy had wanted, which may be far away or no number."""
    policy, _, post = arm(planner="instruction")
    policy.select_action(observation())
    cursor = policy.rollout.cursors[0]
    cursor.queue.clear()
    cursor.queue.append(torch.tensor([torch.nan] * 6))
    held = post(policy.select_action(observation(1)))
    path = policy.rollout.robots[0].path  # where the next plan goes on from
    assert path.last is not None
    assert torch.isfinite(held).all() and torch.isfinite(path.last).all()
    policy.select_action(observation(2))  # looks again
    cursor.queue.clear()
    cursor.queue.append(torch.full((6,), 0.9))
    limited = post(policy.select_action(observation(3)))
    policy.rollout.remember_command(policy.guards.before(observation(3)).sent)
    torch.testing.assert_close(path.last[:5], limited[0, :5] / 60)
    assert float(limited[0, 0]) < 15 < 0.9 * 60


def test_environments_of_a_batch_are_guarded_each_by_itself(arm):
    policy, _, post = arm(guards="simulation")
    wants(policy, torch.cat((torch.zeros(1, 6), NAN, torch.full((1, 6), 0.9))))
    sent = goals(policy, post, 2, rows=3)
    torch.testing.assert_close(sent[-3:], torch.cat((pose(), pose(), torch.tensor([[6.0] * 5 + [80.0]]))))


def test_two_policies_and_a_copy_share_nothing(arm):
    first, second = arm()[0], arm()[0]
    third = copy.deepcopy(first)
    for policy in (first, second, third):
        wants(policy, WILD)
    for k in range(5):
        first.select_action(observation(k))
    assert second.safety_report()["ticks"] == third.safety_report()["ticks"] == 0
    assert torch.equal(second.select_action(observation()), third.select_action(observation()))
    assert first.guards.goals is not third.guards.goals


def test_a_new_rollout_starts_from_the_pose_again(arm):
    policy, _, post = arm()
    wants(policy, WILD)
    before = goals(policy, post, 10)
    policy.reset()
    wants(policy, WILD)
    assert torch.equal(goals(policy, post, 1), before[:1])


def test_a_chunk_is_limited_like_ticks_and_inside_the_limits_it_is_untouched(arm):
    policy, _, post = arm()
    policy.rollout.event = lambda batch: torch.linspace(0, 4, 12)[None, :, None].expand(1, 12, 6).clone()
    chunk = post(policy.predict_action_chunk(observation()))
    assert chunk.shape == (1, 12, 6)
    assert bool((chunk.diff(dim=1).abs() <= STEP + 1e-4).all())
    assert bool((chunk <= torch.tensor([60.0] * 5 + [100.0]) + 1e-4).all())
    policy, _, _ = arm(guards="simulation")
    wanted = torch.linspace(0, 0.2, 12)[None, :, None].expand(1, 12, 6).clone()
    policy.rollout.event = lambda batch: wanted
    assert torch.equal(policy.predict_action_chunk(observation()), wanted)


def slowed(policy, clock, seconds: float):
    """Makes each inference take so long; returns how it was before."""
    plan = policy.rollout.step

    def slow(batch):
        clock.now += seconds
        return plan(batch)

    policy.rollout.step = slow
    return plan


def test_a_late_plan_is_dropped_and_the_arm_held(arm):
    policy, clock, post = arm()
    _, forgotten = wants(policy, CALM)
    first = goals(policy, post, 1)
    plan = slowed(policy, clock, 1.5)
    assert torch.equal(first, goals(policy, post, 1, start=1)) and forgotten == []
    policy.rollout.step = plan
    goals(policy, post, 1, start=2)
    assert forgotten == [0]
    assert policy.safety_report()["interventions"] == {"late_inference": 1}
    slowed(policy, clock, 1.5)
    with pytest.raises(SafetyError, match="3 inferences in a row took longer than --policy.watchdog_s=1"):
        goals(policy, post, 3, start=3)


def test_the_first_inference_may_take_its_time(arm):
    policy, clock, post = arm()
    wants(policy, CALM)
    slowed(policy, clock, 30)
    torch.testing.assert_close(goals(policy, post, 1), pose())
    assert policy.guards._late == 0


def test_after_a_gap_plans_are_dropped_and_goals_start_at_the_arm(arm):
    policy, clock, post = arm()
    _, forgotten = wants(policy, torch.full((1, 6), 0.9))
    goals(policy, post, 10)
    clock.now += 5
    moved = torch.tensor([[-40.0] * 5 + [50.0]])
    (after,) = goals(policy, post, 1, start=20, state=moved)
    assert forgotten == [0] and policy.safety_report()["interventions"]["late_call"] == 1
    torch.testing.assert_close(after[:5], torch.full((5,), -40.0 + 6.0 + 3.0))  # lead, then a step


def test_a_simulator_may_take_as_long_as_it_likes(arm):
    policy, clock, _ = arm(guards="simulation")
    wants(policy, CALM)
    for k in range(5):
        clock.now += 60
        assert torch.equal(policy.select_action(observation(k)), CALM)
    assert policy.safety_report()["interventions"] == {}


ACTION, STATE = (PolicyFeature(kind, (6,)) for kind in (FeatureType.ACTION, FeatureType.STATE))


@dataclass
class TinyEnv(EnvConfig):
    """A simulator as `lerobot-eval` describes it to `make_policy`."""

    task: str = "lift"
    features: dict = field(default_factory=lambda: {"action": ACTION, "agent_pos": STATE})
    features_map: dict = field(default_factory=lambda: {"action": "action", "agent_pos": "observation.state"})
    gym_kwargs = {}


def test_auto_guards_go_by_what_lerobot_hands_in(make_policy, tiny_view, tmp_path):
    make_policy(guards="auto").save_pretrained(tmp_path)

    def saved() -> WallwmConfig:
        config = PreTrainedConfig.from_pretrained(tmp_path)
        config.pretrained_path = tmp_path
        return config

    # A script, and LeRobot's policy server, which hand in nothing.
    assert WallwmPolicy.from_pretrained(tmp_path).guards.on_arm
    # lerobot-rollout (lerobot/rollout/context.py): the saved configuration, and a word on torch.compile.
    config = saved()
    config.compile_model = False
    assert WallwmPolicy.from_pretrained(tmp_path, config=config).guards.on_arm
    # lerobot-eval and lerobot-train: the features of the environment or dataset.
    rename = {"observation.image": "observation.images.top"}  # the tiny environment has no cameras to compare
    policy = make_lerobot_policy(saved(), env_cfg=TinyEnv(), rename_map=rename)
    assert not policy.guards.on_arm
    policy.save_pretrained(tmp_path / "again")
    assert WallwmPolicy.from_pretrained(tmp_path / "again").guards.on_arm
    meta = LeRobotDatasetMetadata("tiny/train", root=tiny_view / "train")
    assert not make_lerobot_policy(saved(), ds_meta=meta).guards.on_arm
    # A newer rollout that calls make_policy too.
    config = saved()
    config.compile_model = False
    assert make_lerobot_policy(config, env_cfg=TinyEnv(), rename_map=rename).guards.on_arm
    config.guards = "simulation"  # a person's word goes before all
    assert not WallwmPolicy.from_pretrained(tmp_path, config=config).guards.on_arm


def moving(k: int) -> torch.Tensor:
    return pose(shoulder_pan=float(k))


def test_a_frozen_camera_holds_the_arm_and_then_ends_the_run(arm):
    policy, clock, post = arm()
    calls, forgotten = wants(policy, CALM)
    frozen = observation(0)[CAMERAS[1]]
    for k in range(200):
        clock.now += 1 / 30
        looks = {**observation(k), "observation.state": moving(min(k, 30)), CAMERAS[1]: frozen}
        try:
            post(policy.select_action(looks))
        except SafetyError as error:
            assert "'observation.images.wrist' has shown the same picture" in str(error)
            break
    held = policy.safety_report()["interventions"]["frozen_camera"]
    assert 70 < k < 80 and 55 < held < 65  # half a second to notice, two to give up
    assert len(calls) == k - held + 1 and forgotten  # nothing was planned on a dead picture


def test_a_frozen_camera_that_comes_back_goes_on(arm):
    policy, clock, post = arm()
    calls, _ = wants(policy, CALM)
    for k in range(60):
        clock.now += 1 / 30
        looks = {**observation(k), "observation.state": moving(min(k, 30))}
        if k < 40:
            looks[CAMERAS[0]] = observation(0)[CAMERAS[0]]
        post(policy.select_action(looks))
    assert policy.safety_report()["interventions"]["frozen_camera"] > 10 and len(calls) > 30


def test_in_a_simulator_pictures_change_nothing(arm):
    policy, _, _ = arm(guards="simulation")
    wants(policy, CALM)
    black = {key: torch.zeros(1, 3, 32, 32) for key in CAMERAS}
    for k in range(100):
        looks = {**observation(k), **black, "observation.state": moving(min(k, 50))}
        assert torch.equal(policy.select_action(looks), CALM)
    assert policy.safety_report()["interventions"]["dark_camera"] == 200  # but they are counted


def test_a_pose_that_is_no_number_holds_the_arm(arm):
    policy, _, post = arm()
    calls, _ = wants(policy, CALM)
    first = goals(policy, post, 1)
    held = goals(policy, post, 2, start=1, state=pose(shoulder_pan=torch.nan))
    assert torch.equal(held, first.expand(2, 6))
    assert len(calls) == 1 and policy.safety_report()["interventions"]["bad_state"] == 2


def test_another_arm_is_refused_before_the_first_goal(arm):
    policy, _, _ = arm()
    calls, _ = wants(policy, torch.zeros(1, 6))
    looks = observation(state=pose(elbow_flex=170.0))
    looks["observation.images.hand"] = looks.pop(CAMERAS[1])
    with pytest.raises(SafetyError, match="nothing was sent to it") as error:
        policy.select_action(looks)
    for difference in ("no camera 'wrist', but 'hand'", "elbow_flex stands at 170.0"):
        assert difference in str(error.value)
    assert not calls
    with pytest.raises(SafetyError, match="the robot has 5 joints, the checkpoint 6"):
        policy.select_action({**observation(), "observation.state": torch.zeros(1, 5)})


def test_interventions_are_written_line_by_line(arm, tmp_path):
    file = tmp_path / "logs" / "safety.jsonl"
    policy, _, post = arm(safety_log=str(file))
    wants(policy, torch.tensor([[0.9] + [0.0] * 5]), NAN)
    goals(policy, post, 2)
    policy.guards.diary.log.flush()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    found = [(line["kind"], line["joint"]) for line in lines]
    assert found == [("rate", "shoulder_pan"), ("non_finite", None)]
    assert lines[0]["asked"] == pytest.approx(54.0) and lines[0]["sent"] == pytest.approx(3.0)


def test_a_full_disk_does_not_stop_the_arm(arm, caplog):
    policy, _, post = arm(safety_log="/dev/full")
    wants(policy, WILD)
    with caplog.at_level(logging.WARNING):
        goals(policy, post, 3)
        policy.guards.diary.log.flush()
    assert "cannot be written" in caplog.text and policy.safety_report()["interventions"]["range"] == 3


def test_the_log_is_not_flooded(arm, caplog):
    policy, _, post = arm()
    wants(policy, WILD)
    with caplog.at_level(logging.WARNING):
        goals(policy, post, 50)
    assert len([r for r in caplog.records if "Safety guard 'range'" in r.message]) == 1
    with caplog.at_level(logging.WARNING):  # when LeRobot lets go of the policy
        del policy
        gc.collect()
    assert "Safety guards: " in caplog.text and "range 50 (elbow_flex 50)" in caplog.text


def test_limits_and_flags_survive_a_reload_and_another_arm_replaces_them(limited, tiny_stats, tmp_path):
    limited(rate_limit=2.5).save_pretrained(tmp_path)
    again = WallwmPolicy.from_pretrained(tmp_path)
    assert again.config.learned.motion_limits == LIMITS
    assert again.guards.goals.limits.step.tolist() == [5.0] * 5 + [25.0]
    state = {**tiny_stats["observation.state"], "max": torch.tensor([9.0] * 6)}
    tuned = WallwmPolicy.from_pretrained(tmp_path, dataset_stats={**tiny_stats, "observation.state": state})
    assert tuned.config.learned.motion_limits == {"state_low": LIMITS["state_low"], "state_high": [9.0] * 6}


def test_a_checkpoint_without_limits_acts_and_says_what_it_lacks(make_policy, caplog):
    with caplog.at_level(logging.WARNING):
        action = make_policy().select_action(observation())
    assert "knows no motion limits" in caplog.text and "Fix: train it" in caplog.text
    assert torch.isfinite(action).all()


@pytest.mark.parametrize(
    ("name", "value"), [("guards", "maybe"), ("rate_limit", -1.0), ("watchdog_s", float("nan"))]
)
def test_settings_that_no_guard_can_follow_are_refused(make_config, name, value):
    with pytest.raises(ValueError, match=f"--policy.{name}"):
        make_config(**{name: value})


@pytest.mark.parametrize(
    "limits", [{"step": [float("nan")]}, {"lead": [-1.0]}, {"state_low": [float("-inf")]}]
)
def test_limits_that_are_none_are_refused(limits, tmp_path):
    """A rate of NaN would be no limit at all."""
    Learned(motion_limits=limits).write(tmp_path)
    with pytest.raises(ValueError, match="motion_limits"):
        Learned.read(tmp_path)


def test_training_batches_do_not_meet_the_guards(make_policy, make_train_batch):
    policy = make_policy(guards="arm").train()
    loss, _ = policy.forward(make_train_batch(policy.config))
    assert torch.isfinite(loss) and policy.safety_report()["ticks"] == 0


def test_limits_in_the_robots_units(arm):
    limits = arm()[0].guards.goals.limits
    assert isinstance(limits, MotionLimits) and limits.names[0] == "shoulder_pan"
    torch.testing.assert_close(torch.from_numpy(limits.step).float(), STEP)
