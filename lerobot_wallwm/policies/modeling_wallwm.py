# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LeRobot's face of WALL-WM: batches in, losses and actions out. The maths is in `world_action_model`."""

from __future__ import annotations

import logging
import random
import re
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import OBS_STATE
from lerobot.utils.device_utils import resolve_safetensors_device
from torch import Tensor, nn

from lerobot_wallwm.hub.files.learned import Learned
from lerobot_wallwm.hub.files.weights import require_finite_weights
from lerobot_wallwm.hub.publish.trainer import push_trained, trained_card
from lerobot_wallwm.policies import processor_wallwm  # noqa: F401  registers the steps that checkpoints name
from lerobot_wallwm.policies.acting.lookahead import BackgroundRollout, RealtimeRollout, answer_length
from lerobot_wallwm.policies.acting.rollout import Rollout, captions_of
from lerobot_wallwm.policies.assembly.adapters import adapter_folder, adapter_targets, lay_base, take_units
from lerobot_wallwm.policies.assembly.build import check_precision, check_sharding, find_backbone, model_shape
from lerobot_wallwm.policies.assembly.checkpoint import load_checkpoint, locate_checkpoint, start_new_rows
from lerobot_wallwm.policies.assembly.joints import Joints, with_own_units
from lerobot_wallwm.policies.assembly.learned import learn
from lerobot_wallwm.policies.batches.action_space import ActionSpace, layouts
from lerobot_wallwm.policies.batches.camera_stack import CameraStack
from lerobot_wallwm.policies.batches.chunk_reader import ChunkReader
from lerobot_wallwm.policies.batches.dataset_facts import measure
from lerobot_wallwm.policies.batches.drawn import DrawnRows
from lerobot_wallwm.policies.batches.event_reader import EventReader
from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
from lerobot_wallwm.policies.geometry.calibration import Calibration
from lerobot_wallwm.policies.model import objectives
from lerobot_wallwm.policies.model.rehearsal import Rehearsal
from lerobot_wallwm.policies.model.windows import EventWindows
from lerobot_wallwm.policies.model.world_action_model import WorldActionModel
from lerobot_wallwm.policies.safety.guards import Guards
from lerobot_wallwm.policies.training.muon import parameter_groups
from lerobot_wallwm.policies.training.out_of_memory import what_saves
from lerobot_wallwm.policies.training.recipes import described
from lerobot_wallwm.policies.training.shards import nothing
from lerobot_wallwm.policies.training.weight_average import WeightAverage
from lerobot_wallwm.storage.line_log import LineLog

logger = logging.getLogger(__name__)

CHECKPOINT_FIX = "choose a complete checkpoint of this policy, and do not override --policy.backbone or sizes on the command line"


class WallwmPolicy(PreTrainedPolicy):
    """WALL-WM as a LeRobot policy.

    Args:
        config: The policy's configuration, with features filled in by LeRobot.
        dataset_stats: Statistics of the training data.
        dataset_meta: Metadata of the training data; a view written by `wallwm prepare` carries the event grammar.
        learned: What a checkpoint learned before; None for a new policy.
        base: What the checkpoint learned whose weights follow, where that is another: an adapter's base.
        empty: Leaves a Wan tower without weights, for a checkpoint that follows.
    """

    config_class = WallwmConfig
    name = "wallwm"
    config: WallwmConfig
    train_steps: Tensor
    # What FSDP shards by itself: accelerate reads the first name (FSDP1 of LeRobot 0.6.1), LeRobot after 0.6.1 the second
    # (FSDP2, `--parallelism.dp_shard`), and the third, of methods that compute besides `forward`.
    _no_split_modules = _fsdp_wrap_modules = ["MultiViewWanBlock", "ActionBlock"]
    _fsdp_forward_methods = ["select_action", "predict_action_chunk"]

    def __init__(
        self,
        config: WallwmConfig,
        dataset_stats: dict[str, dict[str, Tensor]] | None = None,
        dataset_meta: Any | None = None,
        learned: Learned | None = None,
        base: Learned | None = None,
        empty: bool = False,
        **kwargs: Any,
    ):
        super().__init__(config)
        config.learned = learned or config.learned
        # Whose weights a checkpoint holds, before the dataset's names replace its own.
        known = base or config.learned
        self._joints_before = partial(_joints_of, copy(known))
        self._eye_was_taught = known.eye_taught
        self._known_rows = learn(config, dataset_stats, dataset_meta)
        if base is not None:
            self._known_rows = len(base.camera_rows)
        config.validate_features()
        check_precision(config.dtype, config.device or "cpu")
        check_sharding()
        backbone = find_backbone(config, empty)
        self.model = WorldActionModel(model_shape(config), backbone)
        if config.dtype == "bfloat16":
            self.model.lay_in(torch.bfloat16, acting=dataset_stats is None)
        if backbone is not None and dataset_meta is not None:
            captions = ["", *map(str, dataset_meta.tasks.index)]
            backbone.text_encoder.prepare(captions, config.device or "cpu")
        self.action_space = ActionSpace(config.what, config.relative_mask())
        root = getattr(dataset_meta, "root", None)
        if dataset_stats is not None:
            found = measure(Path(root), config.horizon, self.action_space) if root is not None else None
            self.action_space.fit(dataset_stats, found)
        self._has_dataset = dataset_stats is not None
        self._dataset_units = {name: units.clone() for name, units in self.action_space.tables()}
        shapes = {key: tuple(feature.shape) for key, feature in config.image_features.items()}
        self._images = CameraStack(
            shapes, config.learned.camera_rows, config.image_size, config.resize, config.allow_missing_cameras
        )
        self.image_keys = list(self._images.shapes)
        self.guards = Guards(config, self.action_space, self._images.shapes)
        reader = ChunkReader if config.chunked else EventReader
        self._events = reader(config, self._images, self.action_space, self.model.video.grid, dataset_meta)
        self._drawn = DrawnRows(dataset_meta, config.observation_delta_indices)
        self._rehearsal = Rehearsal()
        self.register_buffer("train_steps", torch.zeros((), dtype=torch.long))
        self.ema = nn.ModuleDict()
        stage = config.training_stage
        config.learned.eye_taught |= "goal" in stage.losses and "landmarks" in stage.trains
        if stage.ema_decay and not config.use_peft:
            self.ema[stage.name] = WeightAverage(self.model, stage.ema_decay)
        if "remaining" in stage.losses and stage.future_fraction == 1.0:
            logger.warning(
                "With --policy.future_fraction=1 nothing teaches how long an event still lasts: the policy knows it only "
                "if an earlier stage has learned it."
            )
        if config.recipe != "nano" and dataset_meta is not None:
            logger.warning(described(config))
        self._log = LineLog(config.event_log)
        self._realtime = False
        self.reset()

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path: str | Path, **kwargs: Any) -> WallwmPolicy:  # type: ignore[override]
        """Loads a checkpoint; on another dataset, its action range replaces the checkpoint's.

        Raises:
            UnsafeCheckpointError: The checkpoint could run code or reach outside its folder; nothing was built from it.
            HubError: The Hub refused.
            WeightsError: The checkpoint's weights are damaged or another model's, or the frozen encoders of its
                backbone are not where its configuration says.
        """
        adapter, base = adapter_folder(kwargs.get("config"), pretrained_name_or_path), None
        folder = locate_checkpoint(pretrained_name_or_path, kwargs)
        learned = Learned.read(Path(folder))
        if adapter is not None:
            base, learned = learned, Learned.read(adapter)
        policy = super().from_pretrained(folder, learned=learned, base=base, empty=True, **kwargs)
        calibration = policy.config.calibration
        if calibration is not None and (Path(folder) / calibration).is_file():
            policy.config.calibration = str(Path(folder, calibration).absolute())
        rows = len(policy.config.learned.camera_rows)
        if 0 < policy._known_rows < rows:
            if policy._average is not None:
                policy._average.begin(policy.model)  # from what it shows: it knows nothing of the new rows
            start_new_rows(policy.model, policy._known_rows, rows)
        if adapter is not None:
            take_units(policy.action_space, adapter, CHECKPOINT_FIX)
        if kwargs.get("dataset_stats") is not None:
            units = dict(policy.action_space.tables())
            with_own_units(units, policy._dataset_units, policy._joints())
            policy.action_space.set_range(kwargs["dataset_stats"])
        return policy

    def _save_pretrained(self, save_directory: Path, **kwargs: Any) -> None:
        """LeRobot's hook: weights, what a person chose, and what was learned, of which the plan holds what was trained."""
        if not self.config.chunked and (trained := self._drawn.grammar()) is not None:
            self.config.learned.event_transitions, self.config.learned.event_max_frames = trained
        super()._save_pretrained(save_directory, **kwargs)  # `state_dict` in 0.6.1, nothing later

    @classmethod
    def _load_as_safetensor(
        cls, model: WallwmPolicy, model_file: str, map_location: str, strict: bool
    ) -> WallwmPolicy:
        """Called by LeRobot, whose own version only warns of keys that do not fit."""
        device = str(resolve_safetensors_device(map_location))
        place = Path(model_file)
        stage, joints = model.config.stage, (model._joints_before, model._joints())
        training = model._has_dataset
        fresh = load_checkpoint(
            model, model._average, stage, place, CHECKPOINT_FIX, device, *joints, training
        )
        require_finite_weights(model, place, CHECKPOINT_FIX)
        if fresh:
            parts = sorted({re.sub(r"(reasoner\.\w+)\..*", r"\1", key) for key in fresh})
            logger.info("These, which the checkpoint lacks, start anew: %s", ", ".join(parts))
        if any(".stairs." in key for key in fresh) and model.model.reasoner is not None:
            model.model.reasoner.clone()  # of the decoder as the checkpoint has it
        return model

    def _get_default_peft_targets(self) -> dict[str, Any]:
        """LeRobot's hook: see `adapter_targets`."""
        return adapter_targets(self, self.config.training_stage)

    def wrap_with_peft(self, *args: Any, **kwargs: Any) -> Any:
        """LeRobot's hook: an adapter onto the weights that the checkpoint acts with, its averages where it keeps them."""
        self.eval()
        if self.ema:
            logger.warning(
                "An adapter keeps no average of its weights: --policy.ema_decay counts for nothing."
            )
            self.ema.clear()
        path = self.config.pretrained_path
        if path is not None and Path(path).is_dir():
            # For good: `last` will be another checkpoint, and a relative path another folder.
            self.config.pretrained_path = Path(path).resolve()
        return super().wrap_with_peft(*args, **kwargs)

    def get_optim_params(self) -> list[dict[str, Any]]:
        """LeRobot's hook where training begins: see `parameter_groups`."""
        if self.config.dtype == "bfloat16":
            lay_base(self)
        muon = self.config.optimizer == "muon"
        return parameter_groups(self, self.config.optimizer_lr, muon, self._eye_was_taught)

    def push_model_to_hub(
        self,
        cfg: Any,
        peft_model: Any = None,
        state_dict: dict[str, Tensor] | None = None,
        dataset_meta: Any = None,
    ) -> None:
        """LeRobot's hook at the end of a training run: the whole checkpoint in one commit; see `push_trained`.

        Raises:
            ValueError: The checkpoint cannot be published, or the Hub refused.
        """
        if peft_model is not None:
            super().push_model_to_hub(cfg, peft_model=peft_model, dataset_meta=dataset_meta)
            return
        push_trained(self, cfg, state_dict, dataset_meta, Calibration.model_validate_json)

    def generate_model_card(
        self,
        dataset_repo_id: str | None = None,
        model_type: str = "wallwm",
        license: str | None = None,
        tags: list[str] | None = None,
        cfg: Any = None,
        dataset_meta: Any = None,
    ) -> Any:
        """LeRobot's hook: our card, of what is known when a training run ends."""
        return trained_card(self.config, dataset_repo_id, license, cfg, dataset_meta)

    # ------------------------------------------------------------------ training

    def forward(self, batch: dict[str, Any], reduction: str = "mean") -> tuple[Tensor, dict[str, float]]:
        """Training loss.

        Args:
            batch: A LeRobot training batch.
            reduction: ``mean`` for a scalar, ``none`` for one loss per sample ``(B,)``.

        Returns:
            The loss and its parts (the same keys on every rank and step).

        Raises:
            torch.OutOfMemoryError: With what each setting would save.
        """
        try:
            return self._forward(batch, reduction)
        except torch.OutOfMemoryError as error:
            depth, samples = self.model.shape.video.depth, len(batch[OBS_STATE])
            saves = what_saves(self, self.config, depth, samples)
            message = (
                f"Out of memory in a training step of {samples} samples. Fix: what saves how much:\n{saves}"
            )
            raise torch.OutOfMemoryError(f"{message}\n{error}") from error

    def _forward(self, batch: dict[str, Any], reduction: str) -> tuple[Tensor, dict[str, float]]:
        if self.training:
            self._drawn.watch(batch)
        windows = self.windows_from_batch(batch)
        autocast: AbstractContextManager[Any] = nullcontext()
        # As the trainer has it; weights of frozen towers ask for it everywhere.
        if self.config.dtype == "bfloat16":
            autocast = torch.autocast(windows.state.device.type, torch.bfloat16)
        with autocast, self._noise_of_this_step(batch):
            if self.training:
                frames = self._events.event_frames(batch, windows)
                windows.captions = self.config.caption_drop()(windows.captions, frames)
            losses = objectives.losses(self.model, windows)
            loss, parts = losses.weighted(self.model.shape.stage.losses, reduction)
            if self.training and self.model.goal_head is not None and losses.goal_read.shape[1]:
                known = losses.goal_read, windows.goal, losses.has_goal
                loss = loss + self._rehearsal(self.model.goal_head, *known)
            loss = loss + nothing(self)
        return loss, {f"loss_{name}": float(value.detach()) for name, value in parts.items()}

    def _joints(self) -> Joints:
        space = self.action_space
        return _joints_of(self.config.learned, len(space.scale), len(space.state_mean))

    @property
    def _average(self) -> WeightAverage | None:
        average: Any = next(iter(self.ema.values()), None)
        return average

    def update(self) -> None:
        """LeRobot's hook after every optimiser step."""
        if self._average is not None:
            self._average.update(self.model)

    def train(self, mode: bool = True) -> WallwmPolicy:
        """Training goes on with the live weights, evaluation sees their average (where the stage keeps one)."""
        super().train(mode)
        if self._average is not None:
            self._average.show(self.model, averages=not mode)
        return self

    def state_dict(self, *args: Any, prefix: str = "", **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The live weights and the averages, whichever of them the policy shows."""
        state = super().state_dict(*args, prefix=prefix, **kwargs)
        if self._average is not None:
            own = f"ema.{self.config.stage}."
            for key, value in self._average.outside().items():
                state[prefix + (key if key.startswith("model.") else own + key)] = value
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Live weights and averages of the same stage; another stage's checkpoint is read by `from_pretrained`."""
        if self._average is not None:
            self._average.show(self.model, averages=False)
        result = super().load_state_dict(state_dict, *args, **kwargs)
        if self._average is not None:
            self._average.show(self.model, averages=not self.training)
        return result

    @contextmanager
    def _noise_of_this_step(self, batch: dict[str, Any]) -> Iterator[None]:
        """Training noise as a function of seed, step and samples, so that a resumed run draws what an unbroken one does.

        The state of torch's generator alone will not do: LeRobot restores it before it builds the data loader, whose
        iterator draws a number from it.
        """
        if not self.training or "index" not in batch:
            yield
            return
        device = self.train_steps.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self._seed_of_this_step(batch))
            yield
        self.train_steps += 1

    def windows_from_batch(self, batch: dict[str, Any]) -> EventWindows:
        """A LeRobot training batch as windows in the network's units."""
        size, draw = len(batch[OBS_STATE]), 0.5
        if self.training:
            # Chunks with and without their future go through the towers one after the other, and FSDP's ranks must keep
            # in step: there the draw does not depend on a rank's samples.
            draw = random.Random(self._seed_of_this_step({} if self.config.chunked else batch)).random()
        return self._events(batch, objectives.future_rows(self.model, size, draw))

    def _seed_of_this_step(self, batch: dict[str, Any]) -> int:
        """Follows from seed, step and samples: on other ranks it is another."""
        samples = 0
        if "index" in batch:
            samples = zlib.crc32(batch["index"].flatten().cpu().numpy().tobytes())
        return hash((torch.initial_seed(), int(self.train_steps), samples))

    # ------------------------------------------------------------------ inference

    def reset(self) -> None:
        """Forgets the rollout: plans, queues, noise."""
        self.guards.reset()
        if (old := getattr(self, "rollout", None)) is not None:
            old.close()
        kind: type[Rollout] = Rollout
        if self._realtime:
            kind = RealtimeRollout
        elif self.config.background_inference:
            kind = BackgroundRollout
        self.rollout: Rollout = kind(self.config, self.model, self.action_space, self._images, self._log)
        self.last_predicted_latents: Tensor | None = None

    def supports_rtc(self) -> bool:
        """LeRobot's question; chunks with a history would need every frame, and its RTC engine shows only some."""
        return not self.config.chunked

    def init_rtc_processor(self) -> None:
        """LeRobot's hook before a rollout with its RTC engine, which from now on asks for chunks instead of actions."""
        self._realtime = True
        self.reset()

    def chunk_inference_spec(self) -> Any:
        """What LeRobot after 0.6.1 asks before it wants chunks: their length, and how they may be wanted.

        The default refuses every policy with future frames in its delta indices; those are targets of training alone.
        """
        from lerobot.inference import ChunkPolicySpec, ExecutionMode  # type: ignore[import-not-found]

        config = self.config
        if self._realtime:
            length = answer_length(config)
            return ChunkPolicySpec(length, length, modes=(ExecutionMode.CHUNK, ExecutionMode.RTC_GUIDED))
        return ChunkPolicySpec(config.chunk_size, config.n_action_steps, modes=(ExecutionMode.CHUNK,))

    @torch.no_grad()
    def predict_action_chunk(
        self,
        batch: dict[str, Any],
        inference_delay: int = 0,
        prev_chunk_left_over: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Actions for the event that each ``task`` string names.

        In chunks, the past is what `select_action` saw and did since `reset`; without any, the rollout starts here.
        Called by LeRobot's RTC engine, it walks through the plan's events instead, as `select_action` does.

        Args:
            batch: An observation.
            inference_delay: RTC engine: ticks until the answer is carried out.
            prev_chunk_left_over: RTC engine: what is left of the last answer ``(T, A)``.
            **kwargs: Ignored.

        Returns:
            ``(B, H, A)``, normalised as the pipeline expects; entries beyond the predicted end repeat the last.
            ``(1, T, A)`` for the RTC engine.
        """
        self._stop_training()
        rollout = self.rollout
        if not isinstance(rollout, RealtimeRollout):
            return self.guards.chunk(batch, rollout.event(batch))
        answer = rollout.chunk(batch, inference_delay, prev_chunk_left_over)
        chunk = self.guards.chunk(batch, answer, rollout.tick)
        # What the engine has left of this answer is looked for in it.
        rollout.answer = chunk[0].clone()
        return chunk

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **kwargs: Any) -> Tensor:
        """One action per robot ``(B, A)``, walking through the plan's events and looking again inside them."""
        self._stop_training()
        observation = self.guards.before(batch)
        actions = self.rollout.step(observation)
        if self.rollout.film is not None:
            self.last_predicted_latents, self.rollout.film = self.rollout.film, None
        return self.guards.after(actions)

    def safety_report(self) -> dict[str, Any]:
        """Interventions of the guards since the policy was built (`Interventions.report`, docs/act/safety.md)."""
        return self.guards.diary.report()

    # --- what LeRobot after 0.6.1 asks of a policy whose task changes while it runs; 0.6.1 calls none of it

    @property
    def _action_queue(self) -> deque[Tensor]:
        """The first robot's actions to come."""
        return self.rollout.cursors[0].queue if self.rollout.cursors else deque()

    def drop_queued_actions(self) -> None:
        """Forgets the actions to come, of all robots; the next tick looks again within the same event."""
        self.rollout.drop_queued_actions()

    def supports_text_generation(self) -> bool:
        """Whether `generate_text` can name an event; without a plan there is only the instruction."""
        return self.config.planner != "instruction"

    def generate_text(self, batch: dict[str, Any]) -> str:
        """Answers ``query_kind``, without going on: `next_subtask` with the next event's caption, or once the plan is done
        with the instruction; every other kind (`vqa`) with a sentence on the events, whatever ``query_text`` asks."""
        coming, task = self.rollout.next_caption(batch), captions_of(batch)[0]
        if "subtask" in str(batch.get("query_kind") or "next_subtask").lower():
            return coming or task
        now = self.rollout.cursors[0].caption if self.rollout.robots else None
        doing = f"The event is: {now}." if now else f"No event is under way; the task is: {task}."
        return f"{doing} Next: {coming}." if coming else doing

    def _stop_training(self) -> None:
        """Evaluation mode, as LeRobot's policies act in; walking through all modules at every tick would take a while.

        Raises:
            RuntimeError: FSDP1 has left pieces of the weights here.
        """
        if self.model.action.tau_action.weight.ndim < 2:
            raise RuntimeError(
                "The policy cannot act while FSDP1 shards it: its weights lie in pieces on all ranks, and LeRobot acts on "
                "one. Fix: --env_eval_freq=0 while training, then lerobot-eval with the checkpoint."
            )
        if self.training:
            self.eval()

    @torch.no_grad()
    def decode_predicted_latents(self, latents: Tensor) -> Tensor:
        """LeRobot's hook: imagined latents ``(B, C, F, h, V w)`` of several events to uint8 ``(frames, H, V W, 3)``."""
        per_event = 1 + self.config.num_future_latents
        width = self.config.image_size[1] // self.model.codec.spatial_stride
        clips = []
        for chunk in latents[:1].split(per_event, dim=2):
            # Each camera by itself: a convolutional decoder would smear one into the next.
            views = self.model.codec.decode(torch.cat(chunk.float().split(width, dim=-1)))
            frames = torch.cat(views.unbind(0), dim=-1)  # (F, 3, H, V W)
            clips.append(((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1))
        return torch.cat(clips)


def _joints_of(learned: Learned, actions: int, states: int) -> Joints:
    """The joints of a network with so many dimensions of each."""
    what = learned.embodiment
    if what is None or not (what.action_rotations or what.state_rotations):
        return Joints.of(learned.action_feature_names, learned.state_feature_names, actions, states)
    names, seen = (layout.names for layout in layouts(what))
    return Joints.of(names, seen, actions, states, [dim.name for dim in what.action])
