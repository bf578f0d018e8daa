# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A policy whose looks all see the same time left, so that a test knows when its events end."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from tiny_arm import grammar

from lerobot_wallwm.policies.acting import robots


@pytest.fixture(scope="session")
def lasting_policy(make_policy) -> Callable[..., Any]:
    """Builds a policy with a plan of three events, 8 frames each, whose every look predicts the same remaining time."""

    def build(frames: float, **fields: Any) -> Any:
        policy = make_policy(**{**grammar(8, fps=10.0), **fields})
        head = policy.model.action.remaining_head[-1]
        head.weight.data.zero_()
        head.bias.data.fill_(math.log(frames) or 1e-9)  # all zero: it was never trained
        return policy

    return build


@pytest.fixture
def to_the_last_frame(monkeypatch) -> None:
    """Events run to their last frame."""
    monkeypatch.setattr(robots, "END_THRESHOLD", 0.5)
