# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What LeRobot after 0.6.1 asks of a policy, against small stand-ins of its interface; 0.6.1 asks for none of it."""

import sys
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType

import pytest
import torch
from tiny_arm import TINY_TASK as TASK, grammar


class ExecutionMode(StrEnum):
    """`lerobot.inference.ExecutionMode`."""

    CHUNK = "chunk"
    RTC_GUIDED = "rtc_guided"
    RTC_TRAINED = "rtc_trained"


@dataclass(frozen=True)
class ChunkPolicySpec:
    """`lerobot.inference.ChunkPolicySpec`."""

    prediction_steps: int
    execution_steps: int
    modes: tuple[ExecutionMode, ...] = (ExecutionMode.CHUNK,)
    current_observation_only: bool = True

    def __post_init__(self) -> None:
        assert 0 < self.execution_steps <= self.prediction_steps


@pytest.fixture
def planned(make_policy, monkeypatch):
    inference = ModuleType("lerobot.inference")
    inference.ChunkPolicySpec, inference.ExecutionMode = ChunkPolicySpec, ExecutionMode
    monkeypatch.setitem(sys.modules, "lerobot.inference", inference)

    def build(**fields):
        policy = make_policy(**grammar(8), **fields)
        policy.reset()
        return policy

    return build


def test_a_server_gets_chunks_of_the_declared_length(planned, make_observation):
    policy = planned(replan_steps=3)
    spec = policy.chunk_inference_spec()
    assert spec == ChunkPolicySpec(policy.config.chunk_size, policy.config.n_action_steps)
    assert (spec.prediction_steps, spec.execution_steps) == (policy.config.horizon, 3)
    for seed in range(3):
        chunk = policy.predict_action_chunk(make_observation([TASK], seed=seed))
        assert chunk.shape[1] == spec.prediction_steps


def test_the_rtc_engine_gets_chunks_of_the_declared_length(planned, make_observation):
    policy = planned()
    policy.init_rtc_processor()  # before the engine asks
    spec = policy.chunk_inference_spec()
    assert ExecutionMode.RTC_GUIDED in spec.modes
    left, delay = None, 0
    for seed in range(12):
        chunk = policy.predict_action_chunk(
            make_observation([TASK], seed=seed), inference_delay=delay, prev_chunk_left_over=left
        )
        assert chunk.shape == (1, spec.prediction_steps, 6) and bool(torch.isfinite(chunk).all())
        rest, delay = chunk[0, 3:], 2
        left = torch.cat((rest, rest[-1:].expand(10, -1)))[:10]  # padded with its last row, not with zeros


def test_what_an_interactive_session_asks_is_answered_and_goes_nowhere(planned, make_observation):
    policy, observation = planned(), make_observation([TASK])
    ask = lambda kind: policy.generate_text({**observation, "query_kind": kind, "query_text": "What now?"})  # noqa: E731
    assert ask("next_subtask") == "reach for the red cube" and "reach for the red cube" in ask("vqa")
    policy.select_action(observation)
    assert ask("next_subtask") == "grasp the red cube"
    assert ask("vqa") == "The event is: reach for the red cube. Next: grasp the red cube."
    for seed in range(60):
        policy.select_action(make_observation([TASK], seed=seed))
    assert policy.rollout.cursors[0].caption is None
    assert ask("next_subtask") == TASK  # the plan is done; an empty answer would be an error
    assert ask("vqa") == f"No event is under way; the task is: {TASK}."


def test_states_of_the_future_need_not_be_loaded(make_policy, make_config, make_train_batch):
    policy = make_policy()
    assert policy.config.image_observation_delta_indices == policy.config.observation_delta_indices
    assert policy.config.state_observation_delta_indices == [0]
    assert len(make_config(stage="next_chunk").state_observation_delta_indices) > 1
    whole = make_train_batch(policy.config)
    short = {**whole, "observation.state": whole["observation.state"][:, :1]}
    short["observation.state_is_pad"] = whole["observation.state_is_pad"][:, :1]
    losses = []
    for batch in (whole, short):
        torch.manual_seed(0)
        losses.append(policy(batch)[0])
    assert torch.equal(*losses)


def test_publishing_from_outside_the_policy_shows_our_card(planned, tmp_path):
    """LeRobot's `publish_trained_model` calls these two where 0.6.1 calls `push_model_to_hub`."""
    policy = planned()
    policy.config.repo_id = "me/cups"
    assert callable(policy.push_to_hub)
    card = policy.generate_model_card("me/data", "wallwm", "apache-2.0", ["robotics"])
    card.save(tmp_path / "README.md")
    assert "WALL-WM" in (tmp_path / "README.md").read_text()
