# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Observation-centred windows: from LeRobot's training batches, and from what a robot did so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.batches.camera_stack import CameraStack
from lerobot_wallwm.policies.batches.dataset_facts import episode_column
from lerobot_wallwm.policies.batches.event_reader import EventReader, exact_numbers
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.model.windows import Chunk, EventWindows
from lerobot_wallwm.policies.towers.history import Given


class ChunkReader(EventReader):
    """Reads training windows as chunks of one long sequence: the episode, with the task's string as caption.

    Goal and remaining time belong to events and are left out.
    """

    def __init__(
        self,
        config: WallwmConfig,
        images: CameraStack,
        action_space: ActionSpace,
        grid: tuple[int, int],
        dataset_meta: Any | None,
    ):
        super().__init__(config, images, action_space, grid, dataset_meta)
        self.episode_start = episode_column(dataset_meta, "dataset_from_index")

    def __call__(self, batch: dict[str, Any], future_rows: int) -> EventWindows:
        """A LeRobot training batch in the network's units; see `EventReader`."""
        config = self.config
        now, past_steps = -config.observation_delta_indices[0] // config.video_stride, config.past_steps
        states, actions = exact_numbers(batch)
        state = states[:, now]  # earlier states come as commands, later ones are the future: never inputs
        action_valid = self._valid(batch.get("action_is_pad"), actions)
        frame_valid = self._valid(self._frame_pad(batch), states)
        keyframes = self.images(batch, now)
        future = self.images(batch, slice(now + 1, None), future_rows)
        # The command before the observation asks for the observed pose, which is the anchor: zero by definition.
        poses = self.action_space.encode_actions(actions[:, :past_steps], state)
        given = Given.from_past(poses, action_valid[:, :past_steps], self._chunk_index(batch, state))
        first = len(config.action_delta_indices) - config.horizon
        return EventWindows(
            keyframes=keyframes,
            future=future,
            frame_valid=frame_valid,
            state=self.action_space.encode_state(state),
            actions=self.action_space.encode_actions(actions[:, first:], state),
            action_valid=action_valid[:, first:],
            remaining=self._remaining(batch, action_valid[:, first:]),
            here=self.action_space.here(state),
            goal=torch.zeros_like(self.action_space.here(state)),
            has_goal=torch.zeros_like(action_valid[:, 0]),
            captions=list(batch["task"]),
            instructions=self._of_episodes(batch, 0),
            following=self._of_episodes(batch, 1),
            sight=self._sight(states, self.images.present(batch)),
            view_ids=self.images.view_ids(batch, state.device),
            token_valid=self._token_valid(batch, keyframes, future, frame_valid[:, now:]),
            chunk=Chunk(self.images(batch, slice(0, now)), frame_valid[:, :now], given),
        )

    def _chunk_index(self, batch: dict[str, Any], state: Tensor) -> Tensor:
        """Which chunk of its episode each window is; 0 where the batch does not say."""
        if self.episode_start is None or "index" not in batch or "episode_index" not in batch:
            return torch.zeros(len(state), dtype=torch.long, device=state.device)
        start = self.episode_start.to(state.device)[batch["episode_index"].flatten().long()]
        return (batch["index"].flatten().long() - start) // self.config.chunk_length


class ChunkHistory:
    """What one robot saw and was told so far, as far back as a window reaches.

    Args:
        config: The policy's configuration.
    """

    def __init__(self, config: WallwmConfig):
        self.config = config
        back = config.past_steps  # frames from the window's first to the observation
        self.frames: deque[Tensor] = deque(maxlen=back)
        self.commands: deque[Tensor] = deque(maxlen=back + 1)
        self.ticks = 0

    def add(self, frame_V3HW: Tensor | None, command_A: Tensor) -> None:
        """One tick: what was seen (None without history), and the normalised action that followed."""
        if frame_V3HW is not None:
            if self.frames and self.frames[-1].shape != frame_V3HW.shape:
                self.frames.clear()
            self.frames.append(frame_V3HW)
        self.commands.append(command_A)
        self.amend(command_A)
        self.ticks += 1

    def amend(self, command_A: Tensor) -> None:
        """Replaces the last command by what the arm was really told."""
        bound = 1.0 + self.config.action_clamp_margin  # the pipeline's clamp
        self.commands[-1] = torch.nan_to_num(command_A, nan=0.0).clamp(-bound, bound)

    def window(self, now_V3HW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The past as LeRobot would cut it from a recording: before the start the first frame is repeated and marked.

        Args:
            now_V3HW: The observation.

        Returns:
            Frames ``(V, 4 M, 3, H, W)``, which are real ``(4 M,)``, commands ``(M K, A)``, which are real ``(M K,)``.
        """
        offsets = [-k for k in self.config.observation_delta_indices if k < 0]
        # A camera that came or went begins the pictures' past anew.
        past = self.frames if self.frames and self.frames[-1].shape == now_V3HW.shape else ()
        first = past[0] if past else now_V3HW
        frames = [past[-k] if k <= len(past) else first for k in offsets]
        stacked = torch.stack(frames, 1) if frames else now_V3HW[:, None][:, :0]
        steps = [-k for k in self.config.action_delta_indices[: self.config.past_steps]]
        nothing = now_V3HW.new_zeros(self.config.action_feature.shape[-1])  # type: ignore[union-attr]
        commands = [self.commands[-k] if k <= len(self.commands) else nothing for k in steps]
        return (
            stacked,
            torch.tensor([k <= len(past) for k in offsets], dtype=torch.bool, device=stacked.device),
            torch.stack(commands) if commands else nothing[None][:0],
            torch.tensor([k <= len(self.commands) for k in steps], dtype=torch.bool, device=stacked.device),
        )


def chunk_of(
    histories: Sequence[ChunkHistory], keyframes_BV3HW: Tensor, state_BP: Tensor, space: ActionSpace
) -> Chunk:
    """The windows' past at inference, in the layout that `ChunkReader` reads from a recording.

    Args:
        histories: One per robot.
        keyframes_BV3HW: What they see now.
        state_BP: Raw proprioception now.
        space: Units of states and actions.
    """
    windows = [history.window(now) for history, now in zip(histories, keyframes_BV3HW, strict=True)]
    past, past_valid, commands, valid = (torch.stack(part) for part in zip(*windows, strict=True))
    index = [history.ticks // history.config.chunk_length for history in histories]
    chunk = torch.tensor(index, dtype=torch.long, device=state_BP.device)
    return Chunk(past, past_valid, Given.from_past(space.encode_actions(commands, state_BP), valid, chunk))
