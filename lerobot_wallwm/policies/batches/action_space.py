# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Units: between the dataset's actions and states, and those that the network works in.

A rotation, however the dataset writes it, is 6D in the network: two columns of its matrix (paper p. 10). Where the state
measures the same pose, the network has the pose relative to it, as SE(3) has it: turned back by the observed rotation R,

    units = R^T (lifted action - lifted state) / scale,

which for the columns c of a matrix is those of R^T R_action, less those of no rotation; and for the position R^T (p - p_s).
Zero is to stay. Other dimensions have no R, and steps, velocities and grippers nothing that is taken from them.

Shapes: B batch, H horizon, A action dims and P proprioception dims as the dataset has them, N and Q as the network has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lerobot_wallwm.embodiment.description import Dimension, Embodiment, Rotation, constant, widest_alike
from lerobot_wallwm.embodiment.rotations import columns, from_matrix, to_matrix
from lerobot_wallwm.hub.files.tables import Tables

# Least spread of a dimension, as a part of its own range; of one that never moved, of the widest of the same unit.
LEAST_SPREAD = 1e-2


@dataclass(frozen=True)
class Turn:
    """A rotation's place: its numbers in the dataset, and its six in the network.

    Attributes:
        raw: Dimensions of the dataset.
        at: The first of the six.
        position: Where the network has the pose's x, y and z; empty for none.
    """

    form: str
    degrees: bool
    raw: tuple[int, ...]
    at: int
    position: tuple[int, ...]


class Layout:
    """Where the network has what the dataset has, of the action or of the state.

    Attributes:
        names: Of the network's dimensions.
        raw: The dataset's dimensions that are taken over as they are, and ``at`` where.
        turns: Rotations.
    """

    def __init__(self, dims: Sequence[Dimension], rotations: Sequence[Rotation]):
        first = {min(turn.dims): turn for turn in rotations}
        turning = {d for turn in rotations for d in turn.dims}
        self.names: list[str] = []
        self.raw: list[int] = []
        self.at: list[int] = []
        starts: dict[Rotation, int] = {}
        for d, dim in enumerate(dims):
            if d in first:
                starts[first[d]] = len(self.names)
                self.names += [f"{dim.label} rotation {i}" for i in range(6)]
            elif d not in turning:
                self.raw.append(d)
                self.at.append(len(self.names))
                self.names.append(dim.name)
        where = dict(zip(self.raw, self.at, strict=True))
        self.turns = [
            Turn(
                turn.form,
                dims[turn.dims[0]].unit == "degrees",
                turn.dims,
                at,
                tuple(where[d] for d in turn.position),
            )
            for turn, at in starts.items()
        ]

    def __len__(self) -> int:
        return len(self.names)

    def lift(self, values: Tensor) -> Tensor:
        """``(..., D)`` of the dataset to ``(..., N)`` of the network, in the dataset's units."""
        if not self.turns:
            return values
        out = values.new_empty(*values.shape[:-1], len(self))
        out[..., self.at] = values[..., self.raw]
        for turn in self.turns:
            out[..., turn.at : turn.at + 6] = columns(
                to_matrix(values[..., turn.raw], turn.form, turn.degrees)
            )
        return out

    def lower(self, lifted: Tensor, width: int) -> Tensor:
        """The inverse of `lift`; six numbers that are no rotation's become the nearest one."""
        if not self.turns:
            return lifted
        out = lifted.new_empty(*lifted.shape[:-1], width)
        out[..., self.raw] = lifted[..., self.at]
        for turn in self.turns:
            matrix = to_matrix(lifted[..., turn.at : turn.at + 6], "6d")
            out[..., turn.raw] = from_matrix(matrix, turn.form, turn.degrees)
        return out

    def spread(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """Numbers ``(..., D)`` of the dataset's dimensions at their places in the network; ``fill`` for rotations."""
        if not self.turns:
            return values
        out = values.new_full((*values.shape[:-1], len(self)), fill)
        out[..., self.at] = values[..., self.raw]
        return out


def layouts(what: Embodiment) -> tuple[Layout, Layout]:
    """Of the action and of the state."""
    return Layout(what.action, what.action_rotations), Layout(what.state, what.state_rotations)


@dataclass(frozen=True)
class Measured:
    """What rows of a dataset say, in its units at the network's places; see `dataset_facts.measure`.

    Attributes:
        displacement: ``(N,)`` spread of what the network has relative to the state, over the horizon.
        mean, std: ``(N,)`` of actions.
        state_mean, state_std: ``(Q,)`` of states. Only the rotations' places of these four are read.
    """

    displacement: Tensor
    mean: Tensor
    std: Tensor
    state_mean: Tensor
    state_std: Tensor


class ActionSpace(Tables):
    """Maps with statistics kept in the checkpoint.

    Two sets: ``range_low`` and ``range_high`` undo the pipeline's min-max normalisation and follow the dataset in use;
    the rest defines the network's units and stays what it was trained with.

    Args:
        what: What action and state are.
        relative: ``(A,)`` which action dimensions are learned relative to the state's that they follow.
    """

    range_low: Tensor
    range_high: Tensor
    relative: Tensor
    offset: Tensor
    scale: Tensor
    center: Tensor
    state_mean: Tensor
    state_std: Tensor
    follows: Tensor

    def __init__(self, what: Embodiment, relative: Sequence[bool]):
        super().__init__()
        self.what = what
        self.action_layout, self.state_layout = layouts(what)
        actions, states, width = len(self.action_layout), len(self.state_layout), len(what.action)
        # For each rotation that is relative: its place, that of the state, and whether its position turns with it.
        self._poses: list[tuple[Turn, Turn, bool]] = []
        flags = torch.tensor([float(flag) for flag in relative])
        places = self.action_layout.spread(flags)
        for turn, own in zip(self.action_layout.turns, self._in_order(what), strict=True):
            if own.follows >= 0 and all(relative[d] for d in own.dims):
                places[turn.at : turn.at + 6] = 1.0
                seen = self._state_turn(what, own.follows)
                together = bool(turn.position) and bool(places[list(turn.position)].all())
                self._poses.append((turn, seen, together))
        self._wraps = [
            (at, dim.wraps)
            for raw, at in zip(self.action_layout.raw, self.action_layout.at, strict=True)
            if (dim := what.action[raw]).wraps is not None and dim.kind == "position"
        ]
        zeros, ones = torch.zeros(actions), torch.ones(actions)
        self.keep(range_low=-torch.ones(width), range_high=torch.ones(width), relative=places)
        self.keep(offset=zeros, scale=ones, center=zeros.clone())
        self.keep(persistent=False, follows=torch.tensor([max(dim.follows, 0) for dim in what.action]))
        self.keep(state_mean=torch.zeros(states), state_std=torch.ones(states))

    @staticmethod
    def _in_order(what: Embodiment) -> list[Rotation]:
        """The action's rotations as `Layout.turns` has them."""
        return sorted(what.action_rotations, key=lambda turn: min(turn.dims))

    def _state_turn(self, what: Embodiment, number: int) -> Turn:
        dims = what.state_rotations[number].dims
        return next(turn for turn in self.state_layout.turns if turn.raw == dims)

    def set_range(self, stats: dict[str, dict[str, Tensor]]) -> None:
        """Takes the dataset's action range, with which the pipeline normalises."""
        self.range_low.copy_(torch.as_tensor(stats["action"]["min"], dtype=torch.float32).flatten())
        self.range_high.copy_(torch.as_tensor(stats["action"]["max"], dtype=torch.float32).flatten())

    def fit(self, stats: dict[str, dict[str, Tensor]], measured: Measured | None) -> None:
        """Sets the network's units from a dataset.

        Args:
            stats: LeRobot statistics with ``action`` and ``observation.state``.
            measured: What its rows say; None falls back to the statistics, and for rotations to numbers of size 1.
        """
        self.set_range(stats)
        action, state = stats["action"], stats["observation.state"]
        mean, std, state_mean, state_std = (
            torch.as_tensor(part[key], dtype=torch.float32).flatten()
            for part in (action, state)
            for key in ("mean", "std")
        )
        places, seen = self.action_layout, self.state_layout
        mean = self._with_rotations(places, mean, None if measured is None else measured.mean, 0.0)
        std = self._with_rotations(places, std, None if measured is None else measured.std, 1.0)
        self.offset.copy_(mean * (1 - self.relative))
        self.center.copy_(mean)
        spread = std if measured is None else torch.where(self.relative > 0, measured.displacement, std)
        # A dimension that never moved in training must not explode when it does at deployment.
        floor = _least_spread(action, self.what.action)
        spread = torch.maximum(spread, places.spread(floor, LEAST_SPREAD))
        for turn, _, together in self._poses:
            if together:  # what turns into each other has one unit
                at = list(turn.position)
                spread[at] = spread[at].square().mean().sqrt()
        self.scale.copy_(spread)
        self.state_mean.copy_(
            self._with_rotations(seen, state_mean, None if measured is None else measured.state_mean, 0.0)
        )
        state_std = self._with_rotations(
            seen, state_std, None if measured is None else measured.state_std, 1.0
        )
        floor = seen.spread(_least_spread(state, self.what.state), LEAST_SPREAD)
        self.state_std.copy_(torch.maximum(state_std, floor))

    @staticmethod
    def _with_rotations(places: Layout, values: Tensor, measured: Tensor | None, fill: float) -> Tensor:
        """Statistics of the dataset's dimensions, and what was measured of rotations, which those say nothing of."""
        out = places.spread(values, fill)
        if measured is not None:
            for turn in places.turns:
                out[turn.at : turn.at + 6] = measured[turn.at : turn.at + 6]
        return out

    def encode_state(self, state_BP: Tensor) -> Tensor:
        """Raw proprioception to network units ``(B, Q)``."""
        return (self.state_layout.lift(state_BP) - self.state_mean) / self.state_std

    def encode_actions(self, normalized_BHA: Tensor, state_BP: Tensor) -> Tensor:
        """Min-max normalised absolute actions to network units ``(B, H, N)``."""
        lifted = self.action_layout.lift(self.absolute(normalized_BHA))
        way = self.short_way(lifted - self.origin(state_BP)[:, None] - self.offset)
        return self._turned(way, state_BP) / self.scale

    def decode_actions(self, units_BHN: Tensor, state_BP: Tensor) -> Tensor:
        """Inverse of `encode_actions`."""
        way = self._turned(units_BHN * self.scale, state_BP, back=True)
        lifted = way + self.offset + self.origin(state_BP)[:, None]
        for at, (low, high) in self._wraps:
            lifted[..., at] = (lifted[..., at] - low) % (high - low) + low
        absolute = self.action_layout.lower(lifted, len(self.what.action))
        for turn, own in zip(self.action_layout.turns, self._in_order(self.what), strict=True):
            self._as_written(absolute, state_BP, turn, own)
        return self.normalized(absolute)

    def _as_written(self, absolute: Tensor, state_BP: Tensor, turn: Turn, own: Rotation) -> None:
        """Quaternions with the sign that the state's has, and Euler angles in the data's turn; in place."""
        dims = list(turn.raw)
        if turn.form == "quaternion" and own.follows >= 0:
            seen = self._state_turn(self.what, own.follows)
            if seen.form == "quaternion":
                dot = (absolute[..., dims] * state_BP[:, None, seen.raw]).sum(-1, keepdim=True)
                absolute[..., dims] = torch.where(dot < 0, -absolute[..., dims], absolute[..., dims])
        for d in dims:
            if (wraps := self.what.action[d].wraps) is not None:
                low, high = wraps
                beyond = (absolute[..., d] < low) | (absolute[..., d] > high)
                turned = (absolute[..., d] - low) % (high - low) + low
                absolute[..., d] = torch.where(beyond, turned, absolute[..., d])

    def absolute(self, normalized: Tensor) -> Tensor:
        """Min-max normalised ``(..., A)`` actions to the dataset's units."""
        return (normalized + 1) * ((self.range_high - self.range_low) / 2) + self.range_low

    def normalized(self, absolute: Tensor) -> Tensor:
        """Inverse of `absolute`."""
        half = ((self.range_high - self.range_low) / 2).clamp_min(1e-8)
        return (absolute - self.range_low) / half - 1

    def encode_goal(self, action_BA: Tensor) -> Tensor:
        """Raw absolute actions to goal units ``(B, N)``: the network's scale, but measured from the data's mean pose."""
        return (self.action_layout.lift(action_BA) - self.center) / self.scale

    def here(self, state_BP: Tensor) -> Tensor:
        """The zero of the action sequence in goal units ``(B, N)``; a goal minus this is the way to it (see `frame`)."""
        return (self.origin(state_BP) + self.offset - self.center) / self.scale

    def frame(self, state_BP: Tensor) -> Tensor | None:
        """``(B, N, N)``: turns a way in the base's axes into one in those of the observed pose; None without rotations."""
        if not self._poses:
            return None
        frame = torch.eye(len(self.action_layout)).to(state_BP).repeat(len(state_BP), 1, 1)
        for turn, seen, together in self._poses:
            back = to_matrix(state_BP[:, seen.raw], seen.form, seen.degrees).transpose(1, 2)
            blocks = [range(turn.at, turn.at + 3), range(turn.at + 3, turn.at + 6)]
            for block in [*blocks, turn.position] if together else blocks:
                at = torch.tensor(list(block), device=state_BP.device)
                frame[:, at[:, None], at[None]] = back
        return frame

    def goal_of(self, units_BN: Tensor, state_BP: Tensor) -> Tensor:
        """The goal ``(B, N)`` at which an action of the sequence, in network units, ends."""
        way = units_BN
        if self._poses:
            way = self._turned(units_BN[:, None] * self.scale, state_BP, back=True)[:, 0] / self.scale
        return way + self.here(state_BP)

    def hold_pose(self, state_BP: Tensor) -> Tensor:
        """Network units ``(B, 1, N)`` of staying put: no displacement, and the mean of absolute dimensions."""
        return state_BP.new_zeros(len(state_BP), 1, len(self.relative))

    def rest(self, state_BP: Tensor) -> Tensor:
        """Normalised actions ``(B, A)`` that keep arms where they are; NaN where the state does not have the pose."""
        found = self.what.rest(state_BP.detach().cpu().double().numpy())
        return self.normalized(torch.from_numpy(found).to(state_BP))

    def origin(self, state_BP: Tensor) -> Tensor:
        """``(B, N)``: what relative dimensions are taken from, in the dataset's units; 0 for the others."""
        out = torch.where(self.relative > 0, self.action_layout.spread(state_BP[:, self.follows]), 0.0)
        for turn, seen, _ in self._poses:
            out[:, turn.at : turn.at + 6] = columns(to_matrix(state_BP[:, seen.raw], seen.form, seen.degrees))
        return out

    def short_way(self, way: Tensor) -> Tensor:
        """Ways ``(..., N)`` of angles that wrap, the short way round."""
        for at, (low, high) in self._wraps:
            way[..., at] -= self.relative[at] * (high - low) * torch.round(way[..., at] / (high - low))
        return way

    def _turned(self, way_BHN: Tensor, state_BP: Tensor, back: bool = False) -> Tensor:
        frame = self.frame(state_BP)
        if frame is None:
            return way_BHN
        return torch.einsum("bji,bhj->bhi" if back else "bij,bhj->bhi", frame, way_BHN)


def _least_spread(stats: dict[str, Tensor], dims: Sequence[Dimension]) -> Tensor:
    low, high = (torch.as_tensor(stats[k]).double().flatten().cpu().numpy() for k in ("min", "max"))
    span, size = high - low, abs(low)
    span = span.copy()
    still = constant(low, high)
    span[still] = 0.0
    span[still] = widest_alike(span, dims, size)[still]
    return LEAST_SPREAD * torch.from_numpy(span).float()
