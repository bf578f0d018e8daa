# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Event mode through LeRobot's face of the policy: orders, durations, stalls, the diary, and the hooks of LeRobot's main."""

import json
from collections import deque

import pytest
import torch
from tiny_arm import PICK, TINY_TASK as TASK

from lerobot_wallwm.policies.acting.seams import LEAST_ACCELERATION
from lerobot_wallwm.policies.safety.interventions import MAX_BAD_GOALS, SafetyError


@pytest.fixture
def arm(lasting_policy, make_observation):
    """Builds a policy whose looks always predict the same remaining time, and a tick of an arm that follows its goals."""

    def build(frames: float = 30.0, **fields):
        policy = lasting_policy(
            frames, **{"event_max_frames": dict.fromkeys(PICK, 40), "replan_steps": 3, **fields}
        )
        policy.reset()
        state = [torch.zeros(1, 6)]

        def tick(task: str = TASK, follows: bool = True) -> torch.Tensor:
            observation = make_observation([task], seed=policy.rollout.tick)
            action = policy.select_action({**observation, "observation.state": state[0]})
            if follows:
                state[0] = policy.action_space.absolute(action)
            return action

        return policy, tick

    return build


def diary(policy, path) -> list[dict]:
    policy._log.flush()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_order_in_a_file_is_followed_while_running(arm, tmp_path):
    file, log = tmp_path / "events.txt", tmp_path / "log.jsonl"
    policy, tick = arm(planner="human", planner_file=str(file), event_log=str(log))
    cursor = lambda: policy.rollout.cursors[0]  # noqa: E731
    first = tick()
    assert cursor().caption is None  # nobody said anything: it holds the pose that it sees
    torch.testing.assert_close(policy.action_space.absolute(first), torch.zeros(1, 6), atol=1e-4, rtol=0)
    file.write_text("grasp the red cube\n")
    tick()
    assert cursor().caption == "grasp the red cube"
    file.write_text("grasp the red cube\nhold\n")
    held = [tick() for _ in range(12)]
    assert torch.equal(held[-1], held[-2]) and cursor().caption == "grasp the red cube"
    file.write_text("grasp the red cube\nhold\ngo\n")
    assert not torch.equal(tick(), held[-1]) and cursor().caption == "grasp the red cube"
    file.write_text("dance\n")
    tick()
    assert cursor().caption == "grasp the red cube"
    file.write_text("next\n")
    tick()
    assert cursor().caption == "move the red cube to the blue disc"
    file.write_text("stop\n")
    tick()
    assert cursor().caption is None
    lines = diary(policy, log)
    orders = {line["text"]: line["accepted"] for line in lines if line["kind"] == "order"}
    assert list(orders) == ["grasp the red cube", "hold", "go", "dance", "next", "stop"]
    assert [text for text, accepted in orders.items() if not accepted] == ["dance"]
    assert sum(line["kind"] == "order" for line in lines) == 6
    assert [line["why"] for line in lines if line["kind"] == "end"] == ["person", "person"]


@pytest.mark.parametrize("background", [False, True])
def test_a_plan_may_say_how_long_an_event_takes(arm, tmp_path, background):
    """Whatever the model predicts (30 frames), and beyond what the data has seen."""
    log = tmp_path / "log.jsonl"
    script = ["reach for the red cube | 0.7 s", "grasp the red cube | 1.2 s"]
    policy, tick = arm(planner="script", script=script, event_log=str(log), background_inference=background)
    for _ in range(40):
        tick()
        if background and policy.rollout.worker.busy:
            policy.rollout.worker._job.result()  # an unhurried arm
    ends = [line for line in diary(policy, log) if line["kind"] == "end"]
    assert [(line["frames"], line["why"]) for line in ends] == [(7, "duration"), (12, "duration")]


def test_the_window_is_as_long_as_the_plan_says(arm):
    policy, tick = arm(planner="script", script=["reach for the red cube | 0.5 s"], replan_steps=0)
    lengths = []
    plan = policy.rollout.plan_and_decode

    def watched(batch, captions, imagination, generators, length, *more):
        lengths.append(length.tolist())
        made = plan(batch, captions, imagination, generators, length, *more)
        assert made.length.tolist() == [5]
        return made

    policy.rollout.plan_and_decode = watched
    tick()
    assert lengths == [[5]]


def test_a_duration_without_sense_is_refused_at_once(arm):
    policy, tick = arm(planner="script", script=["reach for the red cube | a while"])
    with pytest.raises(ValueError, match="'a while' is no duration"):
        tick()


@pytest.mark.parametrize(
    ("on_stall", "actions"),
    [("retry", ["retry"] * 3), ("next", ["retry", "next"] * 2), ("hold", ["retry", "hold"])],
)
def test_an_arm_that_does_not_move_is_looked_at_again(arm, tmp_path, on_stall, actions):
    log = tmp_path / "log.jsonl"
    stalls = {"retries": 1, "stall_s": 0.8, "stall_distance": 3.0, "on_stall": on_stall}
    policy, tick = arm(300.0, event_max_frames=dict.fromkeys(PICK, 1000), event_log=str(log), **stalls)
    policy.action_space.scale.fill_(40.0)  # far goals
    for _ in range(42):
        tick(follows=False)
    stalls = [line for line in diary(policy, log) if line["kind"] == "stall"]
    assert [line["action"] for line in stalls][: len(actions)] == actions
    names = set(policy.config.action_feature_names[:5])
    assert all(line["joints"] and set(line["joints"]) <= names for line in stalls)
    why = [line["why"] for line in diary(policy, log) if line["kind"] == "end"]
    assert why == (["stall"] * len(why)) and bool(why) == (on_stall == "next")
    if on_stall == "hold":
        assert torch.equal(tick(follows=False), tick(follows=False))


def test_an_arm_that_follows_never_stalls(arm):
    policy, tick = arm(stall_s=0.5, stall_distance=1.0)
    for _ in range(40):
        tick()
    assert "stall" not in policy._log.counts


def test_the_first_commands_lead_away_from_the_pose_that_is_seen(arm):
    policy, tick = arm()
    pose = policy.action_space.normalized(torch.zeros(1, 6))
    actions = torch.stack([pose, pose, *(tick() for _ in range(3))])[:, 0]
    jump = float((policy.rollout.cursors[0].queue or deque([actions[-1]]))[-1].sub(actions[0]).abs().max())
    assert float((actions[2] - actions[1]).abs().max()) < 0.25 * max(jump, 0.2)


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_the_first_commands_accelerate_as_the_demonstrations_do(arm, factor):
    policy, tick = arm(seam_acceleration=factor, rate_limit=0.0)
    learned = torch.tensor([4.0, 0.0, 3.0, 9.0, 5.0, 2.0])
    policy.config.learned.motion_limits["acceleration"] = learned.tolist()
    space = policy.action_space
    half = (space.range_high - space.range_low) / 2
    pose = space.normalized(torch.zeros(1, 6))[0].clamp(-1, 1)
    commands = [pose, pose]
    while len(commands) < 3 or (policy.rollout.robots[0].path.behind and policy.rollout.cursors[0].queue):
        commands.append(tick()[0].clamp(-1, 1))
    found = torch.stack(commands).diff(n=2, dim=0) * half
    most = factor * torch.maximum(learned, LEAST_ACCELERATION * half)
    assert bool((found.abs() <= most + 1e-3).all())
    assert bool((found.abs().amax(0) > 0.5 * most).any())  # it is not slower than it need be


def test_a_model_gone_mad_holds_the_arm(arm):
    policy, tick = arm()
    for parameter in policy.model.parameters():
        parameter.data.fill_(float("nan"))
    actions = torch.stack([tick() for _ in range(MAX_BAD_GOALS - 1)])
    assert torch.isfinite(actions).all() and torch.equal(actions[0], actions[-1])
    with pytest.raises(SafetyError, match="not finite"):
        tick()


def test_it_names_the_next_event_and_goes_nowhere(arm, make_policy, make_observation):
    policy, tick = arm()
    assert policy.supports_text_generation()
    observation = make_observation([TASK])
    assert policy.generate_text(observation) == "reach for the red cube"  # before anything was done
    tick()
    assert policy.rollout.cursors[0].caption == "reach for the red cube"
    assert [policy.generate_text(observation) for _ in range(2)] == ["grasp the red cube"] * 2
    assert policy.generate_text({**observation, "query_kind": "next_subtask"}) == "grasp the red cube"
    assert not make_policy(planner="instruction").supports_text_generation()  # without a plan


def test_dropped_actions_are_looked_for_again_within_the_event(arm):
    policy, tick = arm(replan_steps=5)
    tick()
    assert len(policy._action_queue) == 4 and policy._action_queue is policy.rollout.cursors[0].queue
    looks = policy._log.counts["look"]
    policy.drop_queued_actions()
    assert len(policy._action_queue) == 0
    tick()
    assert policy._log.counts["look"] == looks + 1 and policy.rollout.cursors[0].frames_in_event == 6
    policy.reset()
    assert len(policy._action_queue) == 0


SERVER = {"planner": "vlm", "planner_model": "m"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"planner": "human"}, "planner=human needs --policy.planner_file=events.txt, or - for"),
        ({"planner": "vlm"}, "planner=vlm needs --policy.planner_model"),
        ({**SERVER, "planner_url": "ftp://x"}, "planner_url must start with"),
        ({**SERVER, "planner_url": "http://a:secret@x/v1"}, "planner_url must hold no password"),
        ({"seam_acceleration": -1.0}, "seam_acceleration must be a finite number of at least 0, got -1"),
        ({"stall_s": float("nan")}, "stall_s must be a finite number"),
        ({"on_stall": "panic"}, "on_stall=panic is not available: choose one of retry, next, hold"),
        (
            {"background_inference": True, "save_predicted_video": True},
            "background_inference=true does not go",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_flag(make_config, fields, message):
    with pytest.raises(ValueError, match=f"--policy.{message}"):
        make_config(**fields)
