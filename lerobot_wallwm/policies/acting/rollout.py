# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Acting: each robot's plan, queued actions, past and noise, from one reset to the next.

Shapes: B robots (or environments of a batch), H horizon, A action dims, C latent channels, T latents, V views, (h, w)
latent pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from lerobot_wallwm.policies.acting.background import BackgroundWorker
from lerobot_wallwm.policies.acting.event_cursor import EventCursor
from lerobot_wallwm.policies.acting.lookahead import LookAhead
from lerobot_wallwm.policies.acting.robots import PlanJob, captions_of, new_cursor
from lerobot_wallwm.policies.acting.seams import (
    LEAST_ACCELERATION,
    UNKNOWN_ACCELERATION,
    CommandPath,
    seconds_to_frames,
)
from lerobot_wallwm.policies.acting.stalls import StallDetector
from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.batches.camera_stack import CameraStack
from lerobot_wallwm.policies.batches.chunk_reader import ChunkHistory, chunk_of
from lerobot_wallwm.policies.batches.observation import Observation
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.model import sampling
from lerobot_wallwm.policies.model.sampling import Plan
from lerobot_wallwm.policies.model.windows import Chunk
from lerobot_wallwm.policies.model.world_action_model import WorldActionModel
from lerobot_wallwm.policies.planning.choice import frame_limit
from lerobot_wallwm.policies.training.stages import STAGES
from lerobot_wallwm.storage.line_log import LineLog

# Looks again, within the same event, before `on_stall` decides (our choice).
STALL_RETRIES = 2


class Rollout:
    """Walks several robots through the events, or chunks, of their plans.

    Args:
        config: The policy's configuration.
        model: Plans one event.
        action_space: Units of states and actions.
        images: The policy's cameras.
        log: The rollouts' diary; None keeps counts only.
        worker: Computes plans beside the control loop; None computes them in it.
    """

    def __init__(
        self,
        config: WallwmConfig,
        model: WorldActionModel,
        action_space: ActionSpace,
        images: CameraStack,
        log: LineLog | None = None,
        worker: BackgroundWorker[Plan] | None = None,
    ):
        self.config, self.model, self.action_space, self.images = config, model, action_space, images
        self.log = log or LineLog()
        self.cursors: list[EventCursor] = []
        self.histories: list[ChunkHistory] = []
        self.paths: list[CommandPath] = []
        self.stalls: list[StallDetector] = []
        self.generators: dict[int, torch.Generator] = {}
        self.ahead = LookAhead(self, worker) if worker is not None else None
        self.tick = 0
        # What the first robot imagines ``(1, C, T, h, V w)``, from the event's beginning until somebody takes it.
        self.film: Tensor | None = None

    def event(self, batch: dict[str, Any]) -> Tensor:
        """Actions of the event that each ``task`` names ``(B, H, A)``; beyond the predicted end the last one repeats.

        In chunks, the past is what `step` saw and did; without any, the rollout starts here.

        Raises:
            ValueError: The checkpoint cannot act, or the batch lacks its task or a camera.
        """
        self.require_trained_actions()
        captions = captions_of(batch)
        rows = list(range(len(captions)))
        noise = self._noise_of(rows, batch[OBS_STATE].device)
        plan = self.plan_and_decode(
            batch, captions, self.config.imagination, noise, chunk=self._chunk(batch, rows)
        )
        last = (plan.length - 1)[:, None].clamp_min(0)
        index = torch.minimum(torch.arange(plan.actions.shape[1], device=last.device)[None], last)
        return plan.actions.gather(1, index[..., None].expand_as(plan.actions))

    def step(self, observation: Observation) -> Tensor | None:
        """One tick of every robot.

        Returns:
            Actions ``(B, A)``; None where all robots are held.

        Raises:
            ValueError: As `event`, or ``script`` holds a caption that the checkpoint does not know.
        """
        if observation.sent is not None:
            self.remember_command(observation.sent)
        for row in observation.void:
            if row < len(self.cursors):
                self.cursors[row].forget()
        if observation.held.all():
            return None
        batch = observation.batch
        self.require_trained_actions()
        self.images.present(batch)  # before the first plan: an error beats a robot that waits
        self.reconcile(batch)
        for row in range(len(self.cursors)):
            self.observe(row, batch[OBS_STATE][row])
        if self.ahead is not None:
            self.ahead.advance(batch)
        else:
            acting = [i for i, c in enumerate(self.cursors) if not c.queue and c.current_event() is not None]
            if acting:
                self._refill(batch, acting)
        actions = self._pop()
        if self.config.chunked:
            seen = self.images(batch) if self.config.past_latents else None
            for i, history in enumerate(self.histories):
                history.add(None if seen is None else seen[i], actions[i])
        self.tick += 1
        return actions

    def reconcile(self, batch: dict[str, Any]) -> None:
        """Makes each robot's place at its first observation; tells planners what is seen, and does what they want."""
        instructions, state = captions_of(batch), batch[OBS_STATE]
        if len(self.cursors) != len(instructions):
            self.cursors = [new_cursor(self.config, self.log, i) for i in range(len(instructions))]
            self.histories = [ChunkHistory(self.config) for _ in instructions]
            bound = (
                1.0 + self.config.action_clamp_margin
            )  # the pipeline's clamp: what the arm will really be told
            most = self._seam_acceleration()
            self.paths = [CommandPath(most, bound) for _ in instructions]
            window = seconds_to_frames(self.config.stall_s, self.cursors[0].fps) if self.config.stall_s else 0
            relative = self.action_space.relative
            self.stalls = [StallDetector(window, self.config.stall_distance, relative) for _ in instructions]
            for path, pose in zip(self.paths, self._poses(state), strict=True):
                path.start(pose)
        for row, (cursor, instruction) in enumerate(zip(self.cursors, instructions, strict=True)):
            cursor.tick = self.tick
            cursor.observe(instruction)
            if cursor.planner.wants_pictures:
                present = self.images.present(batch)
                cursor.planner.see({key: batch[key][row] for key in present}, self.tick)
            cursor.take_order()

    def observe(self, row: int, state_P: Tensor, ticks: int = 1) -> None:
        """Handles a stall: looks again, and after that does what ``on_stall`` says."""
        cursor, stalls, path, config = self.cursors[row], self.stalls[row], self.paths[row], self.config
        if cursor.caption is None or cursor.paused or path.last is None:
            stalls.clear()
            return
        joints = stalls.add(state_P, self.action_space.absolute(path.last), ticks)
        if not joints:
            return
        stalls.clear()
        cursor.retries += 1
        action = "retry" if cursor.retries <= STALL_RETRIES else config.on_stall
        names = config.action_feature_names or []
        stuck = [names[j] if j < len(names) else str(j) for j in joints]
        cursor.write("stall", caption=cursor.caption, action=action, joints=stuck, retries=cursor.retries)
        cursor.planner.stalled(cursor.caption)
        if action == "next":
            cursor.skip_event("stall")
        else:
            cursor.drop_queue()
            cursor.paused = action == "hold"

    def drop_queued_actions(self) -> None:
        """Forgets the actions to come; the next tick looks again."""
        for cursor in self.cursors:
            cursor.drop_queue()

    def next_caption(self, batch: dict[str, Any]) -> str | None:
        """What the first robot's planner would do next; goes nowhere."""
        if self.cursors:
            return self.cursors[0].planner.peek()
        planner = new_cursor(self.config, LineLog()).planner
        planner.begin(captions_of(batch)[0])
        return planner.peek()

    def close(self) -> None:
        """Ends what still runs for this rollout."""
        if self.ahead is not None:
            self.ahead.close()

    def _poses(self, state_BP: Tensor) -> Tensor:
        """Where the arms are ``(B, A)``, as commands; where states and actions are no pair, the middle of the data."""
        if self.config.same_joints:
            return self.action_space.normalized(state_BP)
        return self.action_space.decode_actions(self.action_space.hold_pose(state_BP), state_BP)[:, 0]

    def _seam_acceleration(self) -> Tensor | None:
        """That of seams ``(A,)``, as the pipeline's commands have it; None where plans jump."""
        factor, space = self.config.seam_acceleration, self.action_space
        if not factor:
            return None
        learned = self.config.learned.motion_limits.get("acceleration", ())
        if len(learned) != len(space.range_low):
            return torch.full_like(space.range_low, factor * UNKNOWN_ACCELERATION)
        half = ((space.range_high - space.range_low) / 2).clamp_min(1e-8)
        return factor * (half.new_tensor(learned) / half).clamp(min=LEAST_ACCELERATION)

    def remember_command(self, actions: Tensor) -> None:
        """What the guards let through of the last `step`, ``(B, A)``: the way goes on from there, and the past has it."""
        for row, action in enumerate(actions):
            if row < len(self.paths):
                self.paths[row].amend(action)
        if self.config.chunked:
            for history, action in zip(self.histories, actions, strict=True):
                history.amend(action)

    def _refill(self, batch: dict[str, Any], rows: list[int]) -> None:
        """Plans for the rows whose queues ran dry."""
        config, cursors = self.config, [self.cursors[i] for i in rows]
        captions = [cursor.caption or "" for cursor in cursors]
        part, chunk = self.rows_of(batch, rows), self.chunk_of_rows(batch, rows)
        plan = self.job(part, rows, captions, chunk)()
        if config.save_predicted_video and rows[0] == 0 and cursors[0].is_new_event:
            latents = plan.latents
            if latents is None:
                # With noise of its own: what is filmed must not change what is done.
                first = {key: value[:1] for key, value in part.items()}
                own = [torch.Generator(plan.length.device).manual_seed(config.inference_seed or 0)]
                past = chunk and chunk[:1]
                latents = self.plan_and_decode(
                    first, captions[:1], "full", own, plan.length[:1], past
                ).latents
            assert latents is not None
            # Cameras side by side, as LeRobot's hook wants one video.
            self.film = torch.cat(latents[0].unbind(0), dim=-1)[None]
        for row, cursor in enumerate(cursors):
            steps, limit = int(plan.length[row]), frame_limit(config, captions[row])
            remaining = float(plan.remaining[row])
            actions = plan.actions[row, :steps]
            path = self.paths[rows[row]]
            # Looks inside an event go unsmoothed: they correct, and every seam delays what they correct.
            if cursor.is_new_event or path.behind:
                actions = path.follow(actions)
            cursor.accept(actions, steps, remaining, limit)
            self.report(cursor, captions[row], remaining)

    def report(self, cursor: EventCursor, caption: str, remaining: float, **facts: Any) -> None:
        """Tells the planner and the diary of a look."""
        left = cursor.frames_left
        cursor.planner.progress(caption, remaining if left is None else left)
        cursor.write(
            "look", caption=caption, remaining=round(remaining, 2), queued=len(cursor.queue), **facts
        )

    def rows_of(self, batch: dict[str, Any], rows: list[int]) -> dict[str, Tensor]:
        """What a look needs of these robots' observations."""
        index = torch.tensor(rows, device=batch[OBS_STATE].device)
        return {key: batch[key][index] for key in (*self.images.present(batch), OBS_STATE)}

    def job(
        self,
        part: dict[str, Tensor],
        rows: list[int],
        captions: list[str],
        chunk: Chunk | None,
        coming: list[bool] | None = None,
    ) -> PlanJob:
        """A look at some robots, ready to be computed anywhere: it reads nothing that a tick changes.

        Args:
            part: Their observations.
            rows: Their places in the batch.
            captions: Their events.
            chunk: Their past, in chunks.
            coming: Whether each event is still to come; None for none.
        """
        noise = self._noise_of(rows, part[OBS_STATE].device)
        ahead = coming or [False] * len(rows)
        lengths = [self.cursors[row].frames_of(new) or 0 for row, new in zip(rows, ahead, strict=True)]
        length = torch.tensor(lengths, device=part[OBS_STATE].device) if any(lengths) else None
        return lambda: self.plan_and_decode(part, captions, self.config.imagination, noise, length, chunk)

    def chunk_of_rows(self, batch: dict[str, Any], rows: list[int]) -> Chunk | None:
        return self._chunk(self.rows_of(batch, rows), rows) if self.config.chunked else None

    def _pop(self) -> Tensor:
        """The next action of each queue; without one, brakes and holds."""
        commands = []
        for cursor, path in zip(self.cursors, self.paths, strict=True):
            holding = not cursor.queue
            command = path.hold() if holding else cursor.pop()
            path.told(command, holding)
            commands.append(command)
        return torch.stack(commands)

    def plan_and_decode(
        self,
        batch: dict[str, Any],
        captions: list[str],
        imagination: str,
        generators: torch.Generator | list[torch.Generator] | None,
        length: Tensor | None = None,
        chunk: Chunk | None = None,
    ) -> Plan:
        """The model's plan, with actions as the pipeline expects them.

        Args:
            batch: Pictures and states of B robots.
            captions: Their events.
            imagination: How much of the future is imagined first.
            generators: Of the noise, one for all or one for each; None draws fresh noise.
            length: ``(B,)`` frames to plan for, 0 where the model predicts them; None where it does for all.
            chunk: Their past, in chunks.
        """
        state = batch[OBS_STATE]
        half = self.config.dtype == "bfloat16"
        with torch.autocast(state.device.type, torch.bfloat16, enabled=half):
            plan = sampling.plan(
                self.model,
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

    def require_trained_actions(self) -> None:
        """Raises ValueError for a checkpoint that cannot act."""
        if "action" not in STAGES[self.config.stage].losses:
            raise ValueError(
                f"This checkpoint is of --policy.stage={self.config.stage}, which trains no actions: it can imagine but "
                "must not move an arm. Fix: lerobot-train --policy.path=<this checkpoint> --policy.stage=action ..."
            )
