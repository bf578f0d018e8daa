# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""By how many frames does the arm follow its commands in one episode?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig, grippers, is_position
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.synchronize.evidence import correlations, evidence, margin, peak

# Our choice, as for the segmenter's speeds: the arm's own dynamics blur anything shorter.
SMOOTH_S = 0.05


def action_delay(
    episode: Episode,
    state: Mapping[str, np.ndarray],
    action: Mapping[str, np.ndarray],
    sigma: float,
    reach: int,
    min_margin: float,
    kinematics: KinematicsConfig | None = None,
) -> float:
    """Frames from a command to the motion it causes, with a fraction; NaN where it cannot be told.

    Commands that are positions of the state's own joints are compared joint by joint and with their sign, which holds where
    the arm is pushed off its plan. Others are compared by the size of the motion.

    Args:
        episode: T frames.
        state: Sharpened channels (T - 1,) of `state_motion`.
        action: Sharpened channels (T - 1,) of `action_motion`.
        sigma: What they were smoothed by.
        reach: Greatest delay looked at, frames.
        min_margin: Least evidence, in nats, against any other delay.
        kinematics: How state and action are read.
    """
    grip_action, grip_state = grippers(episode, kinematics or KinematicsConfig())
    arm_action = np.delete(episode.action, grip_action, axis=1)
    arm_state = np.delete(episode.state, grip_state, axis=1)
    frames = max(1, len(episode) - 1 - reach)
    if arm_action.size and is_position(arm_action, arm_state):
        sigma = max(0.4, SMOOTH_S * episode.fps)
        measured, commanded = (
            gaussian_filter1d(values, sigma, axis=0, order=1, mode="nearest").T
            for values in (arm_state, arm_action)
        )
        moving = [d for d in range(arm_action.shape[1]) if np.ptp(arm_action[:, d]) > 0]
        r_CL = np.array(
            [correlations(measured[d : d + 1], commanded[d : d + 1], reach)[0, 0] for d in moving]
        )
    else:
        r_CL = correlations(state["state"][None], np.array(list(action.values())), reach)[0]
    if not len(r_CL):
        return float("nan")
    curves = evidence(r_CL, frames, sigma)
    curve = np.mean(curves, axis=0)
    top, fraction = peak(curve)
    clear = margin(curve) >= min_margin and 0 < top < len(curve) - 1
    return float(top - reach + fraction) if clear else float("nan")
