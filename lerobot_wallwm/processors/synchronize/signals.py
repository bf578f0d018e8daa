# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How much the picture moves and how much the robot moves, frame by frame (paper p. 14, temporal synchronisation).

In every signal, row t is the motion from frame t - 1 to frame t, and row 0 is 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lerobot_wallwm.processors.motion.kinematics import steps_of, typical_size
from lerobot_wallwm.processors.source.episodes import Episode
from lerobot_wallwm.processors.synchronize.evidence import correlations

# Flow in a flat patch, where nothing changed, is made up by the regulariser. Our choice: flow counts where the brightness
# changed by more than 4 of 255, above the noise of a compressed picture. Without it, the motion of a human
# demonstration's camera and arm correlate by 0.4 instead of 0.85.
CHANGED = 4.0


def image_motion(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Motion in a camera.

    Args:
        frames: T grey frames (H, W) uint8, all of one size.

    Returns:
        (T, 2) float64: the mean magnitude of the optical flow (OpenCV's DIS) in pixels, where the picture changed, and the
        mean absolute change of brightness. The paper's caption says flow, its text says change of the image; both vote.
    """
    import cv2

    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    rows, before = [], None
    for frame in frames:
        if before is None:
            rows.append((0.0, 0.0))
        else:
            change = cv2.absdiff(before, frame)
            flow = flow_of.calc(before, frame, None)  # type: ignore[call-overload]
            size = cv2.magnitude(flow[..., 0], flow[..., 1])
            rows.append((float(size[change > CHANGED].sum()) / change.size, float(change.mean())))
        before = frame
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _relative(steps_TD: np.ndarray) -> np.ndarray:
    """Each dimension on the scale of its own 95th percentile, so that radians, metres and degrees count alike.

    The floor keeps a joint that hardly moves at all, whose steps are noise, at nought.
    """
    typical = typical_size(steps_TD)
    return np.where(typical > 1e-9, np.abs(steps_TD) / np.maximum(typical, 1e-9), 0.0)


def _channels(stream: str, steps_TD: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    relative = _relative(steps_TD)
    channels = {stream: np.sqrt((relative**2).sum(axis=1))}
    for d in range(relative.shape[1]):
        # A joint at rest in nine frames of ten says little about time.
        if np.count_nonzero(relative[:, d] > 0.1) > 0.1 * len(relative):
            channels[f"{stream}.{names[d] if d < len(names) else d}"] = relative[:, d]
    return channels


def state_motion(episode: Episode) -> dict[str, np.ndarray]:
    """Channels (T,) of the measured motion: `state`, all dimensions together, and `state.<name>` for each that moves."""
    return _channels("state", steps_of(episode.state), episode.state_names)


def action_motion(episode: Episode, reach: int = 8) -> dict[str, np.ndarray]:
    """Channels (T,) of the commanded motion: `action` and `action.<name>`; see `state_motion`.

    Commands are positions, whose differences are the motion, or steps or velocities, which are motion themselves. Where
    their space is not the state's (an end effector's, beside joints), the reading that better follows the measured motion
    within `reach` frames is taken.
    """
    positions = steps_of(episode.action)
    direct = episode.what.rates
    if not direct.any():
        return _channels("action", positions, episode.action_names)
    steps = np.where(direct, episode.action, positions)
    measured = state_motion(episode)["state"][None]
    readings = [_channels("action", values, episode.action_names) for values in (steps, positions)]
    follows = [correlations(measured, r["action"][None], reach)[0, 0, reach:].max() for r in readings]
    return readings[int(np.argmax(follows))]
