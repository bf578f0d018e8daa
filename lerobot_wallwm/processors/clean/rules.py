# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The rules that need nothing but the episode itself (paper p. 19: what is dropped before captioning).

A rule takes a `Recording` and returns one `Finding`. The paper names the faults and gives no thresholds: all are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig, grippers
from lerobot_wallwm.processors.motion.quasi_static import Motion, QuasiStaticPruner
from lerobot_wallwm.processors.source.episodes import ACTION, STATE, Episode

OK, FLAG, EXCLUDE = "ok", "flag", "exclude"
# Our choice, a speed in ranges per second: the start that `--prune_quasi_static` suggests.
_STATIC_SPEED = 0.02


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
        for name, allowed in (("on_bad", ("exclude", "error")), ("decode", ("ends", "all"))):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"--clean.{name} must be {' or '.join(allowed)}, got {getattr(self, name)!r}"
                )
        for name in (
            "rate_tolerance",
            "gap_frames",
            "jump_factor",
            "jump_range",
            "gripper_chatter",
            "static",
            "reset_range",
            "cut_speed",
            "workspace_iqr",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"--clean.{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Recording(Episode):
    """An episode before anything about it is certain: lengths may differ and values may be missing.

    Attributes:
        timestamp: (T,) float64 seconds, or None where the rows have no clock.
        frame_index: (T,) int64, or None.
    """

    timestamp: np.ndarray | None = None
    frame_index: np.ndarray | None = None


def finding(rule: str, verdict: str, evidence: str, value: float, threshold: float) -> Finding:
    """A finding whose verdict is `ok` if there is no evidence."""
    return Finding(rule, verdict if evidence else OK, evidence, float(value), float(threshold))


def lengths(episode: Recording, config: CleanConfig) -> Finding:
    """State, action and clock have one record per frame. Value: frames that differ."""
    sizes = {STATE: len(episode.state), ACTION: len(episode.action)}
    for name, values in (("timestamp", episode.timestamp), ("frame_index", episode.frame_index)):
        if values is not None:
            sizes[name] = len(values)
    differ = max(sizes.values()) - min(sizes.values())
    counts = ", ".join(f"{name} {count}" for name, count in sizes.items())
    return finding("lengths", EXCLUDE, f"columns differ in length: {counts}" if differ else "", differ, 0)


def too_short(episode: Recording, config: CleanConfig, min_frames: int) -> Finding:
    """The episode can hold an event. Value: its frames."""
    count = len(episode.action)
    evidence = f"has {count} frames, too short to hold an event of {min_frames}"
    return finding("too_short", EXCLUDE, evidence if count < min_frames else "", count, min_frames)


def finite(episode: Recording, config: CleanConfig) -> Finding:
    """No NaN or infinity in state and action. Value: how many there are."""
    evidence, total = "", 0
    for key, values in ((STATE, episode.state), (ACTION, episode.action)):
        bad = np.argwhere(~np.isfinite(values))
        total += len(bad)
        if len(bad) and not evidence:
            frame, dim = bad[0]
            evidence = (
                f"{key}[{dim}] is {values[frame, dim]} at episode {episode.index}, frame {frame} "
                f"({len(bad)} such values in the episode)"
            )
    return finding("finite", EXCLUDE, evidence, total, 0)


def timestamps(episode: Recording, config: CleanConfig) -> Finding:
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


def frame_rate(episode: Recording, config: CleanConfig) -> Finding:
    """The clock runs at the dataset's rate. Value: median rate over it."""
    assert episode.timestamp is not None
    ratio = 1 / (float(np.median(np.diff(episode.timestamp))) * episode.fps)
    off = abs(ratio - 1) > config.rate_tolerance
    evidence = f"records come at {ratio * episode.fps:.2f} Hz, but the dataset says {episode.fps:g}"
    return finding("frame_rate", EXCLUDE, evidence if off else "", ratio, 1 + config.rate_tolerance)


def gaps(episode: Recording, config: CleanConfig) -> Finding:
    """No record is missing. Value: longest time between two records, in frames."""
    assert episode.timestamp is not None
    step = np.diff(episode.timestamp) * episode.fps
    at = int(step.argmax())
    evidence = f"{step[at] / episode.fps:.3f} s without a record after frame {at}"
    return finding(
        "gaps", FLAG, evidence if step[at] > config.gap_frames else "", step[at], config.gap_frames
    )


def constant_state(episode: Recording, config: CleanConfig) -> Finding:
    """The arm was read, and moved. Value: widest range of a state dimension, in its unit."""
    widest = float(np.ptp(episode.state, axis=0).max())
    evidence = (
        f"{STATE} is constant over all {len(episode.state)} frames of episode {episode.index}: "
        "the arm was not read, or never moved"
    )
    return finding("constant_state", EXCLUDE, evidence if widest == 0 else "", widest, 0)


def gripper_frozen(episode: Recording, config: CleanConfig, kinematics: KinematicsConfig) -> Finding:
    """A gripper that is commanded is seen to move. Value: state range over command range; 1 with nothing to judge.

    Only for grippers that are the same dimension of state and action: elsewhere the two cannot be matched.
    """
    threshold, value, evidence = 0.02, 1.0, ""  # Our choice: an encoder's last bits.
    if episode.state.shape == episode.action.shape:
        arm = np.ptp(episode.action, axis=0).max()
        own, read = grippers(episode, kinematics)
        for d in sorted(set(own) & set(read)):
            asked, moved = np.ptp(episode.action[:, d]), np.ptp(episode.state[:, d])
            # A command that hardly moves says nothing about the encoder.
            if asked > 0.1 * arm and moved / asked < value:
                value = float(moved / asked)
                if value <= threshold:
                    evidence = f"{ACTION}[{d}] moves by {asked:g}, but {STATE}[{d}] by {moved:g}"
    return finding("gripper_frozen", EXCLUDE, evidence, value, threshold)


def gripper_chatter(episode: Recording, config: CleanConfig, kinematics: KinematicsConfig) -> Finding:
    """A gripper's state does not leap to and fro. Value: leaps over half its range, per second."""
    value, evidence = 0.0, ""
    for d in grippers(episode, kinematics)[1]:
        signal = episode.state[:, d]
        size = np.ptp(signal)
        leaps = np.flatnonzero((np.abs(np.diff(signal)) > 0.5 * size) & (size > 0))
        rate = len(leaps) / len(signal) * episode.fps
        # Fewer than 4 are two openings and closings of a gripper that is written as 0 or 1.
        if len(leaps) >= 4 and rate > max(value, config.gripper_chatter):
            evidence = f"{STATE}[{d}] leaps over half its range {len(leaps)} times, first at frame {leaps[0]}"
        value = max(value, rate)
    return finding("gripper_chatter", EXCLUDE, evidence, value, config.gripper_chatter)


def quasi_static(episode: Recording, config: CleanConfig, kinematics: KinematicsConfig) -> Finding:
    """Something happens. Value: part of the frames that `QuasiStaticPruner` would leave out, on the episode's own scale."""
    motion = Motion(kinematics)
    motion.add(episode)
    total = len(episode)
    part = 1 - len(QuasiStaticPruner(motion, _STATIC_SPEED)(episode)(0, total)) / total
    evidence = f"{part:.0%} of {total} frames are quasi-static" if part > config.static else ""
    return finding("quasi_static", FLAG, evidence, part, config.static)


# Without these nothing else can be computed.
FIRST = ("lengths", "too_short", "finite")
_Rule = Callable[[Recording, CleanConfig, KinematicsConfig, int], Finding]
EPISODE_RULES: dict[str, _Rule] = {
    "lengths": lambda e, c, k, m: lengths(e, c),
    "too_short": lambda e, c, k, m: too_short(e, c, m),
    "finite": lambda e, c, k, m: finite(e, c),
    "timestamps": lambda e, c, k, m: timestamps(e, c),
    "frame_rate": lambda e, c, k, m: frame_rate(e, c),
    "gaps": lambda e, c, k, m: gaps(e, c),
    "constant_state": lambda e, c, k, m: constant_state(e, c),
    "gripper_frozen": lambda e, c, k, m: gripper_frozen(e, c, k),
    "gripper_chatter": lambda e, c, k, m: gripper_chatter(e, c, k),
    "quasi_static": lambda e, c, k, m: quasi_static(e, c, k),
}


def judge_episode(
    episode: Recording,
    config: CleanConfig,
    kinematics: KinematicsConfig | None = None,
    min_frames: int = 2,
) -> list[Finding]:
    """All rules of this file, in order, but those in `skip`.

    A rule that cannot be asked, for want of a clock or of numbers, gives no finding.
    """
    kinematics = kinematics or KinematicsConfig()
    found: list[Finding] = []
    # Of a clock that stands still there is no rate.
    clock = episode.timestamp is not None and timestamps(episode, config).verdict == OK
    for name, rule in EPISODE_RULES.items():
        asked = (
            clock if name in ("frame_rate", "gaps") else name != "timestamps" or episode.timestamp is not None
        )
        if name in config.skip or not asked:
            continue
        found.append(rule(episode, config, kinematics, min_frames))
        if found[-1].verdict == EXCLUDE and name in FIRST:
            break
    return found
