# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from lerobot_wallwm.policies.acting.seams import MOST_BRAKE, CommandPath, brake, brake_length, catch_up

numbers = st.floats(-1, 1, width=64)
poses = hnp.arrays(np.float64, (2,), elements=numbers).map(torch.from_numpy)
shapes = st.integers(1, 20).map(lambda n: (n, 2))
plans = hnp.arrays(np.float64, shapes, elements=numbers).map(torch.from_numpy)
steps = st.integers(2, 16)
limits = st.floats(0.01, 2.0).map(lambda a: torch.full((2,), a, dtype=torch.float64))


@given(plan=plans, last=poses, before=poses, most=limits)
def test_no_joint_is_accelerated_harder_than_it_may_before_it_meets_its_plan(plan, last, before, most):
    out, met = catch_up(plan, last, before, most)
    assert out.shape == plan.shape and 0 <= met <= len(plan)
    whole = torch.cat((before[None], last[None], out[: met + 1]))
    assert bool((whole.diff(n=2, dim=0).abs() <= most + 1e-5).all())
    assert torch.equal(out[met:], plan[met:])  # from there it is the plan


@given(last=poses, speed=poses, slope=poses, gap=poses, most=limits)
def test_a_straight_plan_is_met_without_passing_it_twice_and_in_little_more_than_the_least_time(
    last, speed, slope, gap, most
):
    """Least: what a joint with this acceleration needs from rest, and to lose its other speed."""
    before = last - speed * most
    plan = last + gap + slope * torch.arange(1, 401, dtype=torch.float64)[:, None] * 0.1
    out, met = catch_up(plan, last, before, most)
    drift = (speed * most - slope * 0.1).abs() / most
    away = gap.abs() / most + drift * drift
    least = float((2 * away.sqrt() + drift).max())
    assert met <= 1.8 * least + 8
    behind = plan - out
    for joint in range(2):
        signs = torch.sign(behind[:met, joint][behind[:met, joint].abs() > 1e-5])
        assert int((signs.diff() != 0).sum()) <= 1


@given(plan=plans, last=poses, before=poses, most=limits, bound=st.floats(0.2, 1.5), n=steps)
def test_nothing_leaves_the_clamp(plan, last, before, most, bound, n):
    last = last.clamp(-bound, bound)
    assert float(catch_up(plan, last, before, most, bound)[0].abs().max()) <= bound + 1e-9
    assert float(brake(last, before, n, bound).abs().max()) <= bound


@given(plans, poses, poses, limits, st.floats(0.1, 200), st.floats(-100, 100))
def test_units_do_not_matter(plan, last, before, most, scale, shift):
    def there(x: torch.Tensor) -> torch.Tensor:
        return x * scale + shift

    out, _ = catch_up(there(plan), there(last), there(before), most * scale)
    torch.testing.assert_close(out, there(catch_up(plan, last, before, most)[0]), atol=1e-3, rtol=1e-6)


@given(plan=plans, most=limits)
def test_a_plan_that_fits_is_left_alone(plan, most):
    """Where the commands were on the plan's own line already, nothing is added."""
    slope = plan[1] - plan[0] if len(plan) > 1 else torch.zeros(2, dtype=torch.float64)
    own = plan.diff(n=2, dim=0).abs().amax() if len(plan) > 2 else torch.zeros(())
    out, met = catch_up(plan, plan[0] - slope, plan[0] - 2 * slope, most + own)
    assert met == 0 and torch.equal(out, plan)


@given(last=poses, speed=poses, most=limits)
def test_braking_is_no_harder_than_allowed_unless_it_would_take_long(last, speed, most):
    n = brake_length(last, last - speed, most)
    assert 1 <= n <= MOST_BRAKE
    path = torch.cat(((last - speed)[None], last[None], brake(last, last - speed, n)))
    hardest = torch.cat((path, path[-1:])).diff(n=2, dim=0).abs()
    assert n == MOST_BRAKE or bool((hardest <= most + 1e-9).all())


def test_without_an_acceleration_plans_jump_and_arms_stop_at_once():
    path, plan, far = CommandPath(None, 1.0), torch.rand(5, 2), torch.ones(2)
    path.start(far)
    assert torch.equal(path.follow(plan), plan)
    assert torch.equal(path.stop(-far, far), far[None])


@given(last=poses, before=poses, n=steps)
def test_braking_slows_down_monotonically_and_ends_at_rest(last, before, n):
    path = torch.cat((before[None], last[None], brake(last, before, n)))
    speed = path.diff(dim=0).abs()
    assert bool((speed[1:] <= speed[:-1] + 1e-12).all())
    torch.testing.assert_close(path[-1], path[-2])
    # About half the way that it would have gone, and never back.
    torch.testing.assert_close(path[-1] - last, (last - before) * (n - 1) / 2)


def walk(path: CommandPath, plan: torch.Tensor, ticks: int) -> torch.Tensor:
    followed = list(path.follow(plan))
    out = []
    for _ in range(ticks):
        command = followed.pop(0) if followed else path.hold()
        path.remember_command(command, holding=not followed and command is not None and len(out) >= len(plan))
        out.append(command)
    return torch.stack(out)


def test_a_path_leads_from_rest_over_plans_into_rest():
    path = CommandPath(torch.full((2,), 0.1), bound=1.0)
    path.start(torch.tensor([0.5, -0.5]))
    first = walk(path, torch.linspace(-0.5, 0.2, 12)[:, None].expand(-1, 2), 12)
    second = walk(path, torch.linspace(-0.8, -0.9, 8)[:, None].expand(-1, 2), 20)
    whole = torch.cat((torch.tensor([[0.5, -0.5]] * 2), first, second))
    jump = 1.0  # between the plans
    assert float(whole.diff(dim=0).abs().max()) < 0.55 * jump
    assert float(whole.diff(n=2, dim=0).abs().max()) <= 0.1 + 1e-5
    assert torch.equal(whole[-1], whole[-2])


@pytest.mark.parametrize(("ticks", "behind"), [(3, True), (30, False)])
def test_a_plan_that_ends_before_it_is_met_leaves_the_next_one_to_be_led_into(ticks, behind):
    path = CommandPath(torch.full((1,), 0.05), bound=1.0)
    path.start(torch.zeros(1))
    for command in path.follow(torch.full((ticks, 1), 0.8)):
        path.remember_command(command)
    assert bool(path.behind) == behind


def test_a_plan_that_is_not_finite_is_left_to_the_guards_and_forgotten():
    path = CommandPath(torch.full((2,), 0.1), bound=1.0)
    path.start(torch.tensor([0.3, -0.3]))
    plan = torch.tensor([[float("nan"), 0.0], [float("inf"), 0.0]])
    torch.testing.assert_close(path.follow(plan), plan, equal_nan=True)
    for command in plan:
        path.remember_command(command)
    assert path.last is not None
    torch.testing.assert_close(path.last, torch.tensor([0.3, 0.0]))
