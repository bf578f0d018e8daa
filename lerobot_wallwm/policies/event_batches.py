# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""From LeRobot's batches to the network's: pictures stacked by camera, and training windows as `Event`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor
from torch.nn import functional as F

from .action_space import ActionSpace
from .calibration import load_calibration
from .codecs import FRAMES_PER_LATENT
from .configuration_wallwm import WallwmConfig
from .dataset_facts import episode_ends, episode_lengths, final_actions
from .event_window import Event
from .sight_cone_masks import SightConeMasks


class CameraStack:
    """Stacks a batch's pictures in the order of the checkpoint's cameras.

    Args:
        config: The policy's configuration.
    """

    def __init__(self, config: WallwmConfig):
        self.shapes = {key: tuple(feature.shape) for key, feature in config.image_features.items()}
        self.size = config.image_size

    def __call__(self, batch: dict[str, Any], frames: int | slice = 0, rows: int | None = None) -> Tensor:
        """All cameras in [-1, 1] at the model's size.

        Args:
            batch: A LeRobot batch; images ``(B, F, 3, H, W)`` in training, ``(B, 3, H, W)`` otherwise.
            frames: Which frames to take.
            rows: Only the first rows of the batch; None for all.

        Returns:
            ``(B, V, 3, H, W)``, or ``(B, V, F, 3, H, W)`` for a slice of frames.

        Raises:
            ValueError: A camera is missing, or an image has another size than in training.
        """
        self.require(batch)
        views = []
        for key, expected in self.shapes.items():
            image = batch[key]
            if tuple(image.shape[-3:]) != expected:
                raise ValueError(
                    f"'{key}' has shape {tuple(image.shape[-3:])} but the policy was trained on {expected}: set the "
                    f"camera to width={expected[2]}, height={expected[1]}."
                )
            views.append(image[:rows, frames] if image.ndim == 5 else image[:rows])
        stacked = torch.stack(views, dim=1).float()
        if tuple(stacked.shape[-2:]) != self.size:
            flat = F.interpolate(
                stacked.flatten(0, -4), self.size, mode="bilinear", antialias=True, align_corners=False
            )
            stacked = flat.unflatten(0, stacked.shape[:-3])
        return stacked.mul_(2).sub_(1)

    def require(self, batch: dict[str, Any]) -> None:
        """Raises ValueError if a camera is missing."""
        for key in self.shapes:
            if key not in batch:
                present = [k for k in batch if k.startswith("observation.images.") and "_is_pad" not in k]
                raise ValueError(
                    f"Camera '{key}' is missing from the observation (present: {present or 'none'}). Name the "
                    "robot's cameras as in training, or map them with --rename_map."
                )


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
        self.episode_end = episode_ends(dataset_meta)
        self.episode_length = episode_lengths(dataset_meta)
        self.episode_goal = final_actions(Path(root)) if root is not None else None
        self.grid = grid
        self._masks: SightConeMasks | None = None

    def __call__(self, batch: dict[str, Any], future_rows: int) -> Event:
        """A LeRobot training batch in the network's units.

        Args:
            batch: The batch.
            future_rows: Samples, from the first, that carry their future pictures.
        """
        states = batch[OBS_STATE]
        state = states[:, 0] if states.ndim == 3 else states  # later rows are the future: never an input
        future = self.images(batch, slice(1, None), future_rows)
        action_pad = batch.get("action_is_pad")
        if action_pad is None:
            action_pad = torch.zeros(batch[ACTION].shape[:2], dtype=torch.bool, device=state.device)
        frame_pad = batch.get(f"{next(iter(self.images.shapes))}_is_pad")
        if frame_pad is None:
            frame_pad = action_pad.new_zeros(len(state), 1 + future.shape[2])
        goal, has_goal = self._goal(batch, state, action_pad)
        return Event(
            keyframes=self.images(batch, 0),
            future=future,
            frame_valid=~frame_pad,
            state=self.action_space.encode_state(state),
            actions=self.action_space.encode_actions(batch[ACTION], state),
            action_valid=~action_pad,
            remaining=self._remaining(batch, action_pad),
            here=self.action_space.here(state),
            goal=goal,
            has_goal=has_goal,
            captions=list(batch["task"]),
            sight=self._sight(states),
        )

    def _sight(self, states: Tensor) -> Tensor | None:
        """Masks where the arm is at each latent frame; a latent's four pictures stand for its last.

        The calibration is read with the first training batch: a checkpoint must load and act where the file is not.
        """
        config = self.config
        if config.calibration is None:
            return None
        if self._masks is None:
            names = config.state_feature_names or []
            calibration = load_calibration(config.calibration, self.images.shapes, names)
            self._masks = SightConeMasks(
                calibration, list(self.images.shapes), self.grid, names, config.sight_cone_widen
            )
        return self._masks(states[:, ::FRAMES_PER_LATENT] if states.ndim == 3 else states[:, None])

    def event_frames(self, batch: dict[str, Any], event: Event) -> Tensor:
        """Frames ``(B,)`` of each sample's whole event; the window alone, without metadata, shows what is left of it."""
        if self.episode_length is None or "episode_index" not in batch:
            return event.remaining
        return self.episode_length[batch["episode_index"].flatten().long().cpu()].to(event.remaining)

    def _remaining(self, batch: dict[str, Any], action_pad: Tensor) -> Tensor:
        """Frames from each keyframe to its event's end; the pad mask alone stops counting at the horizon."""
        if self.episode_end is None or "index" not in batch or "episode_index" not in batch:
            return (~action_pad).sum(1).float()
        ends = self.episode_end.to(action_pad.device)[batch["episode_index"].flatten().long()]
        return (ends - batch["index"].flatten()).clamp_min(1).float()

    def _goal(self, batch: dict[str, Any], state: Tensor, action_pad: Tensor) -> tuple[Tensor, Tensor]:
        """The event's last action in goal units, and where it is known: from the dataset, or from the window's end."""
        if self.episode_goal is not None and "episode_index" in batch:
            goals = self.episode_goal.to(state.device)[batch["episode_index"].flatten().long()]
            return self.action_space.encode_goal(goals), torch.ones_like(action_pad[:, 0])
        last = (~action_pad).sum(1).clamp_min(1) - 1
        actions = self.action_space.encode_actions(batch[ACTION], state)
        goal = actions[torch.arange(len(last), device=last.device), last] + self.action_space.here(state)
        return goal, action_pad.any(1)
