# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""One description of a dataset's action and state, which every part of the package reads.

Shapes: A action dims, S state dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

KINDS = ("position", "velocity", "step")
QUANTITIES = ("angle", "length", "gripper", "other")
ENDS = ("high", "low", "")
UNITS = ("degrees", "radians", "metres", "millimetres", "unit", "percent", "ticks", "")
# Numbers of each way to write a rotation. `euler_xyz`: roll, pitch and yaw about fixed axes; `quaternion`: x, y, z, w;
# `6d`: the matrix's first two columns.
FORMS = {"euler_xyz": 3, "axis_angle": 3, "quaternion": 4, "6d": 6}
# A dimension whose range is this part of its values' size never moved: what float32 leaves of equal numbers.
CONSTANT = 1e-6


@dataclass(frozen=True)
class Dimension:
    """One dimension of an action or a state.

    Attributes:
        name: As the dataset spells it, or its place where that has no names.
        kind: One of `KINDS`; a state's dimensions are positions or velocities.
        quantity: One of `QUANTITIES`.
        unit: One of `UNITS`; empty where nothing tells. Of a velocity: the same, a second.
        part: `arm`, `left arm`, `right arm` or `base`.
        wraps: An angle's first and last value where it jumps from one to the other; None where it does not.
        follows: Of an action: the state's dimension that measures the same in the same unit; -1 for none.
        opens: Of an action's gripper: which end of its range is open, one of `ENDS`; of a rate, the sign that opens.
    """

    name: str
    kind: str = "position"
    quantity: str = "other"
    unit: str = ""
    part: str = "arm"
    wraps: tuple[float, float] | None = None
    follows: int = -1
    opens: str = ""

    @property
    def label(self) -> str:
        """The name for people: without LeRobot's ending."""
        return self.name.removesuffix(".pos")

    @property
    def alike(self) -> tuple[str, ...]:
        """What dimensions share whose sizes may be compared: kind, quantity and unit."""
        return self.kind, self.quantity, self.unit


@dataclass(frozen=True)
class Rotation:
    """Dimensions that are one rotation.

    Attributes:
        form: One of `FORMS`.
        dims: Its dimensions, in the form's order.
        position: The three lengths x, y, z of the same pose; empty where there are none.
        follows: Of an action: which of the state's rotations measures it; -1 for none.
    """

    form: str
    dims: tuple[int, ...]
    position: tuple[int, ...] = ()
    follows: int = -1


@dataclass(frozen=True)
class Embodiment:
    """What a dataset's action and state are.

    Attributes:
        action: A dimensions.
        state: S dimensions.
        action_rotations, state_rotations: Which of them are rotations.
        guessed: Names of action dimensions whose kind was read off the data, for the summary.
    """

    action: tuple[Dimension, ...] = ()
    state: tuple[Dimension, ...] = ()
    action_rotations: tuple[Rotation, ...] = ()
    state_rotations: tuple[Rotation, ...] = ()
    guessed: tuple[str, ...] = field(default=())

    # ------------------------------------------------------------------ masks and places, as arrays

    @property
    def rates(self) -> np.ndarray:
        """``(A,)`` bool: velocities and steps, whose rest is zero."""
        return np.array([dim.kind != "position" for dim in self.action], bool)

    @property
    def turning(self) -> np.ndarray:
        """``(A,)`` bool: dimensions whose numbers jump, for they turn round: rotations, and angles that wrap."""
        numbers = {d for turn in self.action_rotations for d in turn.dims}
        return np.array([d in numbers or dim.wraps is not None for d, dim in enumerate(self.action)], bool)

    @property
    def grippers(self) -> list[int]:
        """Action dimensions that are grippers."""
        return [d for d, dim in enumerate(self.action) if dim.quantity == "gripper"]

    @property
    def state_grippers(self) -> list[int]:
        """State dimensions that are grippers."""
        return [d for d, dim in enumerate(self.state) if dim.quantity == "gripper"]

    def fingers(self, gripper: int) -> list[int]:
        """State dimensions that show how far an action's gripper is open: one, or the two of parallel fingers."""
        dim = self.action[gripper]
        if dim.follows >= 0:
            return [dim.follows]
        mine = [d for d in self.grippers if self.action[d].part == dim.part]
        own = [d for d in self.state_grippers if self.state[d].part == dim.part]
        return own if len(mine) == 1 else own[mine.index(gripper) :][:1] if len(mine) == len(own) else []

    @property
    def follows(self) -> np.ndarray:
        """``(A,)``: the state's dimension of each action dimension, or -1."""
        return np.array([dim.follows for dim in self.action], int)

    def of_state(self, dims: Sequence[int]) -> Embodiment:
        """The same beside only these of the state's dimensions, in this order."""
        place = {d: i for i, d in enumerate(dims)}
        turns = [t for t in self.state_rotations if set(t.dims) <= place.keys()]
        kept = [
            replace(
                t,
                dims=tuple(place[d] for d in t.dims),
                position=tuple(place[d] for d in t.position) if set(t.position) <= place.keys() else (),
            )
            for t in turns
        ]
        where = {self.state_rotations.index(t): i for i, t in enumerate(turns)}
        return replace(
            self,
            action=tuple(replace(dim, follows=place.get(dim.follows, -1)) for dim in self.action),
            state=tuple(self.state[d] for d in dims),
            action_rotations=tuple(
                replace(t, follows=where.get(t.follows, -1)) for t in self.action_rotations
            ),
            state_rotations=tuple(kept),
        )

    @property
    def turns(self) -> list[tuple[Rotation, Rotation]]:
        """The action's rotations that the state measures, each with the state's."""
        return [(t, self.state_rotations[t.follows]) for t in self.action_rotations if t.follows >= 0]

    def in_degrees(self, turn: Rotation, of_state: bool = False) -> bool:
        """Whether a rotation is written in degrees."""
        return (self.state if of_state else self.action)[turn.dims[0]].unit == "degrees"

    def rest(self, state_BS: np.ndarray) -> np.ndarray:
        """The actions ``(B, A)`` that keep an arm where it is observed: its pose, and zero velocities and steps.

        NaN for positions that the state does not have. A rotation that the state has in another form is written in the
        action's.
        """
        follows = self.follows
        out: np.ndarray = np.full((len(state_BS), len(follows)), np.nan)
        out[:, follows >= 0] = state_BS[:, follows[follows >= 0]]
        for turn, seen in self.turns:
            forms, degrees = (
                (seen.form, turn.form),
                (self.in_degrees(seen, of_state=True), self.in_degrees(turn)),
            )
            values = state_BS[:, list(seen.dims)].astype(np.float64)
            if len(set(forms)) > 1 or len(set(degrees)) > 1:
                from lerobot_wallwm.embodiment.rotations import (
                    rewritten,
                )  # torch, which `prepare` does without

                values = rewritten(values, forms, degrees)
            out[:, list(turn.dims)] = values
        return np.where(self.rates, 0.0, out)

    # ------------------------------------------------------------------ distances

    def difference(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """``values - reference`` ``(..., A)``, the short way round for angles that wrap and for rotations."""
        out = values - reference
        for d, dim in enumerate(self.action):
            if dim.wraps is not None and dim.kind == "position":
                period = dim.wraps[1] - dim.wraps[0]
                out[..., d] -= period * np.round(out[..., d] / period)
        for turn in self.action_rotations:
            dims = list(turn.dims)
            near = nearest(values[..., dims], reference[..., dims], turn.form, self.in_degrees(turn))
            out[..., dims] = near - reference[..., dims]
        return out

    def within_turn(self, values: np.ndarray) -> np.ndarray:
        """Values ``(..., A)`` as the data writes them: angles that wrap, and Euler angles, come back into their turn."""
        out = values.copy()
        for d, dim in enumerate(self.action):
            if dim.wraps is not None and dim.kind == "position":
                low, high = dim.wraps
                beyond = (out[..., d] < low) | (out[..., d] > high)
                turned = (out[..., d] - low) % (high - low) + low
                out[..., d] = np.where(beyond, turned, out[..., d])
        return out

    # ------------------------------------------------------------------ JSON, and words

    def to_json(self) -> dict[str, Any]:
        """As it lies in `wallwm.json` and `learned.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Embodiment:
        """The inverse of `to_json`.

        Raises:
            ValueError: It is none: a kind, unit or form that is unknown, or a dimension that is not there.
        """
        from pydantic import TypeAdapter

        found = TypeAdapter(cls).validate_python(content)
        found.check()
        return found

    def check(self) -> None:
        """Raises ValueError for what no dataset can be."""
        for whose, dims, turns in (
            ("action", self.action, self.action_rotations),
            ("state", self.state, self.state_rotations),
        ):
            for dim in dims:
                for name, allowed in (
                    ("kind", KINDS),
                    ("quantity", QUANTITIES),
                    ("unit", UNITS),
                    ("opens", ENDS),
                ):
                    if getattr(dim, name) not in allowed:
                        raise ValueError(f"{whose} {dim.name}: {name} {getattr(dim, name)!r} is not known")
                if not -1 <= dim.follows < len(self.state):
                    raise ValueError(f"{whose} {dim.name}: follows state {dim.follows}, which is not there")
            taken: list[int] = []
            for turn in turns:
                places = (*turn.dims, *turn.position)
                if turn.form not in FORMS or len(turn.dims) != FORMS[turn.form]:
                    raise ValueError(f"{whose}: {turn.form} of {len(turn.dims)} numbers is no rotation")
                if len(turn.position) not in (0, 3) or not all(0 <= d < len(dims) for d in places):
                    raise ValueError(f"{whose}: rotation {turn.form} of dimensions that are not there")
                if not -1 <= turn.follows < len(self.state_rotations):
                    raise ValueError(f"{whose}: rotation follows {turn.follows}, which is not there")
                taken += places
            if len(set(taken)) < len(taken):
                raise ValueError(f"{whose}: a dimension belongs to two rotations")

    def lines(self) -> list[str]:
        """What it says, for a summary: a line for each group of dimensions that are alike."""
        groups: dict[str, list[str]] = {}
        turns = {d: turn for turn in self.action_rotations for d in turn.dims}
        for d, dim in enumerate(self.action):
            if d in turns:
                words = f"{dim.part}: rotation {turns[d].form}" + (f", {dim.unit}" if dim.unit else "")
                words += f", {dim.kind}" if dim.kind != "position" else ""
            else:
                what = "" if dim.quantity == "other" else dim.quantity
                words = f"{dim.part}: " + ", ".join(w for w in (what, dim.unit, dim.kind) if w)
                words += ", wraps" if dim.wraps is not None else ""
                words += f", open when {dim.opens}" if dim.opens else ""
            words += " (from the data)" if dim.name in self.guessed else ""
            groups.setdefault(words, []).append(dim.label)
        lines = [f"{words}: {', '.join(names)}" for words, names in groups.items()]
        lost = [
            dim.label
            for d, dim in enumerate(self.action)
            if dim.kind == "position" and dim.follows < 0 and (d not in turns or turns[d].follows < 0)
        ]
        if lost:
            lines.append(f"not measured by the state: {', '.join(lost)}")
        return lines


def widest_alike(span: np.ndarray, dims: Sequence[Dimension], size: np.ndarray | None = None) -> np.ndarray:
    """``(D,)``: the widest range among the dimensions of the same kind, quantity and unit.

    Where none of those moved, the size of the dimension's own values, if that is given and not zero, else 1.
    """
    groups = [dim.alike for dim in dims]
    out = np.array([max(s for s, other in zip(span, groups, strict=True) if other == own) for own in groups])
    still = np.ones_like(out) if size is None else np.where(size > 0, size, 1.0)
    return np.where(out > 0, out, still)


def constant(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """``(D,)`` bool: dimensions that never moved, each by itself."""
    return high - low <= CONSTANT * np.maximum(np.abs(low), np.abs(high))


def nearest(values: np.ndarray, reference: np.ndarray, form: str, degrees: bool = False) -> np.ndarray:
    """The same rotations, written as near as can be to ``reference`` ``(..., n)``."""
    if form == "6d":
        return values
    if form == "quaternion":
        return np.where((values * reference).sum(-1, keepdims=True) < 0, -values, values)
    turn = 360.0 if degrees else 2 * np.pi
    if form == "axis_angle":
        size = np.linalg.norm(values, axis=-1, keepdims=True)
        others = [values, values - turn * values / np.maximum(size, 1e-12)]
    else:
        flipped = values * np.array([1.0, -1.0, 1.0]) + turn / 2
        others = [v - turn * np.round((v - reference) / turn) for v in (values, flipped)]
    first, second = (np.linalg.norm(v - reference, axis=-1, keepdims=True) for v in others)
    return np.where(first <= second, others[0], others[1])
