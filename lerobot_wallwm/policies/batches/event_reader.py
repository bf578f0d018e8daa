# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From LeRobot's training batches to the network's windows, `Event`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor

from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.batches.camera_stack import CameraStack
from lerobot_wallwm.policies.batches.dataset_facts import episode_column, event_texts, final_actions
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.encoders.wavelet_codec import FRAMES_PER_LATENT
from lerobot_wallwm.policies.geometry.border_masks import valid_tokens, without_black_borders
from lerobot_wallwm.policies.geometry.calibration import SightConeMasks, load_calibration
from lerobot_wallwm.policies.model.windows import EventWindows


def exact_numbers(batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """A batch's states and actions, as LeRobot has them or as `ExactNumbersStep` hands them over."""
    return batch[OBS_STATE].real, batch[ACTION].real


class EventReader:
    """Reads training windows as events.

    Args:
        config: The policy's configuration.
        images: Its cameras.
        action_space: Units of states and actions.
        grid: Token grid ``(h, w)`` of one view.
        dataset_meta: Metadata of the training data, or None.
    """

    def __init__(
        self,
        config: WallwmConfig,
        images: CameraStack,
        action_space: ActionSpace,
        grid: tuple[int, int],
        dataset_meta: Any | None,
    ):
        self.config, self.images, self.action_space = config, images, action_space
        root = getattr(dataset_meta, "root", None)
        self.episode_end = episode_column(dataset_meta, "dataset_to_index")
        self.episode_length = episode_column(dataset_meta, "length")
        self.episode_goal = final_actions(Path(root)) if root is not None else None
        self.texts = event_texts(dataset_meta)
        self.grid = grid
        self._masks: dict[tuple[str, ...], SightConeMasks] = {}

    def __call__(self, batch: dict[str, Any], future_rows: int) -> EventWindows:
        """A LeRobot training batch in the network's units; the first ``future_rows`` samples carry their future pictures."""
        states, commands = exact_numbers(batch)
        state = states[:, 0] if states.ndim == 3 else states  # later rows are the future: never an input
        future = self.images(batch, slice(1, None), future_rows)
        action_valid = self._valid(batch.get("action_is_pad"), commands)
        frame_valid = self._valid(self._frame_pad(batch), future.new_empty(len(state), 1 + future.shape[2]))
        goal, has_goal = self._goal(batch, commands, state, action_valid)
        keyframes = self.images(batch, 0)
        return EventWindows(
            keyframes=keyframes,
            future=future,
            frame_valid=frame_valid,
            state=self.action_space.encode_state(state),
            actions=self.action_space.encode_actions(commands, state),
            action_valid=action_valid,
            remaining=self._remaining(batch, action_valid),
            here=self.action_space.here(state),
            frame=self.action_space.frame(state),
            goal=goal,
            has_goal=has_goal,
            captions=list(batch["task"]),
            instructions=self._of_episodes(batch, 0),
            following=self._of_episodes(batch, 1),
            sight=self._sight(states, self.images.present(batch)),
            view_ids=self.images.view_ids(batch, state.device),
            token_valid=self._token_valid(batch, keyframes, future, frame_valid),
        )

    def _of_episodes(self, batch: dict[str, Any], which: int) -> list[str] | None:
        """Of `event_texts`, those of a batch's episodes; None where the data name no events."""
        if self.texts is None or "episode_index" not in batch:
            return None
        return [self.texts[which][episode] for episode in batch["episode_index"].flatten().tolist()]

    def _frame_pad(self, batch: dict[str, Any]) -> Tensor | None:
        # LeRobot 0.6.1 renames a camera (--rename_map), but not its pad mask; that of the state is the same.
        keys = (*self.images.present(batch), OBS_STATE)
        return next((batch[f"{key}_is_pad"] for key in keys if f"{key}_is_pad" in batch), None)

    @staticmethod
    def _valid(pad_BT: Tensor | None, like_BT: Tensor) -> Tensor:
        """What a batch's mask does not mark as padding; everything where it has none."""
        return like_BT.new_ones(like_BT.shape[:2], dtype=torch.bool) if pad_BT is None else ~pad_BT

    def _token_valid(
        self, batch: dict[str, Any], keyframes: Tensor, future: Tensor, frame_valid: Tensor
    ) -> Tensor:
        """Tokens outside of all borders, for the samples that carry their future."""
        rows = len(future)
        frames = torch.cat((keyframes[:rows, :, None], future), dim=2)
        inside = without_black_borders(frames, frame_valid[:rows]) & self.images.inside(batch).to(
            frames.device
        )
        return valid_tokens(inside, self.grid)

    def _sight(self, states: Tensor, cameras: list[str]) -> Tensor | None:
        """Masks where the arm is at each latent frame; a latent's four pictures stand for its last.

        The calibration is read with the first training batch: a checkpoint must load and act where the file is not.
        """
        config = self.config
        if config.calibration is None:
            return None
        key = tuple(cameras)
        if key not in self._masks:
            names = config.learned.state_feature_names or []
            images = self.images
            calibration = load_calibration(config.calibration, {k: images.shapes[k] for k in cameras}, names)
            covered = {k: images.boxes[k].covered(images.size) for k in cameras}
            self._masks[key] = SightConeMasks(calibration, cameras, self.grid, names, covered=covered)
        return self._masks[key](states[:, ::FRAMES_PER_LATENT] if states.ndim == 3 else states[:, None])

    def event_frames(self, batch: dict[str, Any], windows: EventWindows) -> Tensor:
        """Frames ``(B,)`` of each sample's whole event; the window alone, without metadata, shows what is left of it."""
        if self.episode_length is None or "episode_index" not in batch:
            return windows.remaining
        return self.episode_length[batch["episode_index"].flatten().long().cpu()].to(windows.remaining)

    def _remaining(self, batch: dict[str, Any], action_valid: Tensor) -> Tensor:
        """Frames from each keyframe to its event's end; the pad mask alone stops counting at the horizon."""
        if self.episode_end is None or "index" not in batch or "episode_index" not in batch:
            return action_valid.sum(1).float()
        ends = self.episode_end.to(action_valid.device)[batch["episode_index"].flatten().long()]
        return (ends - batch["index"].flatten()).clamp_min(1).float()

    def _goal(
        self, batch: dict[str, Any], commands: Tensor, state: Tensor, action_valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The event's last action in goal units, and where it is known: from the dataset, or from the window's end."""
        if self.episode_goal is not None and "episode_index" in batch:
            goals = self.episode_goal.to(state.device)[batch["episode_index"].flatten().long()]
            return self.action_space.encode_goal(goals), torch.ones_like(action_valid[:, 0])
        last = action_valid.sum(1).clamp_min(1) - 1
        actions = self.action_space.encode_actions(commands, state)
        ends = actions[torch.arange(len(last), device=last.device), last]
        return self.action_space.goal_of(ends, state), ~action_valid.all(1)
