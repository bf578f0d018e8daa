# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""By how many frames do the videos run behind the robot's rows? (paper p. 14: temporal synchronisation)

What lag 0 means. A row holds a picture, a state and an action. The state is a measurement like the picture, so the two are in
step when the picture's motion from frame t - 1 to t goes with the state's change from row t - 1 to t: that is lag 0, and it
needs no calibration. At lag L the picture shows a motion L frames after the state has it (a slow camera: L > 0), and
frame t takes its state from row t - L. A lag belongs to a camera, so all episodes together tell it (`rig`).

An action is no measurement: the arm follows it one or more frames later. That control delay belongs to the robot and has to
stay in the data, or a policy would learn to command what it already sees. So the action moves together with the state. Where
`control_delay` says what the robot's delay is, the action moves by what the dataset's differs from it as well. An episode
whose own delay contradicts the dataset's is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lerobot_wallwm.processors.motion.kinematics import steps_of
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.synchronize.evidence import correlations, evidence, margin, peak, sharpened
from lerobot_wallwm.processors.synchronize.rig import CameraLag, Contradiction, Motions, Rig
from lerobot_wallwm.processors.synchronize.signals import action_motion, state_motion
from lerobot_wallwm.processors.synchronize.source import CameraFrames, SyncVerdict
from lerobot_wallwm.storage.errors import check_fields

# Smoothing of the joints from which the action's delay is measured. Our choice, as for the segmenter's speeds: the arm's own dynamics blur anything shorter.
_JOINTS_SMOOTH_S = 0.05
# Nats by which one episode may be for another delay. Our choice.
_DELAY_DISSENT = 3.0


@dataclass
class SynchronizerConfig:
    """Parameters of `TemporalSynchronizer`. Times are seconds, so one setting serves 10 to 80 Hz. All are our choice: the
    paper gives none.
    """

    # Greatest lag that is corrected; a peak beyond it (the search goes on for half as much again) is refused.
    max_lag_s: float = 0.5
    # Standard deviation of the smoothing of all motion signals.
    smooth_s: float = 0.015
    # Least evidence, in nats and over all episodes, for a lag other than 0 against 0.
    min_margin: float = 2.0
    # Most evidence, in nats, of one episode against the rig.
    max_dissent: float = 5.0
    # Frames from an action to the motion it causes, where they are known. None: the action moves with the state.
    control_delay: float | None = None

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        above = ("max_lag_s", "smooth_s", "min_margin", "max_dissent")
        check_fields(self, "synchronizer", "above 0", lambda value: 0 < value < np.inf, *above)
        if self.control_delay is not None and not 0 <= self.control_delay < np.inf:
            got = f"got {self.control_delay}. Fix: leave it out to measure it"
            raise ValueError(f"--synchronizer.control_delay must be at least 0, {got}")


Recording = tuple[Episode, Mapping[str, np.ndarray]]


class Synchronized(NamedTuple):
    """What is found in a dataset.

    Attributes:
        cameras: The lag of each.
        delay: Frames from an action to the motion it causes, with a fraction; None where the dataset does not tell it.
        delay_share: Part of the episodes that tell their own delay and agree with it to half a frame.
        verdicts: One for each episode, in the order given.
    """

    cameras: Mapping[str, CameraLag]
    delay: float | None
    delay_share: float
    verdicts: list[SyncVerdict]


class TemporalSynchronizer:
    """Measures and judges the lags between videos and rows of a dataset.

    `synchronizer(recordings)` returns `Synchronized`, where a recording is an episode and its cameras' `image_motion`;
    `SynchronizedSource` applies the verdicts.
    """

    def __init__(self, config: SynchronizerConfig | None = None, **overrides: Any) -> None:
        self.config = config or SynchronizerConfig(**overrides)

    def max_lag(self, fps: float) -> int:
        """Greatest lag that is corrected, frames."""
        return max(1, round(self.config.max_lag_s * fps))

    def __call__(self, recordings: Sequence[Recording]) -> Synchronized:
        """Measures a dataset.

        Raises:
            ValueError: A camera's motion has another length than its episode, or no episode is given.
        """
        if not recordings:
            raise ValueError("no episode is given. Fix: pass (episode, motion) of each")
        for episode, motion in recordings:
            for camera, values in motion.items():
                if len(values) != len(episode):
                    rows = f"episode {episode.index} has {len(episode)} rows"
                    raise ValueError(f"camera {camera} has {len(values)} frames, but {rows}")
        fps, config = recordings[0][0].fps, self.config
        delays = [self._delay_curve(episode) for episode, _ in recordings]
        delay, share, doubts = _pooled_delay(delays, config.min_margin)
        if not recordings[0][1]:
            found: Sequence[Contradiction] = [Contradiction("no_camera: the episode has no camera")] * len(
                recordings
            )
            cameras: Mapping[str, CameraLag] = {}
        else:
            how = {"min_margin": config.min_margin, "max_dissent": config.max_dissent}
            motions = [Motions(motion, steps_of(episode.state)) for episode, motion in recordings]
            rig = Rig(motions, sigma=max(0.4, config.smooth_s * fps), max_lag=self.max_lag(fps), **how)
            found, cameras = rig.contradictions, rig.cameras
        verdicts = [
            self._verdict(*item, cameras, delay)
            for item in zip([episode for episode, _ in recordings], found, delays, doubts, strict=True)
        ]
        return Synchronized(cameras, delay, share, verdicts)

    def _verdict(
        self,
        episode: Episode,
        found: Contradiction,
        own: _Delay,
        doubt: str,
        cameras: Mapping[str, CameraLag],
        delay: float | None,
    ) -> SyncVerdict:
        """The rows move by the lag that most cameras have; the others' pictures by what theirs differs from it."""
        limit = self.max_lag(episode.fps)
        seen = [camera.lag for camera in cameras.values() if camera.seen]
        lag = max(sorted(set(seen), key=abs), key=seen.count) if seen else 0
        known, goal = delay is not None, self.config.control_delay
        action_lag = lag + (round(delay - goal) if known and goal is not None else 0)  # type: ignore[operator]
        late = tuple(
            CameraFrames(name, camera.lag - lag)
            for name, camera in cameras.items()
            if camera.seen and camera.lag != lag
        )
        reason = found.reason or doubt
        beyond = [abs(found_lag) for found_lag in (*seen, action_lag) if abs(found_lag) > limit]
        if beyond and not reason:
            reason = f"outside_window: a lag of {max(beyond)} frames is beyond {limit}"
        own_delay = round(own.frames, 3) if own.clear else float("nan")
        clear = round(-found.nats if not found.reason else 0.0, 3)
        verdict = SyncVerdict(
            episode.index, len(episode), 0, 0, round(found.fit, 3), clear, own_delay, 0, 0, late=late
        )
        verdict = verdict.with_lags(lag, action_lag)
        if verdict.end_frame <= verdict.first_frame and not reason:
            reason = f"too_short: {len(episode)} frames are fewer than the lag"
        return verdict.quarantine(reason) if reason else verdict

    def _delay_curve(self, episode: Episode) -> _Delay:
        """Evidence of each delay from a command to the motion it causes.

        Commands that are positions of the state's own joints are compared joint by joint and with their sign, which holds where
        the arm is pushed off its plan. Others are compared by the size of the motion.
        """
        reach = self.max_lag(episode.fps)
        fingers = episode.what.grippers
        followed = [(d, j) for d, j in enumerate(episode.what.follows) if j >= 0 and d not in fingers]
        frames = max(1, len(episode) - 1 - reach)
        if followed:
            arm_action = episode.action[:, [d for d, _ in followed]]
            arm_state = episode.state[:, [j for _, j in followed]]
            sigma = max(0.4, _JOINTS_SMOOTH_S * episode.fps)
            smooth = partial(gaussian_filter1d, sigma=sigma, axis=0, order=1, mode="nearest")
            pairs = zip(smooth(arm_state).T, smooth(arm_action).T, np.ptp(arm_action, axis=0), strict=True)
            r = [correlations(m[None], c[None], reach)[0, 0] for m, c, moved in pairs if moved > 0]
        else:
            sigma = max(0.4, self.config.smooth_s * episode.fps)
            commanded = action_motion(episode, reach).values()
            late = sharpened(state_motion(episode)["state"], sigma)[None]
            early = np.array([sharpened(values, sigma) for values in commanded])
            r = list(correlations(late, early, reach)[0])
        curve = evidence(np.array(r), frames, sigma).mean(axis=0) if len(r) else np.zeros(2 * reach + 1)
        return _Delay(curve, self.config.min_margin)


class _Delay:
    """The evidence of one episode for each delay from -reach to reach."""

    def __init__(self, curve: np.ndarray, least: float) -> None:
        self.curve, reach = curve, len(curve) // 2
        top, fraction = peak(curve)
        self.frames = float(top - reach + fraction)
        self.clear = margin(curve) >= least and 0 < top < len(curve) - 1


def _pooled_delay(delays: Sequence[_Delay], least: float) -> tuple[float | None, float, list[str]]:
    """The dataset's delay, the part of those episodes that tell theirs and agree, and why an episode does not."""
    # An episode in which all stands still would otherwise be as loud as one that moves; none speaks louder than 20 nats.
    total = np.sum([np.minimum(d.curve - d.curve.max(), 0.0).clip(-20.0) for d in delays], axis=0)
    pooled = _Delay(total, least)
    if not pooled.clear:
        return None, 0.0, [""] * len(delays)
    at = round(pooled.frames) + len(total) // 2
    told = np.array([d.frames for d in delays if d.clear])
    share = float(np.mean(np.abs(told - pooled.frames) <= 0.75)) if len(told) else 0.0
    if share <= 0.5:
        return None, share, [""] * len(delays)
    delay = float(np.median(told[np.abs(told - pooled.frames) <= 0.75]))
    doubts = []
    for d in delays:
        nats, far = float(d.curve.max() - d.curve[at]), abs(d.frames - delay) > 0.75
        why = (
            f"action_contradicts: it runs {d.frames:.1f} frames before the state, in the dataset {delay:.1f}"
        )
        doubts.append(f"{why}, likelier by {nats:.1f} nats" if nats > _DELAY_DISSENT and far else "")
    return round(delay, 6), share, doubts
