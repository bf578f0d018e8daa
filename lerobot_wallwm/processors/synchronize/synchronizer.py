# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""By how many frames does the video run behind the robot's rows? (paper p. 14: temporal synchronisation)

What lag 0 means. A row holds a picture, a state and an action. The state is a measurement like the picture, so the two are in
step when the picture's motion from frame t - 1 to t goes with the state's change from row t - 1 to t: that is lag 0, and it
needs no calibration. At lag L the picture shows a motion L frames after the state has it (a slow camera: L > 0), and
frame t takes its state from row t - L.

An action is no measurement: the arm follows it one or more frames later. That control delay belongs to the robot and has to
stay in the data, or a policy would learn to command what it already sees. So the action moves together with the state, by
the same L, unless it is out of step with the state too: where the delay from action to state, measured in this episode,
differs from the robot's own (`control_delay`; `prepare` takes the median of the dataset), the action moves by that
difference as well; where the episode does not tell its delay, it is quarantined. An error that all episodes share cannot be told from the robot's delay, and stays.

An episode is trusted only where it excludes that the lag changes on the way (`constancy`), as it does where
a frame was dropped or the video is another episode's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig, grippers
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.synchronize.constancy import UNTOLD, LagChange, likeliest_change
from lerobot_wallwm.processors.synchronize.evidence import (
    correlations,
    evidence,
    margin,
    peak,
    sharpened,
    weighted_mean,
)
from lerobot_wallwm.processors.synchronize.signals import action_motion, state_motion
from lerobot_wallwm.processors.synchronize.source import SyncVerdict, Vote
from lerobot_wallwm.storage.errors import check_fields

# Smoothing of the joints from which the action's delay is measured. Our choice, as for the segmenter's speeds: the arm's own dynamics blur anything shorter.
_JOINTS_SMOOTH_S = 0.05


@dataclass
class SynchronizerConfig:
    """Parameters of `TemporalSynchronizer`. Times are seconds, so one setting serves 10 to 80 Hz. All are our choice: the
    paper gives none. They were chosen on the episodes that `python -m benchmarks preparing synchronizer` names, and not on those it scores.
    """

    # Greatest lag that is corrected; a clear peak beyond it (the search goes on for half as much again) is quarantined.
    max_lag_s: float = 0.5
    # Standard deviation of the smoothing of all motion signals.
    smooth_s: float = 0.03
    # Least correlation of the picture's and the state's motion at the lag found.
    min_score: float = 0.4
    # Least evidence, in nats, for the lag found against any other lag.
    min_margin: float = 1.5
    # Most evidence, in nats, for another lag in one camera or one part of the episode.
    max_dissent: float = 1.0
    # Least part of the votes of cameras and channels, weighted by their squared correlation, for the lag found.
    min_votes: float = 0.5
    # Greatest chance that an episode is trusted although its lag changes in its middle half; see `constancy`. Not tuned:
    # one in a thousand. 1: not tested.
    max_change_risk: float = 0.001
    # Frames from an action to the motion it causes, where they are known. None: `prepare` measures them over the dataset,
    # and a synchronizer that sees one episode alone moves the action with the state.
    control_delay: float | None = None
    # Where the robot's delay is known, quarantine an episode whose own cannot be told. Off: its action moves with the state.
    require_action_delay: bool = True

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        above = ("max_lag_s", "smooth_s", "min_margin", "max_dissent")
        check_fields(self, "synchronizer", "above 0", lambda value: 0 < value < np.inf, *above)
        check_fields(
            self, "synchronizer", "in [0, 1]", lambda value: 0 <= value <= 1, "min_score", "min_votes"
        )
        check_fields(self, "synchronizer", "in (0, 1]", lambda value: 0 < value <= 1, "max_change_risk")
        if self.control_delay is not None and not 0 <= self.control_delay < np.inf:
            got = f"got {self.control_delay}. Fix: leave it out to measure it"
            raise ValueError(f"--synchronizer.control_delay must be at least 0, {got}")


_Channels = Mapping[str, np.ndarray]


class LagEvidence(NamedTuple):
    """All that is measured in one episode, before it is judged. Curves (L,) run over the lags from -reach to reach."""

    length: int  # frames of the episode
    reach: int
    cameras: Mapping[str, np.ndarray]  # camera to its evidence, nats
    total: np.ndarray  # evidence of all cameras
    scores: np.ndarray  # correlation of the pictures' with the state's motion, cameras weighted as in `total`
    windows: tuple[tuple[int, int, np.ndarray], ...]  # parts of the episode: first frame, end, evidence
    votes: tuple[Vote, ...]  # those of action channels count from the state, i.e. without the control delay
    action_delay: float  # frames from action to state, with a fraction; NaN where it cannot be told
    change: LagChange  # the likeliest change of the lag on the way, beside the best lag of all cameras


class TemporalSynchronizer:
    """Measures, judges and mends the lag between video and rows.

    `synchronizer(episode, motion)` returns a `SyncVerdict`, where `motion` maps each camera to its `image_motion`;
    `SynchronizedSource` applies it.
    `kinematics` says how state and action are read; as for the segmenter.
    """

    def __init__(
        self,
        config: SynchronizerConfig | None = None,
        kinematics: KinematicsConfig | None = None,
        **overrides: Any,
    ) -> None:
        self.config = config or SynchronizerConfig(**overrides)
        self.kinematics = kinematics or KinematicsConfig()

    def __call__(self, episode: Episode, motion: Mapping[str, np.ndarray]) -> SyncVerdict:
        """The verdict on an episode whose cameras moved as `camera_motion` says."""
        return self.judge(episode.index, self.measure(episode, motion), episode.fps)

    def reach(self, fps: float) -> int:
        """Greatest lag looked at, frames: half as much again as the greatest that is corrected."""
        return self.max_lag(fps) + max(2, round(0.5 * self.config.max_lag_s * fps))

    def max_lag(self, fps: float) -> int:
        """Greatest lag that is corrected, frames."""
        return max(1, round(self.config.max_lag_s * fps))

    def measure(self, episode: Episode, motion: Mapping[str, np.ndarray]) -> LagEvidence:
        """Correlates each camera's motion, (T, 2) of `image_motion`, with each motion channel of state and action.

        Raises:
            ValueError: A camera's motion has another length than the episode.
        """
        for camera, values in motion.items():
            if len(values) != len(episode):
                rows = f"episode {episode.index} has {len(episode)} rows"
                raise ValueError(f"camera {camera} has {len(values)} frames, but {rows}")
        sigma, reach = max(0.4, self.config.smooth_s * episode.fps), self.reach(episode.fps)
        measured = state_motion(episode)
        commanded = action_motion(episode, self.kinematics, reach)
        state = {name: sharpened(values, sigma) for name, values in measured.items()}
        action = {name: sharpened(values, sigma) for name, values in commanded.items()}
        delay = self.action_delay(episode, state, action, sigma, reach)
        # An action channel speaks of the state's time once it has been moved by its own delay.
        if np.isfinite(delay):
            state |= {name: _moved(values, round(delay)) for name, values in action.items()}
        names, motion_CT = list(state), np.array(list(state.values()))
        seen = {camera: np.asarray(values, dtype=np.float64).T for camera, values in motion.items()}
        pictures = {
            camera: np.array([sharpened(row, sigma) for row in seen_ST]) for camera, seen_ST in seen.items()
        }
        independent = max(1, len(episode) - 1 - reach)
        zeros = np.zeros(2 * reach + 1)
        cameras, weights, votes, scores = {}, {}, [], []
        for camera, signals_ST in pictures.items():
            r_CL = correlations(signals_ST, motion_CT, reach)
            curves_CL = evidence(r_CL, independent, sigma).mean(axis=0)
            weights[camera] = curves_CL.max(axis=1)
            cameras[camera] = weighted_mean(curves_CL, weights[camera])
            best = curves_CL.argmax(axis=1)
            at_best = r_CL.mean(axis=0)[np.arange(len(names)), best]
            own = zip(names, best, at_best, strict=True)
            votes += [Vote(camera, name, int(top) - reach, round(float(r), 6)) for name, top, r in own]
            scores.append(r_CL.mean(axis=0)[names.index("state")])
        shares = np.array([weight.sum() for weight in weights.values()])
        windows = []
        for start, stop in self._spans(len(episode), episode.fps):
            parts = []
            for camera, signals_ST in pictures.items():
                r_CL = correlations(signals_ST, motion_CT, reach, (start, stop))
                curves_CL = evidence(r_CL, stop - start, sigma).mean(axis=0)
                parts.append(weighted_mean(curves_CL, weights[camera]))
            windows.append((start, stop, weighted_mean(np.array(parts), shares) if parts else zeros))
        total = weighted_mean(np.array(list(cameras.values())), shares) if cameras else zeros
        change = UNTOLD
        if motion:
            moved_CT = np.array(list(measured.values()))
            lag = int(np.argmax(total)) - reach
            change = likeliest_change(np.concatenate(list(seen.values())), moved_CT, lag, sigma)
        score = weighted_mean(np.array(scores), shares) if scores else zeros
        found = cameras, total, score, tuple(windows), tuple(votes), float(delay), change
        return LagEvidence(len(episode), reach, *found)

    def action_delay(
        self, episode: Episode, state: _Channels, action: _Channels, sigma: float, reach: int
    ) -> float:
        """Frames from a command to the motion it causes, with a fraction; NaN where it cannot be told.

        Commands that are positions of the state's own joints are compared joint by joint and with their sign, which holds where
        the arm is pushed off its plan. Others are compared by the size of the motion.

        `state` and `action` are the channels (T - 1,) of `state_motion` and `action_motion`, sharpened by `sigma`.
        """
        fingers = grippers(episode, self.kinematics)[0]
        followed = [(d, j) for d, j in enumerate(episode.what.follows) if j >= 0 and d not in fingers]
        frames = max(1, len(episode) - 1 - reach)
        if followed:
            arm_action = episode.action[:, [d for d, _ in followed]]
            arm_state = episode.state[:, [j for _, j in followed]]
            sigma = max(0.4, _JOINTS_SMOOTH_S * episode.fps)
            smooth = partial(gaussian_filter1d, sigma=sigma, axis=0, order=1, mode="nearest")
            pairs = zip(smooth(arm_state).T, smooth(arm_action).T, np.ptp(arm_action, axis=0), strict=True)
            r_CL = np.array(
                [correlations(m[None], c[None], reach)[0, 0] for m, c, moved in pairs if moved > 0]
            )
        else:
            r_CL = correlations(state["state"][None], np.array(list(action.values())), reach)[0]
        if not len(r_CL):
            return float("nan")
        curve = np.mean(evidence(r_CL, frames, sigma), axis=0)
        top, fraction = peak(curve)
        clear = margin(curve) >= self.config.min_margin and 0 < top < len(curve) - 1
        return float(top - reach + fraction) if clear else float("nan")

    @staticmethod
    def _spans(length: int, fps: float) -> list[tuple[int, int]]:
        """Two to eight equal parts of about 2.5 s, of at least 40 frames where the episode has them."""
        parts = int(np.clip(length / max(40.0, 2.5 * fps), 2, 8))
        edges = np.linspace(0, length - 1, parts + 1).round().astype(int).tolist()
        return list(zip(edges, edges[1:], strict=False))

    def judge(self, index: int, found: LagEvidence, fps: float) -> SyncVerdict:
        """Turns evidence on episode `index` into a verdict; the action moves by `config.control_delay`, or with the state where that is None."""
        top = int(np.argmax(found.total))
        score, clear = round(float(found.scores[top]), 6), round(margin(found.total), 6)
        length, delay, lag = found.length, round(found.action_delay, 6), top - found.reach
        verdict = SyncVerdict(index, length, 0, 0, score, clear, delay, 0, length, votes=found.votes)
        verdict = verdict.with_lags(lag, lag)
        reason = self._doubt(found, verdict, top, fps)
        verdict = verdict.quarantine(reason) if reason else verdict
        if self.config.control_delay is not None:
            verdict = self.with_control_delay(verdict, self.config.control_delay, fps)
        return verdict

    def with_control_delay(self, verdict: SyncVerdict, frames: float, fps: float) -> SyncVerdict:
        """Moves the action by what its delay in this episode differs from the robot's, `frames`, as well."""
        if not np.isfinite(verdict.action_delay):
            if verdict.quarantined or not self.config.require_action_delay:
                return verdict
            why = f"the robot's delay is {frames:.1f} frames, but this episode does not tell its own"
            return verdict.quarantine(f"action_unknown: {why}")
        moved = verdict.with_lags(verdict.lag, verdict.lag + round(verdict.action_delay - frames))
        if not moved.quarantined and abs(moved.action_lag) > self.max_lag(fps):
            why = f"the action's lag {moved.action_lag} is beyond {self.max_lag(fps)} frames"
            return moved.quarantine(f"outside_window: {why}")
        return moved

    def _doubt(self, found: LagEvidence, verdict: SyncVerdict, top: int, fps: float) -> str:
        """Why the episode cannot be trusted, `rule: evidence`; empty if it can."""
        config, reach = self.config, found.reach
        if not found.cameras:
            return "no_camera: the episode has no camera"
        if found.length < 4 * reach:
            return f"too_short: {found.length} frames cannot tell a lag of up to {reach}"
        if verdict.margin == 0:
            return "no_motion: no camera moves with the robot"
        if abs(verdict.lag) > self.max_lag(fps):
            return f"outside_window: lag {verdict.lag} is beyond {self.max_lag(fps)} frames"
        if verdict.score < config.min_score:
            return f"weak: the best correlation is {verdict.score:.2f}, at lag {verdict.lag}, below {config.min_score:g}"
        if verdict.margin < config.min_margin:
            order = np.argsort(-found.total, kind="stable")[:2] - reach
            return f"ambiguous: lags {order[0]} and {order[1]} differ by {verdict.margin:.2f} nats, below {config.min_margin:g}"
        for camera, curve in found.cameras.items():
            if curve.max() - curve[top] > config.max_dissent:
                return f"cameras_disagree: {camera} says {int(np.argmax(curve)) - reach}, all together {verdict.lag}"
        for start, stop, curve in found.windows:
            if curve.max() - curve[top] > config.max_dissent:
                says = f"frames {start} to {stop} say {int(np.argmax(curve)) - reach}"
                return f"windows_disagree: {says}, the episode {verdict.lag}"
        weight = {vote: max(vote.score, 0.0) ** 2 for vote in found.votes}
        agree = sum(w for vote, w in weight.items() if vote.lag == verdict.lag)
        share = agree / max(sum(weight.values()), 1e-9)
        if share < config.min_votes:
            return f"votes_split: {share:.0%} of the votes are for lag {verdict.lag}, below {config.min_votes:.0%}"
        return _changes(found.change, config.max_change_risk)


def _changes(change: LagChange, risk: float) -> str:
    """Why the lag may not be the same throughout, `rule: evidence`; empty where that is excluded, or at a risk of 1."""
    needed = -np.log(risk)
    if risk < 1 and change.outer > needed:
        where = f"from {change.before} to {change.after} at frame {change.frame}"
        return f"lag_changes: {where}, likelier than one lag by {change.outer:.1f} nats"
    if risk < 1 and change.inner > -needed:
        by = f"by {-change.inner:.1f} nats, below {needed:.1f}"
        return f"change_not_excluded: one lag is likelier than a change on the way {by}"
    return ""


def _moved(values_T: np.ndarray, frames: int) -> np.ndarray:
    """The signal `frames` later, its border repeated."""
    return values_T[np.clip(np.arange(len(values_T)) - frames, 0, len(values_T) - 1)]
