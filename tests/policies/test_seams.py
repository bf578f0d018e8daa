# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from lerobot_wallwm.policies.seams import (
    MOST_STRETCH,
    SMALL,
    CommandPath,
    blend,
    brake,
    peak_acceleration,
    seam_length,
    second_differences,
)

numbers = st.floats(-1, 1, width=64)
poses = hnp.arrays(np.float64, (2,), elements=numbers).map(torch.from_numpy)
plans = st.integers(1, 20).flatmap(
    lambda n: hnp.arrays(np.float64, (n, 2), elements=numbers).map(torch.from_numpy)
)
steps = st.integers(2, 16)


@given(plan=plans, last=poses, before=poses, n=steps)
def test_the_plan_is_met_after_the_seam_and_stays_as_it_is(plan, last, before, n):
    out = blend(plan, last, before, n)
    assert out.shape == plan.shape
    assert torch.equal(out[n - 1 :], plan[n - 1 :])


@given(plan=plans, last=poses, before=poses, n=steps, bound=st.floats(0.2, 1.5))
def test_nothing_leaves_the_clamp(plan, last, before, n, bound):
    assert float(blend(plan, last, before, n, bound).abs().max()) <= bound
    assert float(brake(last.clamp(-bound, bound), before, n, bound).abs().max()) <= bound


@given(plan=plans, last=poses, before=poses, n=st.integers(2, 64))
def test_the_seam_adds_no_more_acceleration_than_its_bound(plan, last, before, n):
    """On a straight plan all acceleration is the seam's. A jump would be `gap` at once; a kink, `drift`."""
    straight = plan[0] + torch.arange(40, dtype=torch.float64)[:, None] * 0.1 * last
    out = blend(straight, last, before, n)
    whole = torch.cat((before[None], last[None], out))
    found = second_differences(whole).abs()
    slope = straight[1] - straight[0]
    for joint in range(2):
        gap = float(last[joint] - (straight[0] - slope)[joint])
        drift = float((last - before - slope)[joint])
        assert float(found[:, joint].max()) <= peak_acceleration(gap, drift, n) + 1e-9


@given(plan=plans, last=poses, before=poses, least=st.integers(2, 8))
def test_a_seam_is_stretched_until_it_is_no_harder_than_the_plan(plan, last, before, least):
    n = seam_length(plan, last, before, least)
    assert least <= n <= MOST_STRETCH * least
    slope = plan[1] - plan[0] if len(plan) > 1 else torch.zeros(2, dtype=torch.float64)
    own = second_differences(plan).abs().amax(0) if len(plan) > 2 else torch.zeros(2)

    def fits(steps: int) -> bool:
        return all(
            peak_acceleration(float((last - plan[0] + slope)[j]), float((last - before - slope)[j]), steps)
            <= max(float(own[j]), SMALL)
            for j in range(2)
        )

    assert n == next((k for k in range(least, MOST_STRETCH * least) if fits(k)), MOST_STRETCH * least)


@given(last=poses, before=poses)
def test_a_longer_seam_is_a_limit_of_no_jump_in_position_or_velocity(last, before):
    """Position and velocity are continuous: both differences at the seam vanish as ticks become short."""
    plan = torch.zeros(512, 2, dtype=torch.float64)
    n = 256
    small = last + (before - last) / n  # the same velocity in ticks that are n times shorter
    out = blend(plan, last, small, n)
    velocity = torch.cat((small[None], last[None], out)).diff(dim=0)
    assert float((out[0] - last).abs().max()) <= 2.5 / n
    assert float(velocity.diff(dim=0).abs().max()) <= 25.0 / n**2


@given(plan=plans, last=poses, before=poses, n=steps, scale=st.floats(0.1, 200), shift=st.floats(-100, 100))
def test_units_do_not_matter(plan, last, before, n, scale, shift):
    def there(x: torch.Tensor) -> torch.Tensor:
        return x * scale + shift

    out = blend(there(plan), there(last), there(before), n)
    torch.testing.assert_close(out, there(blend(plan, last, before, n)), atol=1e-6, rtol=1e-9)


@given(plan=plans, n=steps)
def test_a_plan_that_fits_is_left_alone(plan, n):
    """Where the commands were on the plan's own line already, nothing is added."""
    slope = plan[1] - plan[0] if len(plan) > 1 else torch.zeros(2, dtype=torch.float64)
    torch.testing.assert_close(blend(plan, plan[0] - slope, plan[0] - 2 * slope, n), plan)


@pytest.mark.parametrize("n", [0, 1])
def test_no_steps_no_seam(n):
    plan, far = torch.rand(5, 2), torch.ones(2)
    assert torch.equal(blend(plan, far, far, n), plan)
    assert torch.equal(brake(far, -far, n), far[None])


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
        path.told(command, holding=not followed and command is not None and len(out) >= len(plan))
        out.append(command)
    return torch.stack(out)


def test_a_path_leads_from_rest_over_plans_into_rest():
    path = CommandPath(steps=6, bound=1.0)
    path.start(torch.tensor([0.5, -0.5]))
    first = walk(path, torch.linspace(-0.5, 0.2, 12)[:, None].expand(-1, 2), 12)
    second = walk(path, torch.linspace(-0.8, -0.9, 8)[:, None].expand(-1, 2), 20)
    whole = torch.cat((torch.tensor([[0.5, -0.5]] * 2), first, second))
    jump = 1.0  # between the plans
    assert float(whole.diff(dim=0).abs().max()) < 0.55 * jump
    assert float(second_differences(whole).abs().max()) < 0.3 * jump
    assert torch.equal(whole[-1], whole[-2])


def test_a_plan_that_is_not_finite_is_left_to_the_guards_and_forgotten():
    path = CommandPath(steps=4, bound=1.0)
    path.start(torch.tensor([0.3, -0.3]))
    plan = torch.tensor([[float("nan"), 0.0], [float("inf"), 0.0]])
    torch.testing.assert_close(path.follow(plan), plan, equal_nan=True)
    for command in plan:
        path.told(command)
    assert path.last is not None
    torch.testing.assert_close(path.last, torch.tensor([0.3, 0.0]))
