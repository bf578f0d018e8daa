# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Acting: each robot's plan, queued actions, past and noise, from one reset to the next.

Shapes: B robots (or environments of a batch), H horizon, A action dims, C latent channels, T latents, V views, (h, w)
latent pixels.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from .action_space import ActionSpace
from .camera_stack import CameraStack
from .chunk_batches import ChunkHistory, chunk_of
from .chunk_window import Chunk
from .configuration_wallwm import WallwmConfig
from .event_cursor import EventCursor
from .planners import (
    END,
    GrammarPlanner,
    InstructionPlanner,
    Planner,
    ScriptPlanner,
    check_captions,
    matches,
)
from .sampling import Plan
from .stages import STAGES
from .world_action_model import WorldActionModel


class Rollout:
    """Walks several robots through the events, or chunks, of their plans.

    Args:
        config: The policy's configuration.
        model: Plans one event.
        action_space: Units of states and actions.
        images: The policy's cameras.
    """

    def __init__(
        self, config: WallwmConfig, model: WorldActionModel, action_space: ActionSpace, images: CameraStack
    ):
        self.config, self.model, self.action_space, self.images = config, model, action_space, images
        self.cursors: list[EventCursor] = []
        self.histories: list[ChunkHistory] = []
        self.last_action: Tensor | None = None
        self.generators: dict[int, torch.Generator] = {}

    def event(self, batch: dict[str, Any]) -> Tensor:
        """Actions of the event that each ``task`` names ``(B, H, A)``; beyond the predicted end the last one repeats.

        In chunks, the past is what `step` saw and did; without any, the rollout starts here.

        Raises:
            ValueError: The checkpoint cannot act, or the batch lacks its task or a camera.
        """
        self._require_trained_actions()
        captions = _captions(batch)
        rows = list(range(len(captions)))
        noise = self._noise_of(rows, batch[OBS_STATE].device)
        plan = self._plan(batch, captions, self.config.imagination, noise, chunk=self._chunk(batch, rows))
        last = (plan.length - 1)[:, None].clamp_min(0)
        index = torch.minimum(torch.arange(plan.actions.shape[1], device=last.device)[None], last)
        return plan.actions.gather(1, index[..., None].expand_as(plan.actions))

    def step(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """One tick of every robot.

        Returns:
            Actions ``(B, A)``, and what the first robot imagines ``(1, C, T, h, V w)`` where an event of its begins and
            ``save_predicted_video`` asks for it.

        Raises:
            ValueError: As `event`, or ``script`` holds a caption that the checkpoint does not know.
        """
        self._require_trained_actions()
        instructions = _captions(batch)
        self.images.present(batch)  # before the first plan: an error beats a robot that waits
        if len(self.cursors) != len(instructions):
            self.cursors = [new_cursor(self.config) for _ in instructions]
            self.histories = [ChunkHistory(self.config) for _ in instructions]
            self.last_action = None
        for cursor, instruction in zip(self.cursors, instructions, strict=True):
            cursor.observe(instruction)
        acting = [i for i, c in enumerate(self.cursors) if not c.queue and c.current_event() is not None]
        film = self._refill(batch, acting) if acting else None
        actions = self._pop(batch)
        if self.config.chunked:
            seen = self.images(batch) if self.config.past_latents else None
            for i, history in enumerate(self.histories):
                history.add(None if seen is None else seen[i], actions[i])
        return actions, film

    def forget(self, rows: Collection[int]) -> None:
        """Drops the queued actions of these robots; they look again at the next tick, in the event they are in."""
        for row in rows:
            if row < len(self.cursors):
                self.cursors[row].forget()

    def _refill(self, batch: dict[str, Any], rows: list[int]) -> Tensor | None:
        """Plans for the rows whose queues ran dry; returns the film of the first robot's new event."""
        config, cursors = self.config, [self.cursors[i] for i in rows]
        captions = [cursor.caption or "" for cursor in cursors]
        index = torch.tensor(rows, device=batch[OBS_STATE].device)
        part = {key: batch[key][index] for key in (*self.images.present(batch), OBS_STATE)}
        noise = self._noise_of(rows, index.device)
        chunk = self._chunk(part, rows)
        plan = self._plan(part, captions, config.imagination, noise, chunk=chunk)
        film = None
        if config.save_predicted_video and rows[0] == 0 and cursors[0].is_new_event:
            latents = plan.latents
            if latents is None:
                # With noise of its own: what is filmed must not change what is done.
                first = {key: value[:1] for key, value in part.items()}
                own = [torch.Generator(index.device).manual_seed(config.inference_seed or 0)]
                past = chunk and chunk[:1]
                latents = self._plan(first, captions[:1], "full", own, plan.length[:1], past).latents
            assert latents is not None
            # Cameras side by side, as LeRobot's hook wants one video.
            film = torch.cat(latents[0].unbind(0), dim=-1)[None]
        for row, cursor in enumerate(cursors):
            steps, limit = int(plan.length[row]), frame_limit(config, captions[row])
            cursor.accept(plan.actions[row, :steps], steps, float(plan.remaining[row]), limit)
        return film

    def _pop(self, batch: dict[str, Any]) -> Tensor:
        """The next action of each queue; a finished plan holds the last action, or the observed pose."""
        if self.last_action is None:
            state = batch[OBS_STATE]
            pose = self.action_space.decode_actions(self.action_space.hold_pose(state), state)[:, 0]
            self.last_action = pose
        rows = [c.queue.popleft() if c.queue else self.last_action[i] for i, c in enumerate(self.cursors)]
        self.last_action = torch.stack(rows)
        return self.last_action

    def _plan(
        self,
        batch: dict[str, Any],
        captions: list[str],
        imagination: str,
        generators: list[torch.Generator] | None,
        length: Tensor | None = None,
        chunk: Chunk | None = None,
    ) -> Plan:
        """The model's plan, with actions as the pipeline expects them."""
        state = batch[OBS_STATE]
        half = self.config.dtype == "bfloat16"
        with torch.autocast(state.device.type, torch.bfloat16, enabled=half):
            plan = self.model.plan(
                self.images(batch),
                self.action_space.encode_state(state),
                captions,
                self.action_space.here(state),
                imagination=imagination,
                num_steps=self.config.num_inference_steps,
                generator=generators,
                length=length,
                view_ids=self.images.view_ids(batch, state.device),
                chunk=chunk,
            )
        return replace(plan, actions=self.action_space.decode_actions(plan.actions, state))

    def _chunk(self, batch: dict[str, Any], rows: list[int]) -> Chunk | None:
        """The past of these robots, where windows are centred on the observation."""
        if not self.config.chunked:
            return None
        known = self.histories if len(self.histories) > max(rows) else None
        histories = [known[i] if known else ChunkHistory(self.config) for i in rows]
        return chunk_of(histories, self.images(batch), batch[OBS_STATE], self.action_space)

    def _noise_of(self, rows: list[int], device: torch.device) -> list[torch.Generator] | None:
        """Each robot's own noise, so that a rollout does not depend on those beside it."""
        seed = self.config.inference_seed
        if seed is None:
            return None
        return [self.generators.setdefault(row, torch.Generator(device).manual_seed(seed)) for row in rows]

    def _require_trained_actions(self) -> None:
        if "action" not in STAGES[self.config.stage].losses:
            raise ValueError(
                f"This checkpoint is of --policy.stage={self.config.stage}, which trains no actions: it can imagine but "
                "must not move an arm. Fix: lerobot-train --policy.path=<this checkpoint> --policy.stage=action ..."
            )


def new_cursor(config: WallwmConfig) -> EventCursor:
    """A robot's place before its first event.

    Raises:
        ValueError: ``script`` holds a caption that the checkpoint does not know, or there is no grammar to follow.
    """
    planner: Planner
    if config.planner == "script":
        check_captions(config.script, known_templates(config))
        planner = ScriptPlanner(config.script)
    elif config.planner == "grammar":
        planner = GrammarPlanner(config.event_transitions)
    else:
        planner = InstructionPlanner()
    steps = config.chunk_length if config.chunked else config.replan_steps
    return EventCursor(planner, steps, config.end_threshold, config.on_plan_end == "repeat")


def known_templates(config: WallwmConfig) -> list[str]:
    """Caption templates that the checkpoint was trained on."""
    nexts = config.event_transitions.values()
    return sorted({template for options in nexts for template in options if template != END})


def frame_limit(config: WallwmConfig, caption: str) -> float:
    """Longest stay in an event: a stretch of the longest such event in the data. A chunk ends by the clock."""
    if config.chunked:
        return config.chunk_length
    lengths = config.event_max_frames
    known = [frames for template, frames in lengths.items() if matches(template, caption)]
    return config.max_event_stretch * max(known or lengths.values() or [10_000])


def _captions(batch: dict[str, Any]) -> list[str]:
    if "task" not in batch:
        raise ValueError(
            "The observation has no 'task': pass --task=... (rollout) or an env with a description."
        )
    task = batch["task"]
    return [task] if isinstance(task, str) else [str(text) for text in task]
