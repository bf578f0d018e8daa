# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the arm and the gripper do in an episode, in units that hold for any robot, rate and action space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lerobot_wallwm.embodiment.description import Dimension, widest_alike
from lerobot_wallwm.embodiment.recognise import is_gripper
from lerobot_wallwm.processors.motion.contact import Contact, contacts, jitter_of
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.storage.errors import check_fields

# Of the widest arm joint's travel, where all joints share LeRobot's `.pos` units. Our choice: less travel over a whole
# episode is a hand resting on the trigger.
_LEAST_TRAVEL = 0.03
# Smallest part of the gripper's range of a closing or opening that begins or ends a hold. Our choice: hands also squeeze
# while they hold, but then the hold goes on.
_HELD_SWITCH = 0.1


@dataclass
class KinematicsConfig:
    """How to read an episode's state and action."""

    # Standard deviation of the smoothing of speeds, seconds. Our choice: 0.05, below the 0.1 s to which a
    # boundary should be exact.
    smooth_s: float = 0.05
    # Smallest part of the gripper's range in the episode that counts as opening or closing. Our choice: 0.4;
    # a squeeze after the grasp is smaller.
    min_switch: float = 0.4

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        check_fields(self, "kinematics", "above 0", lambda value: value > 0, "smooth_s")
        check_fields(self, "kinematics", "in (0, 1]", lambda value: 0 < value <= 1, "min_switch")


@dataclass(frozen=True)
class Switch:
    """One opening or closing of a gripper, for arms with more than one.

    From the first frame whose command differs from the plateau before, to one past the last at which command or finger
    still moves.
    """

    start: int
    end: int
    closing: bool
    gripper: int = 0


@dataclass(frozen=True)
class Kinematics:
    """Signals of one episode.

    Attributes:
        fps: Frames per second.
        velocity: (T, D) arm velocity; each dimension divided by its own 95th percentile. Row t is the motion that the
            action of frame t commands.
        smooth: (T, D) `velocity` under a Gaussian of `smooth_s`.
        speed: (T,) norm of `smooth`, where 1 is the episode's 90th percentile.
        still: Speed up to which the arm cannot be told from standing: 0.06 (our choice), or more if the data is noisy.
        opening: (T, G) gripper commands, 0 closed to 1 open.
        switches: Openings and closings in time order.
        contacts: Holds of the grippers and touches of the arm in time order.
    """

    fps: float
    velocity: np.ndarray
    smooth: np.ndarray
    speed: np.ndarray
    still: float
    opening: np.ndarray
    switches: tuple[Switch, ...] = field(default=())
    contacts: tuple[Contact, ...] = field(default=())

    def frames(self, seconds: float, least: int = 1) -> int:
        """Seconds as a number of frames, at least `least`."""
        return max(least, round(seconds * self.fps))


def _gripper_efforts(episode: Episode, of_action: list[int]) -> list[int]:
    """Which dimensions of the effort are grippers: those named so, else those of the action where there are as many."""
    if episode.effort is None:
        return []
    named = [d for d, name in enumerate(episode.effort_names) if is_gripper(name)]
    return named or (of_action if episode.effort.shape[1] == episode.action.shape[1] else [])


def _of_the_action(episode: Episode) -> Episode:
    """The episode with only those dimensions of the state that the action has by name, in its order.

    Some robots write speeds and torques into the state; beside these, commands would not be known as positions.
    """
    names = episode.action_names
    if not names or len(episode.state_names) <= len(names) or not set(names) <= set(episode.state_names):
        return episode
    dims = [episode.state_names.index(name) for name in names]
    what = episode.what.of_state(dims)
    return replace(episode, state=episode.state[:, dims], state_names=names, embodiment=what)


def _scaled(velocity: np.ndarray, dims: Sequence[Dimension]) -> np.ndarray:
    """Divides each dimension by its own typical size, with a floor so that a still joint's noise is not blown up.

    The floor is a part of the greatest size among the dimensions of the same unit.
    """
    if velocity.shape[1] == 0:
        return velocity
    size = typical_size(velocity)
    return velocity / np.maximum(size, 0.15 * widest_alike(size, dims))


def typical_size(values_TD: np.ndarray) -> np.ndarray:
    """(D,) 95th percentile of each dimension's size, but at least a quarter of its greatest."""
    size = np.abs(values_TD)
    return np.maximum(np.quantile(size, 0.95, axis=0), 0.25 * size.max(axis=0))


def steps_of(values: np.ndarray) -> np.ndarray:
    """(T, D) differences; row t is what changed from t - 1 to t, row 0 is zero."""
    return np.diff(values, axis=0, prepend=values[:1])


def kinematics(episode: Episode, config: KinematicsConfig | None = None) -> Kinematics:
    """Computes the signals of an episode; see `Kinematics`."""
    config = config or KinematicsConfig()
    episode = _of_the_action(episode)
    fps, action, state = episode.fps, episode.action, episode.state
    what = episode.what
    grip_action, grip_state = what.grippers, what.state_grippers
    arm_action = np.delete(action, grip_action, axis=1)
    arm_state = np.delete(state, grip_state, axis=1)
    sigma = config.smooth_s * fps

    arm, beside = (
        [dim for d, dim in enumerate(dims) if d not in own]
        for dims, own in ((what.action, grip_action), (what.state, grip_state))
    )
    rates = np.delete(what.rates, grip_action)
    touched = contacts(episode, _gripper_efforts(episode, grip_action))
    # Steps and velocities are the motion themselves.
    velocity = _scaled(np.where(rates, arm_action, steps_of(arm_action)), arm)
    if rates.all():
        # The state shows what came of them one frame later.
        moved = np.vstack([np.diff(arm_state, axis=0), np.zeros((1, arm_state.shape[1]))])
        velocity = np.hstack([velocity, _scaled(moved, beside)])
    smooth = gaussian_filter1d(velocity, sigma, axis=0, mode="nearest") if velocity.size else velocity
    speed = np.linalg.norm(smooth, axis=1)
    top = np.quantile(speed, 0.9)
    top = top if top > 0 else max(speed.max(), 1.0)
    speed = speed / top
    still = float(np.clip(1.5 * _noise_floor(velocity, smooth, sigma) / top, 0.06, 0.3))

    openings, switches = [], []
    widest = float(np.ptp(arm_action, axis=0).max()) if arm_action.size else 0.0
    for g, d in enumerate(grip_action):
        # A gripper told by how much it is to move is where that has brought it.
        command = np.cumsum(action[:, d]) if what.rates[d] else action[:, d]
        low, high = command.min(), command.max()
        least = _LEAST_TRAVEL * widest if what.action[d].name.endswith(".pos") else 0.0
        if high - low <= max(1e-6, least, 8 * float(jitter_of(command))):
            openings.append(np.ones(len(command)))
            continue
        unit = (command - low) / (high - low)
        fingers = what.fingers(d)
        # Parallel fingers are written as two mirrored joints: their spread is the sum of the sizes.
        finger = np.abs(state[:, fingers]).sum(axis=1) if fingers else None
        unit = 1 - unit if what.action[d].opens == "low" else unit
        openings.append(unit)
        switches += _find_switches(unit, finger, g, fps, config, [c for c in touched if c.gripper == g])
    opening = np.stack(openings, axis=1) if openings else np.zeros((len(action), 0))
    switches.sort(key=lambda s: s.start)
    return Kinematics(fps, velocity, smooth, speed, still, opening, tuple(switches), touched)


def _noise_floor(velocity: np.ndarray, smooth: np.ndarray, sigma: float) -> float:
    """Norm of what white noise in the positions leaves in the smoothed velocity, judged by what smoothing removed.

    Position noise n gives differences of n sqrt(2); a Gaussian of width s lets n / sqrt(4 sqrt(pi) s^3) of them through.
    """
    if sigma < 0.5 or velocity.size == 0:
        return 0.0
    removed = 1.4826 * np.median(np.abs(velocity - smooth), axis=0)
    passed = 1 / np.sqrt(4 * np.sqrt(np.pi) * sigma**3) / np.sqrt(2)
    return float(np.linalg.norm(removed) * passed)


def _find_switches(
    unit: np.ndarray,
    finger: np.ndarray | None,
    gripper: int,
    fps: float,
    config: KinematicsConfig,
    holds: Sequence[Contact],
) -> list[Switch]:
    """Runs of one-way motion of the command that cross a large part of its range, or a smaller one into or out of a hold."""
    # 0.3 of the range per second: a slow hand needs 1 to 2 s for a full close; hand tremor stays below.
    step = np.diff(unit, prepend=unit[:1])
    rate = gaussian_filter1d(step, 0.03 * fps, mode="nearest") * fps
    # Closing and opening are told apart frame by frame: after a missed grasp one follows the other without a rest.
    way = np.sign(rate) * (np.abs(rate) > 0.3)
    edges = np.flatnonzero(np.diff(way, prepend=0.0, append=0.0))
    merged: list[tuple[int, int]] = []
    gap = max(1, round(0.15 * fps))
    for begin, end in pairwise(edges.tolist()):
        if merged and way[begin] and begin - merged[-1][1] <= gap and way[begin] == way[merged[-1][0]]:
            merged[-1] = merged[-1][0], end
        elif way[begin]:
            merged.append((begin, end))
    switches: list[Switch] = []
    for begin, end in merged:
        change = unit[end - 1] - unit[max(begin - 1, 0)]
        if abs(change) < (_HELD_SWITCH if _meets(holds, begin, end, change < 0, fps) else config.min_switch):
            continue
        own = np.flatnonzero(np.abs(step[begin:end]) > 0.02 * abs(change))
        if len(own):
            begin, end = begin + int(own[0]), begin + int(own[-1]) + 1
        # A smooth command creeps out of its plateau before it is fast.
        sign, reach = np.sign(change), max(1, round(0.1 * fps))
        first, last = max(1, begin - reach), min(len(step), end + reach)
        while begin > first and step[begin - 1] * sign > 0 and rate[begin - 1] * sign > 0.03:
            begin -= 1
        while end < last and step[end] * sign > 0 and rate[end] * sign > 0.03:
            end += 1
        if finger is not None and np.ptp(finger) > 0:
            end = max(end, _settled(finger, begin, end, fps))
        if switches and switches[-1].end > begin:
            # The finger was still on its way when it was sent back.
            switches[-1] = replace(switches[-1], end=begin)
        switches.append(Switch(begin, end, bool(change < 0), gripper))
    return switches


def _meets(holds: Sequence[Contact], begin: int, end: int, closing: bool, fps: float) -> bool:
    """Whether a hold begins at the end of a closing, or ends with an opening; up to 0.3 s late, the finger's lag."""
    late = round(0.3 * fps)
    return any(begin < (hold.start if closing else hold.end) <= end + late for hold in holds)


def _settled(finger: np.ndarray, begin: int, end: int, fps: float) -> int:
    """The frame at which the finger stands still again after a switch, at most 1 s after its command ended."""
    rate = np.diff(finger, append=finger[-1:]) / np.ptp(finger) * fps
    stop = min(len(finger), end + round(fps))
    # Along the way it took first: springing back from what it grasps is no longer the switch.
    rate = rate * np.sign(finger[stop - 1] - finger[begin])
    started, last = False, min(stop, len(finger) - 1)
    for frame in range(max(begin + 1, end), last):
        started = started or rate[frame] > 0.3
        if started and rate[frame] <= 0.3:
            return frame
        if not started and frame - begin > 0.3 * fps:
            return end
    return last if started else end
