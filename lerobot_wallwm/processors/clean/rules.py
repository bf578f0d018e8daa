# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The rules that need nothing but the episode itself (paper p. 19: what is dropped before captioning).

A rule takes a `Recording` and returns one `Finding`. The paper names the faults and gives no thresholds: all are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lerobot_wallwm.processors.motion.quasi_static import Motion, QuasiStaticPruner
from lerobot_wallwm.processors.source.episodes import ACTION, STATE, Episode, not_finite
from lerobot_wallwm.storage.errors import check_fields

OK, FLAG, EXCLUDE = "ok", "flag", "exclude"
# Our choice, a speed in ranges per second: the start that `--prune_quasi_static` suggests.
_STATIC_SPEED = 0.02
# Our choice, a part of a gripper's whole range: less is noise.
_STILL = 0.03


@dataclass(frozen=True)
class Finding:
    """What one rule says of one episode.

    Attributes:
        rule: Its name.
        verdict: `ok`, `flag` (kept, marked) or `exclude` (left out of the view).
        evidence: What is wrong and where, in one clause; empty if nothing is.
        value: The number that was judged; its unit is the rule's.
        threshold: The value beyond which the verdict is not `ok`.
    """

    rule: str
    verdict: str
    evidence: str
    value: float
    threshold: float


@dataclass
class CleanConfig:
    """Parameters of `EpisodeCleaner`."""

    # What a bad episode does: `exclude` leaves it out of the views, says so and goes on; `error` stops at the first.
    on_bad: str = "exclude"
    # Rules that are not asked.
    skip: list[str] = field(default_factory=list)
    # Rules whose flag excludes the episode, for example [failed_reset,truncated_goal] in structured recordings.
    exclude: list[str] = field(default_factory=list)
    # Which video frames are decoded: `ends` (an episode's first and last; all packets are counted) or `all` (slow).
    decode: str = "ends"
    # Largest deviation of the clock's rate and of the number of video frames, as a part of what they should be.
    rate_tolerance: float = 0.1
    # Frames' time without a record that is flagged.
    gap_frames: float = 2.5
    # A step of a joint is a discontinuity if it is this many times the usual 99th percentile of its steps ...
    jump_factor: float = 4.0
    # ... and this part of its range, and 3 times the steps around it.
    jump_range: float = 0.1
    # Jumps over half its range, per second, that a gripper's state may make.
    gripper_chatter: float = 2.0
    # Part of quasi-static frames above which an episode is flagged.
    static: float = 0.8
    # Distance from the usual start, as a part of the range, above which the reset counts as failed.
    reset_range: float = 0.25
    # Speed at an episode's first or last moment, as a part of its top speed, above which it counts as truncated.
    cut_speed: float = 0.5
    # How far outside the quartiles of all episodes, in interquartile ranges, the state's extremes may lie.
    workspace_iqr: float = 3.0
    # The deployment robot's limits, one number per state dimension; leaving them excludes.
    workspace_low: list[float] | None = None
    workspace_high: list[float] | None = None

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        check_fields(self, "clean", "exclude or error", lambda value: value in ("exclude", "error"), "on_bad")
        check_fields(self, "clean", "ends or all", lambda value: value in ("ends", "all"), "decode")
        numbers = [name for name, value in vars(self).items() if isinstance(value, int | float)]
        check_fields(self, "clean", "above 0", lambda value: value > 0, *numbers)


@dataclass(frozen=True)
class Recording(Episode):
    """An episode before anything about it is certain: lengths may differ and values may be missing.

    Attributes:
        timestamp: (T,) float64 seconds, or None where the rows have no clock.
        frame_index: (T,) int64, or None.
    """

    timestamp: np.ndarray | None = None
    frame_index: np.ndarray | None = None


@dataclass(frozen=True)
class Asked:
    """What a rule of `EPISODE_RULES` is asked with, beside the episode; `min_frames` is the shortest event's."""

    config: CleanConfig
    min_frames: int


def finding(rule: str, verdict: str, evidence: str, value: float, threshold: float) -> Finding:
    """A finding whose verdict is `ok` if there is no evidence."""
    return Finding(rule, verdict if evidence else OK, evidence, float(value), float(threshold))


def lengths(episode: Recording, asked: Asked) -> Finding:
    """State, action and clock have one record per frame. Value: frames that differ."""
    sizes = {STATE: len(episode.state), ACTION: len(episode.action)}
    for name, values in (("timestamp", episode.timestamp), ("frame_index", episode.frame_index)):
        if values is not None:
            sizes[name] = len(values)
    differ = max(sizes.values()) - min(sizes.values())
    counts = ", ".join(f"{name} {count}" for name, count in sizes.items())
    return finding("lengths", EXCLUDE, f"columns differ in length: {counts}" if differ else "", differ, 0)


def too_short(episode: Recording, asked: Asked) -> Finding:
    """The episode can hold an event. Value: its frames."""
    count, least = len(episode.action), asked.min_frames
    evidence = f"has {count} frames, too short to hold an event of {least}"
    return finding("too_short", EXCLUDE, evidence if count < least else "", count, least)


def finite(episode: Recording, asked: Asked) -> Finding:
    """No NaN or infinity in state and action. Value: how many there are."""
    evidence, total = "", 0
    for key, values in ((STATE, episode.state), (ACTION, episode.action)):
        dim, problem, count = not_finite(values, episode.index)
        total += count
        if count and not evidence:
            evidence = f"{key}[{dim}] {problem}"
    return finding("finite", EXCLUDE, evidence, total, 0)


def timestamps(episode: Recording, asked: Asked) -> Finding:
    """Time and frame number ascend. Value: records that do not."""
    evidence, total = "", 0
    for name, values in (("timestamp", episode.timestamp), ("frame_index", episode.frame_index)):
        if values is None:
            continue
        bad = np.flatnonzero(~(np.diff(values) > 0))
        total += len(bad)
        if len(bad) and not evidence:
            at = int(bad[0]) + 1
            kind = "is repeated" if values[at] == values[at - 1] else f"follows {values[at - 1]:g}"
            evidence = f"{name} {values[at]:g} {kind} at frame {at} ({len(bad)} such records)"
    return finding("timestamps", EXCLUDE, evidence, total, 0)


def frame_rate(episode: Recording, asked: Asked) -> Finding:
    """The clock runs at the dataset's rate. Value: median rate over it."""
    assert episode.timestamp is not None
    ratio = 1 / (float(np.median(np.diff(episode.timestamp))) * episode.fps)
    off = abs(ratio - 1) > asked.config.rate_tolerance
    evidence = f"records come at {ratio * episode.fps:.2f} Hz, but the dataset says {episode.fps:g}"
    return finding("frame_rate", EXCLUDE, evidence if off else "", ratio, 1 + asked.config.rate_tolerance)


def gaps(episode: Recording, asked: Asked) -> Finding:
    """No record is missing. Value: longest time between two records, in frames."""
    assert episode.timestamp is not None
    step, most = np.diff(episode.timestamp) * episode.fps, asked.config.gap_frames
    at = int(step.argmax())
    evidence = f"{step[at] / episode.fps:.3f} s without a record after frame {at}"
    return finding("gaps", FLAG, evidence if step[at] > most else "", step[at], most)


def constant_state(episode: Recording, asked: Asked) -> Finding:
    """The arm was read, and moved. Value: widest range of a state dimension, in its unit."""
    widest = float(np.ptp(episode.state, axis=0).max())
    where = f"over all {len(episode.state)} frames of episode {episode.index}"
    evidence = f"{STATE} is constant {where}: the arm was not read, or never moved"
    return finding("constant_state", EXCLUDE, evidence if widest == 0 else "", widest, 0)


def gripper_frozen(episode: Recording, asked: Asked) -> Finding:
    """A gripper that is commanded is seen to move. Value: state range over command range; 1 with nothing to judge.

    Only for commands that the state measures in the same unit.
    """
    threshold, value, evidence = 0.02, 1.0, ""  # Our choice: an encoder's last bits.
    what = episode.what
    for d, j in ((d, what.action[d].follows) for d in what.grippers if what.action[d].follows >= 0):
        command, moved = np.ptp(episode.action[:, d]), np.ptp(episode.state[:, j])
        # A command that hardly moves says nothing about the encoder.
        if command > 0.1 * np.abs(episode.action[:, d]).max() and moved / command < value:
            value = float(moved / command)
            if value <= threshold:
                evidence = f"{ACTION}[{d}] moves by {command:g}, but {STATE}[{j}] by {moved:g}"
    return finding("gripper_frozen", EXCLUDE, evidence, value, threshold)


def gripper_chatter(episode: Recording, asked: Asked) -> Finding:
    """A gripper's state does not leap to and fro. Value: leaps over half its range, per second."""
    value, evidence = 0.0, ""
    for d in episode.what.state_grippers:
        signal = episode.state[:, d]
        size, whole = np.ptp(signal), {"unit": 1.0, "percent": 100.0}.get(episode.what.state[d].unit)
        # A finger that stands still has noise, and no leaps.
        moved = size > _STILL * (whole or np.abs(signal).max())
        leaps = np.flatnonzero((np.abs(np.diff(signal)) > 0.5 * size) & moved)
        rate = len(leaps) / len(signal) * episode.fps
        # Fewer than 4 are two openings and closings of a gripper that is written as 0 or 1.
        if len(leaps) >= 4 and rate > max(value, asked.config.gripper_chatter):
            evidence = f"{STATE}[{d}] leaps over half its range {len(leaps)} times, first at frame {leaps[0]}"
        value = max(value, rate)
    return finding("gripper_chatter", EXCLUDE, evidence, value, asked.config.gripper_chatter)


def quasi_static(episode: Recording, asked: Asked) -> Finding:
    """Something happens. Value: part of the frames that `QuasiStaticPruner` would leave out, on the episode's own scale."""
    motion = Motion()
    motion.add(episode)
    total = len(episode)
    part = 1 - len(QuasiStaticPruner(motion, _STATIC_SPEED)(episode)(0, total)) / total
    evidence = f"{part:.0%} of {total} frames are quasi-static" if part > asked.config.static else ""
    return finding("quasi_static", FLAG, evidence, part, asked.config.static)


# Without these nothing else can be computed.
FIRST = ("lengths", "too_short", "finite")
EPISODE_RULES: dict[str, Callable[[Recording, Asked], Finding]] = {
    rule.__name__: rule
    for rule in (lengths, too_short, finite, timestamps, frame_rate, gaps, constant_state)
    + (gripper_frozen, gripper_chatter, quasi_static)
}


def judge_episode(episode: Recording, asked: Asked) -> list[Finding]:
    """All rules of this file, in order, but those in `skip` and those that cannot be asked, for want of a clock or of numbers."""
    found: list[Finding] = []
    # Of a clock that stands still there is no rate.
    clock = episode.timestamp is not None and timestamps(episode, asked).verdict == OK
    without: tuple[str, ...] = () if clock else ("frame_rate", "gaps")
    without += () if episode.timestamp is not None else ("timestamps",)
    for name, rule in EPISODE_RULES.items():
        if name in asked.config.skip or name in without:
            continue
        found.append(rule(episode, asked))
        if found[-1].verdict == EXCLUDE and name in FIRST:
            break
    return found
