# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The verdict on one episode's synchronisation, and what applying it means for an episode and for a column of a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from lerobot_wallwm.processors.source.episodes import ACTION, Episode

FRAME_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True)
class Vote:
    """What one camera says about one motion channel."""

    camera: str
    channel: str
    lag: int
    score: float


@dataclass(frozen=True)
class SyncVerdict:
    """What is done with one episode.

    Attributes:
        episode_index: The episode.
        length: Its frames as recorded.
        lag: Frames by which the picture runs behind the state: frame t takes its state from row t - lag.
        action_lag: The same for the action: frame t takes its action from row t - action_lag.
        score: Correlation of the pictures' with the state's motion at `lag`.
        margin: Evidence, in nats, for `lag` against the next best.
        action_delay: Frames from action to state as measured; NaN where it cannot be told.
        first_frame: First frame that has picture, state and action.
        end_frame: One past the last such frame.
        quarantined: Whether the episode must not be trained on unseen.
        reason: Why, `rule: evidence`; empty otherwise.
        votes: See `Vote`.
    """

    episode_index: int
    length: int
    lag: int
    action_lag: int
    score: float
    margin: float
    action_delay: float
    first_frame: int
    end_frame: int
    quarantined: bool = False
    reason: str = ""
    votes: tuple[Vote, ...] = field(default=())

    def quarantine(self, reason: str) -> SyncVerdict:
        """The same verdict, quarantined."""
        return replace(self, quarantined=True, reason=reason)

    def with_lags(self, lag: int, action_lag: int) -> SyncVerdict:
        """The same verdict with other lags and the frames that those leave."""
        first = max(0, lag, action_lag)
        end = max(first, self.length + min(0, lag, action_lag))
        return replace(self, lag=lag, action_lag=action_lag, first_frame=first, end_frame=end)


def refused(episode_index: int, length: int, reason: str) -> SyncVerdict:
    """The verdict on an episode in which nothing could be measured."""
    return SyncVerdict(episode_index, length, 0, 0, 0.0, 0.0, float("nan"), 0, length, True, reason)


def rows_behind(column: str, cameras: Iterable[str], lag: int, action_lag: int) -> int:
    """How many rows before a frame's own row its value of `column` was recorded.

    Pictures, the clock and whatever was written by looking at the pictures belong to the frame. Actions come from
    `action_lag` rows before. All else (state, effort, reward ...) was read from the robot with the state.
    """
    if column in FRAME_COLUMNS or column in cameras or column.startswith("language_"):
        return 0
    return action_lag if column == ACTION or column.startswith(f"{ACTION}.") else lag


def synchronized(episode: Episode, verdict: SyncVerdict) -> Episode:
    """The episode on the video's time: frames without picture, state and action are trimmed from its ends."""
    frames = np.arange(verdict.first_frame, verdict.end_frame)
    return replace(
        episode,
        state=episode.state[frames - verdict.lag],
        action=episode.action[frames - verdict.action_lag],
        effort=None if episode.effort is None else episode.effort[frames - verdict.lag],
    )
