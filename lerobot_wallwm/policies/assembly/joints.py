# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Another arm than the checkpoint's: its joints find by name what the checkpoint knows of them.

Rows and columns of known joints move to where the joint is now. New joints keep the start that a new policy gives them,
and their units come from the dataset. A joint whose range is many times another keeps the dataset's units, too: degrees
became radians, or a gripper's 0 to 100 became 0 to 1. So does one whose actions were relative to its state and are not
any more, or the other way round. Names are compared without ``.pos``; where the data have none, or not one is known,
joints are compared by position. All of this is our choice.

Shapes: A action dims, P proprioception dims.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

# Ends of keys, the axis on which joints lie, whose they are, and whether they are the last on it or all of it.
_ACTIONS, _STATES, _BOTH, _RAW = "actions", "states", "both", "raw"
_WHERE = {
    "action.encoder.0.weight": (1, _BOTH),
    "action.head.2.weight": (0, _ACTIONS),
    "action.head.2.bias": (0, _ACTIONS),
    "action.along.weight": (0, _ACTIONS),
    "action.along.bias": (0, _ACTIONS),
    "goal_head.trunk.0.weight": (1, _STATES),
    "goal_head.straight.weight": (1, _STATES),
    "goal_head.to_pose.weight": (0, _ACTIONS),
    "goal_head.to_pose.bias": (0, _ACTIONS),
    "goal_head.to_shift.weight": (0, _ACTIONS),
    "goal_head.to_features.weight": (1, _ACTIONS),
    "action_space.offset": (0, _ACTIONS),
    "action_space.scale": (0, _ACTIONS),
    "action_space.center": (0, _ACTIONS),
    "action_space.range_low": (0, _RAW),
    "action_space.range_high": (0, _RAW),
    "action_space.relative": (0, _ACTIONS),
    "action_space.state_mean": (0, _STATES),
    "action_space.state_std": (0, _STATES),
}
# A joint's range in the dataset, as a multiple of the checkpoint's, from which it counts as another unit, either way.
OTHER_UNIT = 8.0


@dataclass(frozen=True)
class Joints:
    """The dimensions of actions and states as the network has them, by name, or by position where there are no names.

    ``raw`` are the action's as the dataset has them.
    """

    actions: tuple[str, ...]
    states: tuple[str, ...]
    raw: tuple[str, ...]

    @classmethod
    def of(
        cls,
        actions: Sequence[str] | None,
        states: Sequence[str] | None,
        a: int,
        p: int,
        raw: Sequence[str] | None = None,
    ) -> Joints:
        """From the names that a dataset or checkpoint gives, or None, and the counts A and P."""

        def plain(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
            if names is None or len(names) != count or len(set(names)) < count:
                return tuple(map(str, range(count)))
            return tuple(name.removesuffix(".pos") for name in names)

        own = plain(actions, a)
        return cls(own, plain(states, p), own if raw is None else plain(raw, len(raw)))

    def without_names(self) -> Joints:
        """The same, by position."""
        count = [str(d) for d in range(len(self.raw))]
        return Joints.of(None, None, len(self.actions), len(self.states), count)

    def named(self, whose: str) -> tuple[str, ...]:
        """Names along an axis of `_WHERE`."""
        if whose == _BOTH:
            return max(self.actions, self.states, key=len)
        return {_ACTIONS: self.actions, _STATES: self.states, _RAW: self.raw}[whose]


def comparable(before: Joints, now: Joints) -> tuple[Joints, Joints]:
    """Both by name if they share any, else both by position."""
    if set(before.actions) & set(now.actions):
        return before, now
    return before.without_names(), now.without_names()


def moves(keys: Sequence[str], before: Joints, now: Joints) -> list[str]:
    """Those of ``keys`` that cannot be taken over as they are."""
    if before == now:
        return []
    return [key for key in keys if (place := _place(key)) and before.named(place[1]) != now.named(place[1])]


def moved(key: str, old: Tensor, fresh: Tensor, before: Joints, now: Joints) -> Tensor:
    """A checkpoint's tensor for the joints of now: ``fresh`` where they are new."""
    place = _place(key)
    assert place is not None
    axis, whose = place
    old_names, names = before.named(whose), now.named(whose)
    out = fresh.clone()
    # What lies before the joints on this axis (landmarks, words) stays.
    first, old_first = out.shape[axis] - len(names), old.shape[axis] - len(old_names)
    if first != old_first:
        raise ValueError(f"{key}: {old_first} inputs beside the joints, here {first}")
    source, target = (torch.arange(first).tolist() for _ in range(2))
    for i, name in enumerate(names):
        if name in old_names:
            target.append(first + i)
            source.append(old_first + old_names.index(name))
    rows = old.index_select(axis, torch.tensor(source, dtype=torch.long)).to(out)
    return out.index_copy(axis, torch.tensor(target, dtype=torch.long, device=out.device), rows)


def say(before: Joints, now: Joints) -> None:
    """Prints what is known of the arm's joints, and what is new."""
    known = [name for name in now.actions if name in before.actions]
    new = [name for name in now.actions if name not in before.actions]
    gone = [name for name in before.actions if name not in now.actions]
    if before != now:
        logger.warning(
            "Another arm than the checkpoint's. Known joints: %s. New, untrained: %s. No longer there: %s.",
            *(", ".join(names) or "none" for names in (known, new, gone)),
        )


def with_own_units(space: Mapping[str, Tensor], dataset: Mapping[str, Tensor], now: Joints) -> list[str]:
    """Gives joints in other units those of the dataset, in place; returns their names.

    Args:
        space: Buffers of `ActionSpace` as the checkpoint has them.
        dataset: The same, fitted to the dataset.
        now: The joints of both.
    """
    ranges = [(each["range_high"] - each["range_low"]).clamp_min(1e-6) for each in (dataset, space)]
    ratio = ranges[0] / ranges[1]
    resized = ((ratio > OTHER_UNIT) | (ratio < 1 / OTHER_UNIT)).tolist()
    sizes = {name for name, is_other in zip(now.raw, resized, strict=True) if is_other}
    other = torch.tensor([name in sizes for name in now.actions], device=ratio.device)
    other |= dataset["relative"] != space["relative"]
    names = [name for name, is_other in zip(now.actions, other.tolist(), strict=True) if is_other]
    in_states = torch.tensor([name in names for name in now.states], device=other.device)
    for key, chosen in (
        *((key, other) for key in ("offset", "scale", "center", "relative")),
        *((key, in_states) for key in ("state_mean", "state_std")),
    ):
        space[key].copy_(torch.where(chosen.to(space[key].device), dataset[key].to(space[key]), space[key]))
    if names:
        logger.warning(
            "In other units than the checkpoint's, which now come from the dataset: %s.", ", ".join(names)
        )
    return names


def _place(key: str) -> tuple[int, str] | None:
    return next((place for end, place in _WHERE.items() if key.endswith(end)), None)
