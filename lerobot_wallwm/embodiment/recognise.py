# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Reads an `Embodiment` off names and data.

Names that say it win: `x.vel`, `dx`, `gripper.pos`, `qw`. What they leave open is told by the data: a position goes where
the state goes, a step where the state is going. All thresholds are our choice.

Shapes: T rows, A action dims, S state dims.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lerobot_wallwm.embodiment.description import Dimension, Embodiment, Rotation

_VELOCITY = {"vel", "velocity", "velocities", "speed", "twist"}
_STEP = {"delta", "step", "increment"}
_POSITION = {"position", "target", "goal", "abs", "absolute"}
_GRIPPER = ("grip", "grasp", "finger", "jaw", "claw")
_NO_POSE = {"effort", "current", "load", "torque", "force"}
_AXES = {"x", "y", "z", "height"}
# What a base's numbers are called; an arm's first joint may be its "base", too.
_DRIVEN = {"x", "y", "theta", "vel", "vx", "vy", "vtheta", "omega"}
# ROS' words for a base's velocities, which do not say so themselves.
_TWIST = re.compile(r"^(?:linear|angular) [xyz]$|(?:^| )(?:v(?:x|y|theta)|omega)$")
_ANGLES = re.compile(
    r"roll|pitch|yaw|theta|pan|lift|flex|elbow|shoulder|wrist|waist|forearm|joint|rotate|angle|hip|knee|ankle|^j\d"
)
_STEP_OF = re.compile(r"^d(x|y|z|r[xyz]|w[xyz]|roll|pitch|yaw|theta|gripper)$")
# Words that say which part of a pose a name is, and not whose pose.
_PART_OF_POSE = {
    "pos",
    "position",
    "rot",
    "rotation",
    "ori",
    "orientation",
    "quat",
    "quaternion",
    "euler",
    "rpy",
}
_PART_OF_POSE |= {"rotvec", "axis", "angle", "rot6d", "r6d", "6d", "d"}
# The last words of a rotation's numbers, in the form's order.
_ROTATIONS = (
    ("euler_xyz", ("roll", "pitch", "yaw")),
    ("quaternion", ("qx", "qy", "qz", "qw")),
    ("quaternion", ("quat x", "quat y", "quat z", "quat w")),
    ("quaternion", ("quaternion x", "quaternion y", "quaternion z", "quaternion w")),
    ("quaternion", ("rx", "ry", "rz", "rw")),
    ("axis_angle", ("rx", "ry", "rz")),
    ("axis_angle", ("wx", "wy", "wz")),
    ("axis_angle", ("rotvec x", "rotvec y", "rotvec z")),
    ("euler_xyz", ("rot x", "rot y", "rot z")),
    ("6d", tuple(f"rot6d {i}" for i in range(6))),
    ("6d", tuple(f"r6d {i}" for i in range(6))),
    ("6d", tuple(f"rot 6d {i}" for i in range(6))),
)


@dataclass(frozen=True)
class Rows:
    """Rows of a dataset to judge by: (T, A) actions, (T, S) states, (T,) their episodes, and the rate."""

    action: np.ndarray
    state: np.ndarray
    episode: np.ndarray
    fps: float

    def sound(self) -> Rows:
        """Without rows that are not finite."""
        good = np.isfinite(self.action).all(1) & np.isfinite(self.state).all(1)
        return Rows(
            self.action[good].astype(float), self.state[good].astype(float), self.episode[good], self.fps
        )


def recognise(
    action_names: Sequence[str] | None,
    state_names: Sequence[str] | None,
    widths: tuple[int, int],
    rows: Rows | None,
) -> Embodiment:
    """The description of a dataset.

    Args:
        action_names, state_names: As the dataset spells them; None or empty where it has none.
        widths: A and S.
        rows: To judge by; None leaves open what names do not say, and takes it for positions.
    """
    rows = None if rows is None else rows.sound()
    if rows is not None and len(rows.action) < 3:
        rows = None
    named = bool(action_names)
    action, state = (
        [_from_name(name) for name in names or ()] or [Dimension(str(d)) for d in range(width)]
        for names, width in zip((action_names, state_names), widths, strict=True)
    )
    action, state = _parts(action), _parts(state)
    guessed: list[str] = []
    if rows is not None:
        seen = _Evidence(rows)
        if not any(dim.quantity == "gripper" for dim in action):
            action = _find_grippers(action, rows.action)
            guessed = [dim.name for dim in action if dim.quantity == "gripper"]
        if not state_names and len(state) == len(action):
            state = [replace(s, quantity=a.quantity, part=a.part) for s, a in zip(state, action, strict=True)]
        if not any(dim.quantity == "gripper" for dim in state):
            state = _find_grippers(state, rows.state)
        action, told = _kinds(action, state, seen, action_names)
        action = [
            replace(dim, follows=_followed(d, action, state, seen, bool(state_names)))
            for d, dim in enumerate(action)
        ]
        if not any(dim.quantity == "gripper" for dim in action):
            action = _as_the_state_has_them(action, state, seen)
        guessed = [dim.name for dim in action if dim.name in {*guessed, *told}]
        for d, dim in enumerate(action):
            if dim.quantity == "gripper":
                action[d] = replace(dim, opens=_opens(d, Embodiment(tuple(action), tuple(state)), seen))
    else:
        action = [replace(dim, follows=_by_name(dim, state)) for dim in action]
    state = _units(state, None if rows is None else rows.state)
    action = _units(action, None if rows is None else rows.action, state)
    action_turns, state_turns = _rotations(action, named), _rotations(state, bool(state_names))
    if rows is not None:
        action = _wraps(action, rows.action, rows.episode, action_turns)
        state = _wraps(state, rows.state, rows.episode, state_turns)
    action_turns = [replace(t, follows=_same_pose(t, action, state, state_turns)) for t in action_turns]
    # A rotation's numbers are followed together or not at all.
    turning = {d for turn in action_turns for d in turn.dims}
    action = [replace(dim, follows=-1) if d in turning else dim for d, dim in enumerate(action)]
    found = Embodiment(tuple(action), tuple(state), tuple(action_turns), tuple(state_turns), tuple(guessed))
    found.check()
    return found


# ---------------------------------------------------------------------- what names say


def words_of(name: str) -> list[str]:
    """A name's words in lower case."""
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def is_gripper(name: str) -> bool:
    """Whether a name says gripper."""
    return any(word in name.lower() for word in _GRIPPER)


def _from_name(name: str) -> Dimension:
    words = words_of(name)
    plain = [match[1] if (match := _STEP_OF.match(word)) else word for word in words]
    kind = "position"
    if _VELOCITY & set(words) or _is_twist(words):
        kind = "velocity"
    elif _STEP & set(words) or plain != words:
        kind = "step"
    if is_gripper(name):
        quantity = "gripper"
    elif _is_twist(words):
        quantity = "angle" if words[-2:-1] == ["angular"] or words[-1] in ("omega", "vtheta") else "length"
    elif _NO_POSE & set(words):
        quantity = "other"
    elif any(_ANGLES.search(word) for word in plain) or {"rot", "rotvec", "euler"} & set(plain):
        quantity = "angle"
    elif {"quat", "quaternion", "rot6d", "r6d", "6d"} & set(plain) or re.search(
        r"(^|[^a-z])q[wxyz]$", name.lower()
    ):
        quantity = "other"
    elif plain and re.fullmatch(r"[rw][xyz]", plain[-1]):
        quantity = "angle"
    elif _AXES & set(plain):
        quantity = "length"
    else:
        quantity = "angle" if name.endswith(".pos") else "other"
    unit = ""
    for unit_words, known in (
        ({"deg", "degree", "degrees"}, "degrees"),
        ({"rad", "radian", "radians"}, "radians"),
        ({"mm"}, "millimetres"),
        ({"metre", "metres", "meter", "meters"}, "metres"),
    ):
        unit = known if unit_words & set(words) else unit
    return Dimension(name, kind, quantity, unit)


def _is_twist(words: Sequence[str]) -> bool:
    return bool(_TWIST.search(" ".join(words[-2:])))


def says_kind(name: str) -> bool:
    """Whether a name says itself whether it is a position, a velocity or a step.

    `.pos` does not quite: LeRobot's motors are called so whatever is written to them.
    """
    words = words_of(name)
    explicit = (_VELOCITY | _STEP | _POSITION) & set(words) or _is_twist(words)
    return bool(explicit or any(_STEP_OF.match(word) for word in words))


def _parts(dims: list[Dimension]) -> list[Dimension]:
    """Which arm, or the base, each belongs to."""
    words = [words_of(dim.name) for dim in dims]
    short = {"l", "r"} <= {word for own in words for word in own}
    out = []
    driven = any(word[-1:] == ["vel"] for word in words) and any(word[-1:] == ["pos"] for word in words)
    for dim, own in zip(dims, words, strict=True):
        part = "arm"
        if "left" in own or (short and "l" in own):
            part = "left arm"
        elif "right" in own or (short and "r" in own):
            part = "right arm"
        elif {"wheel", "chassis"} & set(own) or _is_twist(own) or _drives(own, driven):
            part = "base"
        out.append(replace(dim, part=part))
    return out


def _drives(words: Sequence[str], beside_joints: bool) -> bool:
    """Whether a name is a base's: `base_x`, and LeKiwi's `x.vel` beside joints that end in `.pos`."""
    return words[-1] in _DRIVEN and ("base" in words or (beside_joints and words[0] in _DRIVEN))


def _by_name(dim: Dimension, state: Sequence[Dimension]) -> int:
    """The state's dimension of the same name; numbers are no names."""
    if dim.kind != "position" or dim.name.isdecimal():
        return -1
    same = [d for d, other in enumerate(state) if other.label == dim.label and other.kind == "position"]
    return same[0] if same else -1


# ---------------------------------------------------------------------- what the data say

# Correlation with the state from which a command is a position, and with its change from which it is a step.
_GOES, _GOING = 0.8, 0.5
# A state measures an action's dimension if their difference is at most this part of the action's variance.
_APART = 0.35
# Steps begin and end their episodes at rest: this part of their size.
_AT_REST = 0.1


class _Evidence:
    """Correlations of actions with states and with their changes, within episodes."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        action, state = rows.action, rows.state
        self.moves_by = np.ptp(action, 0)
        self.moves = self.moves_by > 0, np.ptp(state, 0) > 0
        ahead = max(1, round(0.15 * rows.fps))
        together = rows.episode[ahead:] == rows.episode[:-ahead] if len(action) > ahead else np.zeros(0, bool)
        summed = np.vstack([np.zeros(action.shape[1]), np.cumsum(action, 0)])
        self.asked = (summed[ahead:-1] - summed[: -ahead - 1])[together]
        self._ahead, self._together = ahead, together
        self.moved = self.change(state)
        self.goes = _correlations(action, state)
        self.going = _correlations(self.asked, self.moved)

    def change(self, values: np.ndarray) -> np.ndarray:
        """How far signals of the rows go in a moment, for the rows of `asked`."""
        ahead = self._ahead
        return (values[ahead:] - values[:-ahead])[self._together] if len(values) > ahead else values[:0]

    def mostly_zero(self, d: int) -> bool:
        """Whether a command rests at zero in more than half of the rows, and goes both ways from there."""
        values = self.rows.action[:, d]
        return values.min() < 0 < values.max() and 2 * np.median(np.abs(values)) < _AT_REST * np.ptp(values)

    def comes_to_zero(self, d: int) -> bool:
        """Whether a command is ever near zero."""
        size = np.abs(self.rows.action[:, d])
        return float(size.min()) <= 0.9 * float(size.max())

    def _ends(self, d: int) -> float:
        """Size of a command at the ends of its episodes, as a part of its greatest."""
        values = np.abs(self.rows.action[:, d])
        borders = np.flatnonzero(np.diff(self.rows.episode)) + 1
        ends = values[np.concatenate(([0], borders, borders - 1, [len(values) - 1]))]
        size = float(np.quantile(values, 0.95)) or float(values.max())
        return float(np.median(ends)) / size if size > 0 else 0.0

    def rests_at_zero(self, d: int) -> bool:
        """Whether a command begins and ends its episodes near zero, as steps do and positions do not."""
        values = self.rows.action[:, d]
        return values.min() < 0 < values.max() and self._ends(d) < _AT_REST

    def leaps_or_returns(self, d: int) -> bool:
        """Whether a base's command is no place: places neither leap from one row to the next nor come back to zero."""
        same = self.rows.episode[1:] == self.rows.episode[:-1]
        leaps = np.abs(np.diff(self.rows.action[:, d]))[same]
        return bool(leaps.size and leaps.max() > 0.3 * self.moves_by[d]) or self._ends(d) < _AT_REST

    def apart(self, d: int, j: int) -> float:
        """Variance of ``a - s`` as a part of that of ``a``."""
        action, state = self.rows.action[:, d], self.rows.state[:, j]
        return float(np.var(action - state) / max(np.var(action), 1e-300))


def _correlations(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``(A, S)``; 0 where one does not move."""
    if len(left) < 3:
        return np.zeros((left.shape[1], right.shape[1]))
    a, b = (values - values.mean(0) for values in (left, right))
    sizes = np.sqrt((a**2).sum(0))[:, None] * np.sqrt((b**2).sum(0))[None]
    return np.where(sizes > 0, a.T @ b / np.where(sizes > 0, sizes, 1.0), 0.0)


def _kinds(
    action: list[Dimension], state: list[Dimension], seen: _Evidence, names: Sequence[str] | None
) -> tuple[list[Dimension], list[str]]:
    """Kinds that names leave open; and the names of the dimensions whose kind the data told."""
    told: dict[int, str] = {}
    open_dims = [d for d, dim in enumerate(action) if not (names and says_kind(dim.name))]
    soft = [d for d in open_dims if action[d].name.endswith(".pos")]
    for d in open_dims:
        near = [j for j, other in enumerate(state) if other.label == action[d].label] if names else []
        near = near or ([d] if len(action) == len(state) else list(range(len(state))))
        goes = max((abs(seen.goes[d, j]) for j in near), default=0.0)
        going = max(np.abs(seen.going[d]), default=0.0)
        if action[d].quantity == "gripper":
            # What closes it may be a force, which says where it is to go; a rate is zero most of the time.
            rate = going > _GOING and going > goes and seen.mostly_zero(d)
            told[d] = _rate_of(d, seen) if rate else "position"
        elif action[d].part == "base":
            told[d] = "velocity" if seen.leaps_or_returns(d) else "position"
        elif d in soft and seen.moves[0][d]:
            told[d] = _rate_of(d, seen) if going > _GOES and goes < _GOING else "position"
        elif goes > _GOES and goes >= going:
            told[d] = "position"
        elif going > _GOING and going > goes:
            # What is never near zero has no rest at zero: the w of a quaternion.
            told[d] = _rate_of(d, seen) if seen.comes_to_zero(d) else "position"
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for d, kind in told.items():
        votes[action[d].part][kind] += action[d].quantity != "gripper"
    out = list(action)
    for d in open_dims:
        kind, count = (votes[action[d].part].most_common(1) or [("", 0)])[0]
        if d in told:
            kind = told[d]
        elif not count or not seen.comes_to_zero(d):
            kind = "step" if not count and seen.rests_at_zero(d) else "position"
        out[d] = replace(action[d], kind=kind)
    plain = {d for d in open_dims if out[d].kind == "position"}
    known = {d for d in plain if d in soft or out[d].quantity == "gripper"}
    return out, [action[d].name for d in open_dims if d not in known]


def _rate_of(d: int, seen: _Evidence) -> str:
    """Velocity or step, by how far the state goes for what is asked."""
    j = int(np.argmax(np.abs(seen.going[d])))
    asked = seen.asked[:, d]
    slope = abs(float(asked @ seen.moved[:, j]) / max(float(asked @ asked), 1e-300)) * seen.rows.fps
    return "velocity" if 0.8 < slope < 1.25 else "step"


def _followed(
    d: int, action: Sequence[Dimension], state: Sequence[Dimension], seen: _Evidence, state_named: bool
) -> int:
    """Which of the state's dimensions measures a position in the same unit."""
    dim = action[d]
    if dim.kind != "position":
        return -1
    j = _by_name(dim, state)
    if j >= 0 and state_named:
        # A gripper that holds something does not reach its goal, so that the two go together less.
        least = 0.2 if dim.quantity == "gripper" else 0.5
        both = seen.moves[0][d] and seen.moves[1][j]
        return j if not both or (seen.goes[d, j] > least and _same_scale(d, j, seen)) else -1
    if not seen.moves[0][d]:
        return -1
    places = [k for k in range(len(state)) if seen.goes[d, k] > _GOES and seen.apart(d, k) < _APART]
    if len(action) == len(state) and d in places:
        return d
    return max(places, key=lambda k: -seen.apart(d, k), default=-1)


def _same_scale(d: int, j: int, seen: _Evidence) -> bool:
    """Whether a command and its measure have one unit: a finger stays off its goal, but not far."""
    return 0.2 < np.ptp(seen.rows.state[:, j]) / seen.moves_by[d] < 5


def _rests_at_levels(values: np.ndarray) -> bool:
    """Whether a signal is at one of three levels most of the time, as the finger of an arm that waits for its turn:
    at home, open and closed.
    """
    span = np.ptp(values)
    if span <= 0:
        return False
    bins, _ = np.histogram((values - values.min()) / span, bins=20, range=(0, 1))
    shares = []
    for _ in range(3):
        windows = np.convolve(bins, np.ones(3), "valid") / len(values)
        at = int(np.argmax(windows))
        shares.append(float(windows[at]))
        bins = bins.copy()
        bins[at : at + 3] = 0
    return shares[1] > 0.08 and sum(shares) > 0.7


def _find_grippers(dims: list[Dimension], values: np.ndarray) -> list[Dimension]:
    """Grippers among dimensions whose names say nothing: bounded, and at one of two values most of the time."""
    width, out = len(dims), list(dims)
    for d in range(width):
        low, high = values[:, d].min(), values[:, d].max()
        if high <= low or dims[d].quantity != "other":
            continue
        unit = (values[:, d] - low) / (high - low)
        ends = float((unit < 0.1).mean()), float((unit > 0.9).mean())
        # The last of an arm's numbers is where all datasets have it.
        last = width >= 4 and (d == width - 1 or (width % 2 == 0 and width >= 12 and d == width // 2 - 1))
        if min(ends) > 0.05 and sum(ends) > (0.5 if last else 0.9):
            out[d] = replace(dims[d], quantity="gripper")
    last_two = [width // 2 - 1, width - 1]
    silent = width % 2 == 0 and width >= 12 and all(dims[d].quantity == "other" for d in last_two)
    if silent and all(_rests_at_levels(values[:, d]) for d in last_two):
        for d in last_two:
            out[d] = replace(dims[d], quantity="gripper")
    found = [d for d in range(width) if out[d].quantity == "gripper"]
    if width % 2 == 0 and found == last_two:
        half = width // 2
        out = [replace(dim, part="left arm" if d < half else "right arm") for d, dim in enumerate(out)]
    return out


def _as_the_state_has_them(
    action: list[Dimension], state: Sequence[Dimension], seen: _Evidence
) -> list[Dimension]:
    """Grippers that only the state shows: the command that goes where they go, or that moves them."""
    out = list(action)
    for j in (j for j, dim in enumerate(state) if dim.quantity == "gripper" and seen.moves[1][j]):
        rates = np.array([dim.kind != "position" for dim in action])
        close = np.abs(np.where(rates, seen.going[:, j] / _GOING, seen.goes[:, j] / _GOES))
        if close.max() > 1:
            d = int(close.argmax())
            out[d] = replace(action[d], quantity="gripper")
    return out


# A finger that holds something is off its goal by this part of its range, on average over the rows at that end.
_HELD_OFF = 0.06


def _opens(d: int, what: Embodiment, seen: _Evidence) -> str:
    """Which end of a gripper's range is open.

    Fingers that hold something stay short of their goal, and that is the closed end. Else the end at which fingers of another
    unit stand wider, or, without such, the greater number, as most arms have it. Where the state shows no finger, episodes
    begin open.
    """
    dim, fingers = what.action[d], what.fingers(d)
    if "clos" in dim.name.lower():
        return "low"
    values, rows = seen.rows.action[:, d], seen.rows
    if not seen.moves_by[d] or (not fingers and dim.name.endswith(".pos")):
        return "high"
    unit = (values - values.min()) / seen.moves_by[d]
    if not fingers:
        starts = np.concatenate(([0], np.flatnonzero(np.diff(rows.episode)) + 1))
        return "high" if dim.kind != "position" or np.median(unit[starts]) >= 0.5 else "low"
    if dim.follows < 0:
        spread = np.abs(rows.state[:, fingers]).sum(axis=1)
        asked, moved = (seen.asked[:, d], seen.change(spread)) if dim.kind != "position" else (unit, spread)
        return "low" if _correlations(asked[:, None], moved[:, None])[0, 0] < -0.3 else "high"
    finger = (rows.state[:, fingers[0]] - values.min()) / seen.moves_by[d]
    resting = np.abs(np.gradient(finger)) * rows.fps < 0.3
    off = np.where(np.abs(unit - finger) > 0.05, unit - finger, 0.0)
    high, low = (
        float(np.mean(off[resting & end])) if (resting & end).any() else 0.0
        for end in (unit > 0.5, unit < 0.5)
    )
    return "low" if high > _HELD_OFF and high > 3 * max(-low, 0.0) else "high"


# ---------------------------------------------------------------------- units, turns, poses


def _units(
    dims: list[Dimension], values: np.ndarray | None, like: Sequence[Dimension] = ()
) -> list[Dimension]:
    """Units that names leave open; those of steps and velocities are those of the state of the same name in `like`."""
    out = []
    for d, dim in enumerate(dims):
        most = None if values is None or not len(values) else float(np.abs(values[:, d]).max())
        unit = dim.unit
        if not unit and dim.kind != "position":
            unit = next((o.unit for o in like if o.quantity == dim.quantity and _moved(dim) == o.label), "")
        if not unit and dim.quantity == "angle":
            big = dim.name.endswith(".pos") if most is None else most > 7
            small = (
                most is not None and most <= 7 and (dim.kind == "position" or not dim.name.endswith(".vel"))
            )
            unit = "degrees" if big else "radians" if small else ""
        elif not unit and dim.quantity == "length" and most is not None:
            if dim.kind == "position":
                unit = "millimetres" if most > 20 else "metres"
            else:
                unit = "metres" if most < (5.0 if dim.kind == "velocity" else 0.2) else ""
        elif not unit and dim.quantity == "gripper" and most is not None:
            unit = "unit" if most <= 1.05 else "percent" if most <= 105 else "ticks"
        out.append(replace(dim, unit=unit))
    if values is None or not len(values):
        return out
    # A joint that hardly moves has small numbers in every unit: it has that of its arm's other joints.
    span = np.ptp(values, axis=0)
    for d, dim in enumerate(out):
        others = [
            span[o]
            for o, other in enumerate(out)
            if (other.unit, other.quantity, other.part, other.kind)
            == ("degrees", "angle", dim.part, dim.kind)
        ]
        small = (dim.unit, dim.quantity, dims[d].unit) == ("radians", "angle", "")
        if small and others and np.degrees(span[d]) < 0.25 * float(np.median(others)):
            out[d] = replace(dim, unit="degrees")
    return out


def _moved(dim: Dimension) -> str:
    """The label of what a step or a velocity moves: of `dx` and of `delta_x` it is x."""
    return re.sub(r"^(?:d(?=[a-z]+$)|delta_|d_)|\.vel$", "", dim.label)


def _wraps(
    dims: list[Dimension], values: np.ndarray, episode: np.ndarray, turns: Sequence[Rotation]
) -> list[Dimension]:
    """Angles that jump by a turn from one row to the next, and all Euler angles."""
    euler = {d for turn in turns if turn.form == "euler_xyz" for d in turn.dims}
    turning = {d for turn in turns for d in turn.dims} - euler
    same = episode[1:] == episode[:-1]
    out = []
    for d, dim in enumerate(dims):
        period = 360.0 if dim.unit == "degrees" else 2 * np.pi
        jumps = same.any() and np.abs(np.diff(values[:, d]))[same].max() > 0.8 * period
        fits = np.ptp(values[:, d]) < 1.01 * period
        if (
            dim.kind == "position"
            and dim.quantity == "angle"
            and d not in turning
            and (d in euler or (jumps and fits))
        ):
            low = (
                0.0
                if values[:, d].min() >= -0.01 * period and values[:, d].max() > 0.51 * period
                else -period / 2
            )
            dim = replace(dim, wraps=(low, low + period))
        out.append(dim)
    return out


def _pose_of(name: str) -> tuple[str, str]:
    """Whose pose a name belongs to, and which number of it: ``("left eef", "x")``."""
    words = words_of(name.removesuffix(".pos"))
    owner = [word for word in words[:-1] if word not in _PART_OF_POSE]
    return " ".join(owner), words[-1] if words else ""


def _rotations(dims: list[Dimension], named: bool) -> list[Rotation]:
    """Rotations by the names of their numbers; roll, pitch and yaw only beside an x, y and z, for joints have such names."""
    if not named:
        return []
    found: list[Rotation] = []
    taken: set[int] = set()
    ends: dict[tuple[str, str], int] = {}
    owners: dict[str, str] = {}
    for d, dim in enumerate(dims):
        if dim.kind == "velocity":
            continue
        words = words_of(dim.name.removesuffix(".pos"))
        for length in (1, 2, 3):
            if len(words) >= length:
                rest = [word for word in words[:-length] if word not in _PART_OF_POSE]
                ends.setdefault((" ".join(rest), " ".join(words[-length:])), d)
                owners.setdefault(" ".join(rest), dim.part)
    for owner in owners:
        xyz = tuple(ends.get((owner, axis), -1) for axis in "xyz")
        position = xyz if min(xyz) >= 0 and all(dims[d].quantity == "length" for d in xyz) else ()
        for form, names in _ROTATIONS:
            numbers = tuple(ends.get((owner, name), -1) for name in names)
            # Steps of three numbers are zero at rest and need no turning back and forth.
            if (
                min(numbers) < 0
                or taken & set(numbers)
                or (len(numbers) == 3 and dims[numbers[0]].kind == "step")
            ):
                continue
            if form in ("euler_xyz", "axis_angle") and not position:
                continue
            found.append(Rotation(form, numbers, position))
            taken |= set(numbers)
    return found


def _same_pose(
    turn: Rotation, action: Sequence[Dimension], state: Sequence[Dimension], turns: Sequence[Rotation]
) -> int:
    """Which of the state's rotations an action's follows: that of the same pose, by the position or by whose it is."""
    if any(action[d].kind != "position" for d in turn.dims):
        return -1
    followed = tuple(action[d].follows for d in turn.position)
    for i, other in enumerate(turns):
        if followed and -1 not in followed and other.position == followed:
            return i
    owners = [_pose_of(state[other.dims[0]].name)[0] for other in turns]
    own = _pose_of(action[turn.dims[0]].name)[0]
    return owners.index(own) if owners.count(own) == 1 else -1
