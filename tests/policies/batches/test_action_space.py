# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import pytest
import torch
from hypothesis import given, strategies as st

from lerobot_wallwm.embodiment.recognise import recognise
from lerobot_wallwm.policies.batches.action_space import ActionSpace, Measured

RELATIVE = [True, True, False]
NAMES = ["pan.pos", "lift.pos", "gripper.pos"]
ARM = recognise(NAMES, NAMES, (3, 3), None)


def statistics(seed: int = 0, low: float = -90.0, high: float = 90.0, constant: int | None = None):
    g = torch.Generator().manual_seed(seed)
    minimum = low + torch.rand(3, generator=g) * 10
    maximum = high - torch.rand(3, generator=g) * 10
    std = (maximum - minimum) * 0.2
    if constant is not None:
        maximum[constant] = minimum[constant]
        std[constant] = 0.0
    one = {"min": minimum, "max": maximum, "mean": (minimum + maximum) / 2, "std": std}
    return {"action": one, "observation.state": {key: value.clone() for key, value in one.items()}}


def fitted(seed: int = 0, displacement=(5.0, 8.0, 1.0), **kwargs) -> ActionSpace:
    space = ActionSpace(ARM, RELATIVE)
    spread = torch.tensor(displacement)
    space.fit(statistics(seed, **kwargs), Measured(*[spread] * 5))
    return space


@given(seed=st.integers(0, 999))
def test_encoding_and_decoding_are_inverse(seed):
    g = torch.Generator().manual_seed(seed)
    space = fitted(seed)
    normalized, state = torch.rand(2, 5, 3, generator=g) * 2 - 1, torch.randn(2, 3, generator=g) * 40
    units = space.encode_actions(normalized, state)
    torch.testing.assert_close(space.decode_actions(units, state), normalized, atol=1e-4, rtol=1e-4)


def raw_to_normalized(space: ActionSpace, raw: torch.Tensor) -> torch.Tensor:
    return (raw - space.range_low) / (space.range_high - space.range_low) * 2 - 1


def test_relative_dimensions_are_displacements_and_absolute_ones_are_not():
    space = fitted()
    state = torch.tensor([[10.0, -20.0, 30.0]])
    moved = torch.tensor([[[15.0, -20.0, 50.0]]])
    units = space.encode_actions(raw_to_normalized(space, moved), state)[0, 0]
    torch.testing.assert_close(units[:2] * space.scale[:2], torch.tensor([5.0, 0.0]), atol=1e-4, rtol=1e-4)
    # Moving arm and target together changes nothing; the gripper's target does not look at where it is.
    shifted = raw_to_normalized(space, moved + torch.tensor([7.0, -3.0, 0.0]))
    found = space.encode_actions(shifted, state + torch.tensor([7.0, -3.0, 99.0]))[0, 0]
    torch.testing.assert_close(found, units, atol=1e-4, rtol=1e-4)
    opened = raw_to_normalized(space, moved + torch.tensor([0.0, 0.0, 4.0]))
    absolute = space.encode_actions(opened, state)[0, 0]
    assert absolute[2] - units[2] == pytest.approx(4.0 / float(space.scale[2]), rel=1e-3)


def test_hold_pose_is_the_observed_pose():
    space = fitted()
    state = torch.tensor([[10.0, -20.0, 30.0]])
    held = space.decode_actions(space.hold_pose(state), state)[:, 0]
    torch.testing.assert_close(held[:, :2], raw_to_normalized(space, state)[:, :2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("constant", [0, 2])
def test_a_joint_that_never_moved_does_not_explode(constant):
    spread = [0.0 if joint == constant else 5.0 for joint in range(3)]
    space = fitted(displacement=spread, constant=constant)
    low = space.range_low[constant]
    state = low.expand(1, 3).clone()
    state[:, constant] = low + 2.0  # at deployment it stands two degrees off
    assert space.encode_state(state).abs().max() < 100
    units = space.encode_actions(torch.full((1, 4, 3), -1.0), state)
    assert torch.isfinite(units).all() and units[..., constant].abs().max() < 100
    decoded = space.decode_actions(torch.randn(1, 4, 3), state)
    assert torch.isfinite(decoded).all()
    # After the pipeline's clamp the joint is sent where it always was.
    span = (space.range_high - space.range_low)[constant]
    sent = (decoded.clamp(-1, 1)[..., constant] + 1) / 2 * span + low
    torch.testing.assert_close(sent, low.expand_as(sent))


def test_network_units_have_about_unit_spread():
    space = fitted()
    g = torch.Generator().manual_seed(0)
    state = torch.randn(4000, 3, generator=g) * space.state_std + space.state_mean
    raw = state[:, None] + torch.randn(4000, 1, 3, generator=g) * torch.tensor([5.0, 8.0, 0.0])
    units = space.encode_actions(raw_to_normalized(space, raw), state)
    torch.testing.assert_close(units[:, 0].std(0), torch.ones(3), atol=0.1, rtol=0.1)
    torch.testing.assert_close(space.encode_state(state).std(0), torch.ones(3), atol=0.1, rtol=0.1)


def test_another_datasets_range_keeps_the_networks_units():
    space, state = fitted(0), torch.tensor([[10.0, -20.0, 30.0]])
    raw = torch.tensor([[[12.0, -25.0, 40.0]]])
    before = space.encode_actions(raw_to_normalized(space, raw), state)
    space.set_range(statistics(5, low=-150.0, high=200.0))
    after = space.encode_actions(raw_to_normalized(space, raw), state)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_statistics_travel_with_the_checkpoint():
    space, copy = fitted(), ActionSpace(ARM, [False] * 3)
    copy.load_state_dict(space.state_dict())
    normalized, state = torch.rand(1, 2, 3), torch.randn(1, 3)
    assert torch.equal(space.encode_actions(normalized, state), copy.encode_actions(normalized, state))


def test_a_goal_less_the_observed_pose_is_the_action_that_goes_there():
    space = fitted()
    raw, state = torch.tensor([[15.0, -20.0, 50.0]]), torch.tensor([[10.0, 40.0, 30.0]])
    way = space.encode_goal(raw) - space.here(state)
    torch.testing.assert_close(way, space.encode_actions(raw_to_normalized(space, raw)[:, None], state)[:, 0])
