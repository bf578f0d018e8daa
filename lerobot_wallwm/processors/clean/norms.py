# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The rules that compare an episode with the others: what is usual for this robot, and for this task.

Each episode is read once into a `Digest` of a few numbers per dimension. `Norms` are medians and quantiles over the
digests, so that a few bad episodes do not shift what is usual.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lerobot_wallwm.processors.clean.rules import EXCLUDE, FLAG, CleanConfig, Finding, Recording, finding
from lerobot_wallwm.processors.source.episodes import ACTION, STATE

# Our choice: fewer say little about what is usual.
_LEAST_SIBLINGS = 8
_ISOLATED = 3.0
_AROUND = 3  # frames on each side of a step


@dataclass(frozen=True)
class Digest:
    """An episode in a few numbers, for S state and A action dimensions. Lists, so that JSON gives back the same.

    Attributes:
        task: The instruction.
        low: S least values.
        high: S greatest values.
        start: S values of the first frame.
        step: S + A, 99th percentile of the steps from frame to frame; NaN where a dimension is not continuous.
        jump: S + A, largest step that stands out from the steps around it; 0 if none does, NaN as above.
        jump_frame: S + A, the frame after it.
        size: S + A, range.
        speed_start: Speed of the first 0.2 s over the episode's 90th percentile.
        speed_end: The same of the last.
    """

    task: str
    low: list[float]
    high: list[float]
    start: list[float]
    step: list[float]
    jump: list[float]
    jump_frame: list[int]
    size: list[float]
    speed_start: float
    speed_end: float

    @classmethod
    def of(cls, episode: Recording) -> Digest:
        """Reads an episode that has passed `judge_episode`."""
        state, action = episode.state, episode.action
        what = episode.what
        values = np.hstack([state, action])
        # A gripper may snap, and a command that is a step or a velocity may change at will.
        continuous = np.append(np.ones(state.shape[1], dtype=bool), ~what.rates)
        continuous[[*what.state_grippers, *(state.shape[1] + d for d in what.grippers)]] = False
        for d in np.flatnonzero(continuous):
            continuous[d] = len(np.unique(values[:, d])) > 3  # a contact or a mode is no joint
        steps = np.abs(np.diff(values, axis=0))
        jump, frame = _isolated(steps)
        nan = np.where(continuous, 1.0, np.nan)
        size = np.ptp(state, axis=0)
        speed = np.linalg.norm(np.diff(state, axis=0) / np.where(size > 0, size, 1.0), axis=1)
        moment = max(1, round(0.2 * episode.fps))
        top = float(np.quantile(speed, 0.9)) or float(speed.max()) or 1.0
        return cls(
            task=episode.task,
            low=state.min(0).tolist(),
            high=state.max(0).tolist(),
            start=state[0].tolist(),
            step=(np.quantile(steps, 0.99, axis=0) * nan).tolist(),
            jump=(jump * nan).tolist(),
            jump_frame=frame.tolist(),
            size=np.ptp(values, axis=0).tolist(),
            speed_start=float(speed[:moment].mean()) / top,
            speed_end=float(speed[-moment:].mean()) / top,
        )


def _isolated(steps_TD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per dimension the largest step that is `_ISOLATED` times the median of the steps around it, and the frame after it."""
    padded = np.pad(steps_TD, ((_AROUND, _AROUND), (0, 0)), mode="symmetric" if len(steps_TD) > 2 else "edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1, axis=0), axis=-1)
    alone = np.where(steps_TD > _ISOLATED * around, steps_TD, 0.0)
    return alone.max(axis=0), alone.argmax(axis=0) + 1


class _TaskNorms:
    """What is usual for a task: the start (S,), its spread (S,), and the speed at both ends."""

    def __init__(self, group: list[Digest]) -> None:
        starts = np.array([d.start for d in group])
        self.start = np.median(starts, axis=0)
        self.spread = 1.4826 * np.median(np.abs(starts - self.start), axis=0)
        self.speed_start = float(np.median([d.speed_start for d in group]))
        self.speed_end = float(np.median([d.speed_end for d in group]))


class Norms:
    """What is usual in a dataset, by the digests of the episodes that are fit to be compared with, at least one.

    `width` is S, the state dimensions.
    """

    def __init__(self, digests: Iterable[Digest], width: int) -> None:
        every = list(digests)
        self.count, self.width = len(every), width
        step = np.array([d.step for d in every])
        size = np.array([d.size for d in every])
        known = np.isfinite(step)
        # Medians by hand: numpy warns where a dimension is continuous in no episode.
        columns = zip(step.T, known.T, strict=True)
        self.step = np.array([np.median(c[k]) if k.any() else np.nan for c, k in columns])
        # The 90th percentile forgets the few that a fault has widened, and keeps a joint that few episodes use.
        usual = np.quantile(size, 0.9, axis=0)
        self.size = np.where(usual > 0, usual, size.max(axis=0))
        # (2, S): the quartiles of the least and of the greatest values.
        self.low = np.quantile([d.low for d in every], (0.25, 0.75), axis=0)
        self.high = np.quantile([d.high for d in every], (0.25, 0.75), axis=0)
        groups: dict[str, list[Digest]] = {}
        for digest in every:
            groups.setdefault(digest.task, []).append(digest)
        self.tasks = {task: _TaskNorms(own) for task, own in groups.items() if len(own) >= _LEAST_SIBLINGS}

    def judge(self, digest: Digest, config: CleanConfig) -> list[Finding]:
        """The rules of this file. What too few others can tell gives no finding."""
        found = [self._jump(digest, config), *self._limits(digest, config)]
        if self.count >= _LEAST_SIBLINGS:
            found.append(self._workspace(digest, config))
        usual = self.tasks.get(digest.task)
        if usual is not None:
            found.append(self._reset(digest, usual, config))
            found += _truncated(digest, usual, config)
        return found

    def _jump(self, digest: Digest, config: CleanConfig) -> Finding:
        """`discontinuity`: no joint leaps. Value: the leap over its limit."""
        jump = np.array(digest.jump)
        limit = np.maximum(config.jump_factor * self.step, config.jump_range * self.size)
        over = np.where(np.isfinite(jump) & (limit > 0), jump / np.where(limit > 0, limit, 1.0), 0.0)
        worst = int(over.argmax())
        name = f"{STATE}[{worst}]" if worst < self.width else f"{ACTION}[{worst - self.width}]"
        evidence = f"{name} leaps by {jump[worst]:.4g} at frame {digest.jump_frame[worst]}"
        evidence += f", where steps of up to {limit[worst]:.4g} are plausible"
        return finding("discontinuity", EXCLUDE, evidence if over[worst] > 1 else "", over[worst], 1)

    def _limits(self, digest: Digest, config: CleanConfig) -> list[Finding]:
        """`robot_limits`: the state is one that the deployment robot can take. Value: distance outside, in its unit."""
        if config.workspace_low is None and config.workspace_high is None:
            return []
        evidence, worst = "", 0.0
        ends = ("low", config.workspace_low, digest.low, -1), ("high", config.workspace_high, digest.high, 1)
        for name, limit, values, sign in ends:
            if limit is None:
                continue
            if len(limit) != self.width:
                has = f"has {len(limit)} numbers, but the state has {self.width} dimensions"
                raise ValueError(f"--clean.workspace_{name} {has}")
            outside = sign * (np.array(values) - np.array(limit))
            d = int(outside.argmax())
            if outside[d] > max(worst, 0):
                worst = float(outside[d])
                evidence = f"{STATE}[{d}] reaches {values[d]:.4g}, outside the robot's limit {limit[d]:.4g}"
        return [finding("robot_limits", EXCLUDE, evidence, worst, 0)]

    def _workspace(self, digest: Digest, config: CleanConfig) -> Finding:
        """`workspace`: the state stays where the others do. Value: distance outside their quartiles, in their spread."""
        evidence, worst = "", 0.0
        size = self.size[: self.width]
        for (near, far), values, sign in ((self.low, digest.low, -1), (self.high, digest.high, 1)):
            edge = near if sign < 0 else far
            # An edge that all episodes share exactly has no spread: a part of the joint's range takes its place.
            spread = np.maximum(far - near, 0.25 * size)
            outside = sign * (np.array(values) - edge) / np.where(spread > 0, spread, np.inf)
            d = int(outside.argmax())
            if outside[d] > worst:
                worst = float(outside[d])
                if worst > config.workspace_iqr:
                    evidence = f"{STATE}[{d}] reaches {values[d]:.4g}; most episodes turn at {edge[d]:.4g}"
        return finding("workspace", FLAG, evidence, worst, config.workspace_iqr)

    def _reset(self, digest: Digest, usual: _TaskNorms, config: CleanConfig) -> Finding:
        """`failed_reset`: the episode starts where its task starts. Value: distance as a part of the range."""
        size = self.size[: self.width]
        away = np.abs(np.array(digest.start) - usual.start)
        # 6 robust standard deviations: a task whose starts are spread out on purpose has no failed resets.
        beyond = away > 6 * usual.spread
        part = np.where(beyond & (size > 0), away / np.where(size > 0, size, 1.0), 0.0)
        d = int(part.argmax())
        where = f"where its task starts at {usual.start[d]:.4g}"
        evidence = f"{STATE}[{d}] starts at {digest.start[d]:.4g}, {where}"
        failed = part[d] > config.reset_range
        return finding("failed_reset", FLAG, evidence if failed else "", part[d], config.reset_range)


def _truncated(digest: Digest, usual: _TaskNorms, config: CleanConfig) -> list[Finding]:
    """`truncated_start`, `truncated_goal`: the arm is not cut off in mid-motion where the task's others rest."""
    found = []
    for rule, where, speed, others in (
        ("truncated_start", "starts", digest.speed_start, usual.speed_start),
        ("truncated_goal", "ends", digest.speed_end, usual.speed_end),
    ):
        # Where all are cut in motion, as events are, that is how they are meant.
        cut = speed > config.cut_speed and others < 0.5 * config.cut_speed
        evidence = f"{where} at {speed:.0%} of its top speed; its task's others {where[:-1]} at {others:.0%}"
        found.append(finding(rule, FLAG, evidence if cut else "", speed, config.cut_speed))
    return found
