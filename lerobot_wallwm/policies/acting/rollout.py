# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Acting: each robot's plan, queued actions, past and noise, from one reset to the next.

Shapes: B robots (or environments of a batch), H horizon, A action dims, P proprioception dims, C latent channels, T latents,
V views, (h, w) latent pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from lerobot_wallwm.policies.acting.event_cursor import EventCursor
from lerobot_wallwm.policies.acting.grip import Grip
from lerobot_wallwm.policies.acting.robots import Robot, StallDetector, new_cursor
from lerobot_wallwm.policies.acting.seams import (
    LEAST_ACCELERATION,
    UNKNOWN_ACCELERATION,
    CommandPath,
    seconds_to_frames,
)
from lerobot_wallwm.policies.batches.action_space import ActionSpace
from lerobot_wallwm.policies.batches.camera_stack import CameraStack
from lerobot_wallwm.policies.batches.chunk_reader import ChunkHistory, chunk_of
from lerobot_wallwm.policies.batches.observation import Observation
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.encoders.hashed_words import split_words
from lerobot_wallwm.policies.model import sampling
from lerobot_wallwm.policies.model.sampling import Plan
from lerobot_wallwm.policies.model.windows import Chunk
from lerobot_wallwm.policies.model.world_action_model import WorldActionModel
from lerobot_wallwm.policies.planning.choice import frame_limit
from lerobot_wallwm.policies.planning.own_planner import Speaker
from lerobot_wallwm.policies.planning.planners import parse_line
from lerobot_wallwm.policies.reasoning.nano_vlm import THEN, trace
from lerobot_wallwm.policies.training.stages import STAGES
from lerobot_wallwm.storage.line_log import LineLog

# Seconds that a gripper must be empty in a row where it should hold something (our choice).
EMPTY_S = 0.25


class Rollout:
    """Walks several robots through the events, or chunks, of their plans, and waits for each plan.

    Args:
        config: The policy's configuration.
        model: Plans one event.
        action_space: Units of states and actions.
        images: The policy's cameras.
        log: The rollouts' diary; None keeps counts only.

    Attributes:
        film: What the first robot imagines ``(1, C, T, h, V w)``, from the event's beginning until somebody takes it.
    """

    def __init__(
        self,
        config: WallwmConfig,
        model: WorldActionModel,
        action_space: ActionSpace,
        images: CameraStack,
        log: LineLog | None = None,
    ):
        self.config, self.model, self.action_space, self.images = config, model, action_space, images
        self.log = log or LineLog()
        self.robots: list[Robot] = []
        self.generators: dict[int, torch.Generator] = {}
        self.tick = 0
        self.film: Tensor | None = None

    @property
    def cursors(self) -> list[EventCursor]:
        """Each robot's place in its plan."""
        return [robot.cursor for robot in self.robots]

    # ------------------------------------------------------------------ from an observation to a plan

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
        past, config = self.chunk_of_rows(batch, rows), self.config
        latents = config.text_source == "latents"
        plan = self.plan_and_decode(
            batch, captions, config.imagination, noise, chunk=past, as_latents=latents
        )
        last = (plan.length - 1)[:, None].clamp_min(0)
        index = torch.minimum(torch.arange(plan.actions.shape[1], device=last.device)[None], last)
        return plan.actions.gather(1, index[..., None].expand_as(plan.actions))

    def plan_and_decode(
        self,
        batch: dict[str, Any],
        captions: list[str],
        imagination: str,
        generators: torch.Generator | list[torch.Generator] | None,
        length: Tensor | None = None,
        chunk: Chunk | None = None,
        as_latents: bool = False,
    ) -> Plan:
        """The model's plan, with actions normalised as the pipeline expects them.

        Args:
            batch: Pictures and states of B robots.
            captions: Their events.
            imagination: How much of the future is imagined first.
            generators: Of the noise, one for all or one for each; None draws fresh noise.
            length: ``(B,)`` frames to plan for, 0 where the model predicts them; None where it does for all.
            chunk: Their past, in chunks.
            as_latents: Whether ``captions`` are instructions, from which latents are decoded.
        """
        state, space = batch[OBS_STATE], self.action_space
        half = self.config.dtype == "bfloat16"
        look, views = (
            (self.images(batch), space.encode_state(state)),
            self.images.view_ids(batch, state.device),
        )
        with torch.autocast(state.device.type, torch.bfloat16, enabled=half), torch.no_grad():
            plan = sampling.plan(
                self.model,
                *look,
                self.model.decode_latents(captions, *look, views) if as_latents else captions,
                space.here(state),
                imagination=imagination,
                num_steps=self.config.num_inference_steps,
                generator=generators,
                length=length,
                view_ids=views,
                chunk=chunk,
                frame=space.frame(state),
            )
        return replace(plan, actions=space.decode_actions(plan.actions.float(), state))

    def job(
        self, batch: dict[str, Any], rows: list[int], captions: list[str], coming: list[bool] | None = None
    ) -> Callable[[], Plan]:
        """A look at some robots, ready to be computed anywhere: it reads nothing that a tick changes.

        Args:
            batch: The observation of all robots.
            rows: Which of them; one may come twice.
            captions: Their events.
            coming: Whether each event is still to come; None for none.
        """
        device, part = batch[OBS_STATE].device, batch
        if rows != list(range(len(batch[OBS_STATE]))):
            index = torch.tensor(rows, device=device)
            part = {key: batch[key][index] for key in (*self.images.present(batch), OBS_STATE)}
        past, noise = self.chunk_of_rows(part, rows), self._noise_of(rows, device)
        ahead = coming or [False] * len(rows)
        lengths = [self.robots[row].cursor.frames_of(new) or 0 for row, new in zip(rows, ahead, strict=True)]
        length = torch.tensor(lengths, device=device) if any(lengths) else None
        source, imagination = self.config.text_source, self.config.imagination
        if source != "atomic":
            captions = [self.robots[row].cursor.instruction or "" for row in rows]
        latents = source == "latents"
        return lambda: self.plan_and_decode(part, captions, imagination, noise, length, past, latents)

    def chunk_of_rows(self, batch: dict[str, Any], rows: list[int]) -> Chunk | None:
        """The past of these robots, where windows are centred on the observation."""
        if not self.config.chunked:
            return None
        known = len(self.robots) > max(rows)
        histories = [self.robots[row].history if known else ChunkHistory(self.config) for row in rows]
        return chunk_of(histories, self.images(batch), batch[OBS_STATE], self.action_space)

    def _noise_of(self, rows: list[int], device: torch.device) -> list[torch.Generator] | None:
        """Each robot's own noise, so that a rollout does not depend on those beside it."""
        seed = self.config.inference_seed
        if seed is None:
            return None
        return [self.generators.setdefault(row, torch.Generator(device).manual_seed(seed)) for row in rows]

    def require_trained_actions(self) -> None:
        """Raises ValueError for a checkpoint that cannot act, or that cannot tell when events end where nobody else does."""
        stages = self.config.learned.stages or [self.config.stage]
        if not any("action" in STAGES[stage].losses for stage in stages):
            raise ValueError(
                f"This checkpoint is of --policy.stage={self.config.stage}, which trains no actions: it can imagine but "
                "must not move an arm. Fix: lerobot-train --policy.path=<this checkpoint> --policy.stage=action ..."
            )
        if not self._knows_ends and not self._ends_are_given():
            raise ValueError(
                "This checkpoint was never taught how long an event still lasts (--policy.future_fraction=1 from the "
                "start): it cannot tell when an event is over. Fix: lerobot-train --policy.path=<this checkpoint> "
                "--policy.future_fraction=0.5 ..., or say how long each event takes: --policy.planner=script "
                "--policy.script='[\"reach for the red cube | 1.5 s\", ...]'"
            )

    @cached_property
    def _knows_ends(self) -> bool:
        """Whether the remaining time was ever trained; asked once a rollout, for a GPU stops to answer."""
        weights = list(self.model.action.remaining_head.parameters())  # an adapter's copy after the original
        last = weights[-2:]
        return any(bool(p.any()) for p in last)

    def _ends_are_given(self) -> bool:
        config = self.config
        timed = config.planner == "script" and all(parse_line(line)[1] is not None for line in config.script)
        return config.chunked or timed

    # ------------------------------------------------------------------ one tick

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
            if row < len(self.robots):
                self.robots[row].cursor.void_queue()
        if observation.held.all():
            return None
        batch = observation.batch
        self.require_trained_actions()
        self.images.present(batch)  # before the first plan: an error beats a robot that waits
        self.reconcile(batch)
        for row in range(len(self.robots)):
            self.observe(row, batch[OBS_STATE][row])
        self.replan(batch)
        actions = torch.stack([self._next_command(robot) for robot in self.robots])
        if self.config.chunked:
            seen = self.images(batch) if self.config.past_latents else None
            for row, robot in enumerate(self.robots):
                robot.history.add(None if seen is None else seen[row], actions[row])
        self.tick += 1
        return actions

    def remember_command(self, actions: Tensor) -> None:
        """What the guards let through of the last `step`, ``(B, A)``: the way goes on from there, and the past has it."""
        for robot, action in zip(self.robots, actions, strict=False):
            robot.path.amend(action)
            if self.config.chunked:
                robot.history.amend(action)

    def reconcile(self, batch: dict[str, Any]) -> None:
        """Makes each robot's place at its first observation; tells planners what is seen, and takes their orders."""
        instructions = captions_of(batch)
        if len(self.robots) != len(instructions):
            self.robots = self._begin(batch[OBS_STATE])
        for row, (robot, instruction) in enumerate(zip(self.robots, instructions, strict=True)):
            cursor = robot.cursor
            cursor.tick = self.tick
            cursor.follow_instruction(instruction)
            if cursor.planner.wants_pictures:
                present = self.images.present(batch)
                pictures = {key: batch[key][row] for key in present}
                cursor.planner.see(pictures, batch[OBS_STATE][row], self.tick)
            cursor.take_order()

    def observe(self, row: int, state_P: Tensor, ticks: int = 1) -> None:
        """Handles an event that failed, and a stall: looks again, and after that does what ``on_stall`` says."""
        robot, config = self.robots[row], self.config
        cursor, stalls, last = robot.cursor, robot.stalls, robot.path.last
        if cursor.caption is None or cursor.paused or last is None:
            stalls.clear()
            return
        told = self.action_space.absolute(last)
        lost = robot.grip.see(cursor.caption, state_P, told, ticks)
        if lost and config.retries:
            robot.grip.clear()
            stalls.clear()
            cursor.fail(self._named(lost), config.retries)
            robot.stopped = cursor.paused and bool(self.action_space.what.rates.any())
            return
        joints = stalls.add(state_P, told, ticks)
        if not joints:
            return
        stalls.clear()
        cursor.retries += 1
        action = "retry" if cursor.retries <= config.retries else config.on_stall
        stuck = self._named(joints)
        cursor.write("stall", caption=cursor.caption, action=action, joints=stuck, retries=cursor.retries)
        cursor.planner.stalled(cursor.caption)
        if action == "next":
            cursor.skip_event("stall")
        else:
            cursor.drop_queue()
            cursor.paused = action == "hold"
        # What drives stops while the arm is stuck, and the next tick looks again.
        robot.stopped = bool(self.action_space.what.rates.any())

    def _named(self, dims: list[int]) -> list[str]:
        names = self.config.action_feature_names or []
        return [names[d] if d < len(names) else str(d) for d in dims]

    def replan(self, batch: dict[str, Any]) -> None:
        """Plans for the robots whose queues ran dry."""
        idle = [i for i, robot in enumerate(self.robots) if not robot.cursor.queue and not robot.stopped]
        rows = [i for i in idle if self.cursors[i].current_event() is not None]
        if not rows:
            return
        robots = [self.robots[row] for row in rows]
        captions = [robot.cursor.caption or "" for robot in robots]
        plan = self.job(batch, rows, captions)()
        if self.config.save_predicted_video and rows[0] == 0 and robots[0].cursor.is_new_event:
            self.film = self._imagine(batch, captions[0], plan)
        told = zip(
            robots, captions, plan.length.tolist(), plan.remaining.tolist(), self.ways(plan), strict=True
        )
        for place, (robot, caption, length, remaining, ways) in enumerate(told):
            actions = plan.actions[place, :length]
            # Looks inside an event go unsmoothed: they correct, and every seam delays what they correct.
            if robot.cursor.is_new_event or robot.path.behind:
                actions = robot.path.follow(actions)
            robot.cursor.accept(actions, length, remaining, frame_limit(self.config, caption), ways=ways)
            self.report(robot.cursor, caption, remaining)

    def ways(self, plan: Plan) -> list[list[float]] | list[None]:
        """How far each action of each plan is from where its event ends, in goal units; None where no goal tells.

        Velocities and steps are no places.
        """
        space = self.action_space
        if plan.goal is None or space.what.rates.any():
            return [None] * len(plan.length)
        ends = space.encode_goal(space.absolute(plan.actions.flatten(0, 1)))
        return (ends.unflatten(0, plan.actions.shape[:2]) - plan.goal[:, None]).norm(dim=-1).tolist()

    def report(self, cursor: EventCursor, caption: str, remaining: float, **facts: Any) -> None:
        """Tells the planner and the diary of a look."""
        left = cursor.frames_left
        cursor.planner.progress(caption, remaining if left is None else left)
        queued = len(cursor.queue)
        cursor.write("look", caption=caption, remaining=round(remaining, 2), queued=queued, **facts)

    # ------------------------------------------------------------------ between ticks

    def drop_queued_actions(self) -> None:
        """Forgets the actions to come; the next tick looks again."""
        for cursor in self.cursors:
            cursor.drop_queue()

    def next_caption(self, batch: dict[str, Any]) -> str | None:
        """What the first robot's planner would do next; goes nowhere."""
        if self.robots:
            return self.robots[0].cursor.planner.peek()
        planner = new_cursor(self.config, LineLog(), speaker=self._speaker()).planner
        planner.begin(captions_of(batch)[0])
        return planner.peek()

    def close(self) -> None:
        """Ends what still runs for this rollout."""

    # ------------------------------------------------------------------ parts

    def _begin(self, state_BP: Tensor) -> list[Robot]:
        config, space, what = self.config, self.action_space, self.action_space.what
        most = self._seam_acceleration()
        # Where the arms are, as commands; what states do not have is where the middle of the data is.
        rest = space.rest(state_BP)
        middle = space.decode_actions(space.hold_pose(state_BP), state_BP)[:, 0]
        poses = torch.where(rest.isnan(), middle, rest)
        rates = torch.from_numpy(what.rates).to(rest.device)
        still = space.normalized(torch.zeros_like(space.range_low)).where(rates, math.nan)
        margin = 1.0 + config.action_clamp_margin  # the pipeline's clamp: what the arm will really be told
        least, greatest = (
            still.nan_to_num(-margin).clamp(max=-margin),
            still.nan_to_num(margin).clamp(min=margin),
        )
        turns = torch.from_numpy(what.turning).to(rest.device) if what.turning.any() else None
        robots = []
        for row, pose in enumerate(poses):
            cursor, path = (
                new_cursor(config, self.log, row, self._speaker()),
                CommandPath(most, (least, greatest), still, turns),
            )
            path.start(pose)
            window = seconds_to_frames(config.stall_s, cursor.fps) if config.stall_s else 0
            stalls = StallDetector(window, *self._stall_distances())
            grip = Grip(config.learned.holds, what.follows.tolist(), seconds_to_frames(EMPTY_S, cursor.fps))
            robots.append(Robot(cursor, path, stalls, grip, ChunkHistory(config)))
        return robots

    def _stall_distances(self) -> tuple[Tensor, Tensor, Tensor]:
        """Action dimensions that can stall ``(J,)``, the state's that measure them, and how far their goals are away then.

        ``stall_distance`` is in degrees or percent; of other units, that part of the dimension's range.
        """
        space, distance = self.action_space, self.config.stall_distance
        turning = space.what.turning
        joints, seen, far = [], [], []
        for d, dim in enumerate(space.what.action):
            if dim.kind != "position" or dim.follows < 0 or dim.quantity == "gripper" or turning[d]:
                continue
            joints.append(d)
            seen.append(dim.follows)
            span = float(space.range_high[d] - space.range_low[d])
            known = {
                "degrees": distance,
                "percent": distance,
                "radians": math.radians(distance),
                "": distance,
            }
            far.append(known.get(dim.unit, distance / 100 * span))
        return torch.tensor(joints, dtype=torch.long), torch.tensor(seen, dtype=torch.long), torch.tensor(far)

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

    def _speaker(self) -> Speaker | None:
        """The model's language half, asked with what one robot sees; None where it has none."""
        return self.say if self.model.reasoner is not None else None

    @torch.no_grad()
    def say(
        self,
        pictures: dict[str, Tensor],
        state_P: Tensor,
        instruction: str,
        captions: Sequence[str],
        after: str,
    ) -> tuple[list[float], list[float]]:
        """Log-likelihoods of captions to be what happens now, and to follow an event; see `Speaker`."""
        reasoner, batch = self.model.reasoner, {key: picture[None] for key, picture in pictures.items()}
        assert reasoner is not None
        state = state_P[None]
        look = (
            self.images(batch),
            self.action_space.encode_state(state),
            self.images.view_ids(batch, state.device),
        )
        prompt = self.model.read_prompt([instruction], *look)
        now = reasoner.likelihoods(
            *prompt, [[*split_words(caption), THEN] for caption in captions], ends=False
        )
        if not after:
            return now.tolist(), []
        following = reasoner.likelihoods(
            *prompt, [trace(after, caption) for caption in (*captions, "")], ends=True
        )
        return now.tolist(), following.tolist()

    def _next_command(self, robot: Robot) -> Tensor:
        """The next action of a robot's queue; without one, it brakes and holds."""
        holding = not robot.cursor.queue
        command = robot.path.hold() if holding else robot.cursor.pop()
        robot.path.remember_command(command, holding)
        robot.stopped = False
        return command

    def _imagine(self, batch: dict[str, Any], caption: str, plan: Plan) -> Tensor:
        """The film of the first robot's new event, cameras side by side, as LeRobot's hook wants one video."""
        latents = plan.latents
        if latents is None:
            # With noise of its own: what is filmed must not change what is done.
            first = {key: batch[key][:1] for key in (*self.images.present(batch), OBS_STATE)}
            own = [torch.Generator(plan.length.device).manual_seed(self.config.inference_seed or 0)]
            past = self.chunk_of_rows(first, [0])
            latents = self.plan_and_decode(first, [caption], "full", own, plan.length[:1], past).latents
        assert latents is not None
        return torch.cat(latents[0].unbind(0), dim=-1)[None]


def captions_of(batch: dict[str, Any]) -> list[str]:
    """The instructions of a batch.

    Raises:
        ValueError: It has none.
    """
    if "task" not in batch:
        raise ValueError(
            "The observation has no 'task': pass --task=... (rollout) or an env with a description."
        )
    task = batch["task"]
    return [task] if isinstance(task, str) else [str(text) for text in task]
