# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""LeRobot's face of WALL-WM: batches in, losses and actions out. The maths is in `world_action_model`."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import OBS_STATE
from lerobot.utils.device_utils import resolve_safetensors_device
from lerobot.utils.feature_utils import dataset_to_policy_features
from torch import Tensor, nn

from . import (
    flow_matching as fm,
    processor_wallwm,  # noqa: F401  registers the steps that checkpoints name
)
from .action_space import ActionSpace
from .backbone_choice import check_precision, find_backbone
from .camera_stack import CameraStack
from .chunk_batches import ChunkHistory, ChunkReader, chunk_of
from .chunk_window import Chunk
from .configuration_wallwm import WallwmConfig
from .dataset_facts import displacement_std, event_grammar
from .event_batches import EventReader
from .event_cursor import EventCursor
from .event_window import Event
from .planners import (
    END,
    GrammarPlanner,
    InstructionPlanner,
    Planner,
    ScriptPlanner,
    check_captions,
    matches,
)
from .stage_handover import load_checkpoint
from .stages import LOSSES, STAGES
from .view_table import assign_rows, start_new_rows
from .weight_average import WeightAverage
from .weight_grids import head_grids
from .world_action_model import WorldActionModel

logger = logging.getLogger(__name__)

CHECKPOINT_FIX = "choose a complete checkpoint of this policy, and do not override --policy.backbone or sizes on the command line"


class WallwmPolicy(PreTrainedPolicy):
    """WALL-WM as a LeRobot policy.

    Args:
        config: The policy's configuration, with features filled in by LeRobot.
        dataset_stats: Statistics of the training data.
        dataset_meta: Metadata of the training data; a view written by `wallwm prepare` carries the event grammar.
        empty: Leaves a Wan tower without weights, for a checkpoint that follows.
    """

    config_class = WallwmConfig
    name = "wallwm"
    config: WallwmConfig
    train_steps: Tensor
    # LeRobot after 0.6.1 shards these (FSDP2, `--parallelism.dp_shard`); 0.6.1 does not read it.
    _fsdp_wrap_modules = ["MultiViewWanBlock", "ActionBlock"]

    def __init__(
        self,
        config: WallwmConfig,
        dataset_stats: dict[str, dict[str, Tensor]] | None = None,
        dataset_meta: Any | None = None,
        empty: bool = False,
        **kwargs: Any,
    ):
        super().__init__(config)
        self._known_rows = self._bind_cameras(config, dataset_meta)
        config.validate_features()
        check_precision(config.dtype, config.device or "cpu")
        assert config.robot_state_feature is not None and config.action_feature is not None
        if dataset_meta is not None:
            self._learn_from_dataset(dataset_meta)
        backbone = find_backbone(config, empty)
        self.model = WorldActionModel(config.model_shape(), backbone)
        if backbone is not None and dataset_meta is not None:
            captions = ["", *map(str, dataset_meta.tasks.index)]
            backbone.text_encoder.prepare(captions, config.device or "cpu")
        self.action_space = ActionSpace(
            config.action_feature.shape[-1], config.robot_state_feature.shape[-1], config.relative_mask()
        )
        root = getattr(dataset_meta, "root", None)
        if dataset_stats is not None:
            spread = displacement_std(Path(root), config.horizon) if root is not None else None
            self.action_space.fit(dataset_stats, spread)
        shapes = {key: tuple(feature.shape) for key, feature in config.image_features.items()}
        self._images = CameraStack(
            shapes, config.camera_rows, config.image_size, config.resize, config.allow_missing_cameras
        )
        self.image_keys = list(self._images.shapes)
        reader = ChunkReader if config.chunked else EventReader
        self._events = reader(config, self._images, self.action_space, self.model.video.grid, dataset_meta)
        self.register_buffer("train_steps", torch.zeros((), dtype=torch.long))
        self.ema = nn.ModuleDict()
        if decay := config.by_stage("ema_decay"):
            self.ema[config.stage] = WeightAverage(self.model, decay)
            # DistributedDataParallel would send them round before every forward; they are the same on all ranks.
            self._ddp_params_and_buffers_to_ignore = [f"ema.{name}" for name, _ in self.ema.named_buffers()]
        self.last_predicted_latents: Tensor | None = None
        if "remaining" in STAGES[config.stage].losses and config.by_stage("future_fraction") == 1.0:
            logger.warning(
                "With --policy.future_fraction=1 nothing teaches how long an event still lasts: the policy knows it only "
                "if an earlier stage has learned it."
            )
        self.reset()

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path: str | Path, **kwargs: Any) -> WallwmPolicy:  # type: ignore[override]
        """Loads a checkpoint; on another dataset, its action range replaces the checkpoint's.

        Raises:
            WeightsError: The checkpoint's weights are damaged or another model's, or the frozen encoders of its
                backbone are not where its configuration says.
        """
        policy = super().from_pretrained(pretrained_name_or_path, empty=True, **kwargs)
        if 0 < policy._known_rows < len(policy.config.camera_rows):
            for average in policy._averages():
                average.begin(policy.model)  # from what it shows: it knows nothing of the new rows
            start_new_rows(policy.model, policy._known_rows, len(policy.config.camera_rows))
        if kwargs.get("dataset_stats") is not None:
            policy.action_space.set_range(kwargs["dataset_stats"])
        return policy

    @classmethod
    def _load_as_safetensor(
        cls, model: WallwmPolicy, model_file: str, map_location: str, strict: bool
    ) -> WallwmPolicy:
        """Called by LeRobot, whose own version only warns of keys that do not fit."""
        device = str(resolve_safetensors_device(map_location))
        average = next(iter(model._averages()), None)
        fresh = load_checkpoint(model, average, model.config.stage, Path(model_file), CHECKPOINT_FIX, device)
        if fresh:
            logger.info("These tables, which the checkpoint lacks, start at zero: %s", ", ".join(fresh))
        return model

    def get_optim_params(self) -> list[dict[str, Any]]:
        """Weight decay on matrices only; tables, gains and biases go without. Muon takes the matrices of the blocks."""
        linear = {id(m.weight) for m in self.modules() if isinstance(m, torch.nn.Linear)}
        trainable = [p for p in self.parameters() if p.requires_grad]
        matrices = [p for p in trainable if id(p) in linear]
        others = [p for p in trainable if id(p) not in linear]
        if self.config.optimizer != "muon":
            return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        blocks = ("model.video.blocks.", "model.action.blocks.")
        inside = {id(p) for name, p in self.named_parameters() if name.startswith(blocks)}
        towers = (self.model.video, self.model.action) if self.config.optimizer_per_head else ()
        grids = {id(p): grid for tower in towers for p, grid in head_grids(tower)}
        by_grid: dict[tuple[int, int], list[Tensor]] = {}
        for p in matrices:
            if id(p) in inside:
                by_grid.setdefault(grids.get(id(p), (1, 1)), []).append(p)
        return [
            *({"params": p, "use_muon": True, "grid": list(grid)} for grid, p in sorted(by_grid.items())),
            {"params": [p for p in matrices if id(p) not in inside], "use_muon": False},
            {"params": others, "weight_decay": 0.0, "use_muon": False},
        ]

    # ------------------------------------------------------------------ training

    def forward(self, batch: dict[str, Any], reduction: str = "mean") -> tuple[Tensor, dict[str, float]]:
        """Training loss.

        Args:
            batch: A LeRobot training batch.
            reduction: ``mean`` for a scalar, ``none`` for one loss per sample ``(B,)``.

        Returns:
            The loss and its parts (the same keys on every rank and step).
        """
        event = self.event_from_batch(batch)
        with self._noise_of_this_step(batch):
            if self.training:
                frames = self._events.event_frames(batch, event)
                event.captions = self.config.caption_drop()(event.captions, frames)
            losses = self.model.losses(event)
        config = self.config
        on = [name for name in LOSSES if name in STAGES[config.stage].losses]
        has_action = torch.ones_like(losses.has_goal)
        per_sample = {
            "action": (losses.action, has_action),
            "video": (losses.video, losses.has_video),
            "remaining": (losses.remaining, losses.has_remaining),
            "goal": (losses.goal, losses.has_goal),
        }
        weights = {
            "action": 1.0,
            "video": config.video_loss_weight,
            "remaining": config.remaining_loss_weight,
            "goal": config.goal_loss_weight,
        }
        parts = {name: fm.masked_mean(*per_sample[name]) for name in on}
        logged = {f"loss_{name}": float(value.detach()) for name, value in parts.items()}
        if reduction == "none":
            # Each part is spread over the samples that carry it, so that the mean is the reduced loss.
            spread = [
                weights[name] * part * has * (len(has) / has.sum().clamp_min(1))
                for name, (part, has) in per_sample.items()
                if name in on
            ]
            return torch.stack(spread).sum(0), logged
        return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), logged

    def _averages(self) -> list[WeightAverage]:
        return [average for average in self.ema.values() if isinstance(average, WeightAverage)]

    def update(self) -> None:
        """LeRobot's hook after every optimiser step."""
        for average in self._averages():
            average.update(self.model)

    def train(self, mode: bool = True) -> WallwmPolicy:
        """Training goes on with the live weights, evaluation sees their average (where the stage keeps one)."""
        super().train(mode)
        for average in self._averages():
            average.show(self.model, averages=not mode)
        return self

    def state_dict(self, *args: Any, prefix: str = "", **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The live weights and the averages, whichever of them the policy shows."""
        state = super().state_dict(*args, prefix=prefix, **kwargs)
        for average in self._averages():
            state.update({f"{prefix}model.{name}": weight for name, weight in average.live().items()})
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Live weights and averages of the same stage; another stage's checkpoint is read by `from_pretrained`."""
        for average in self._averages():
            average.show(self.model, averages=False)
        result = super().load_state_dict(state_dict, *args, **kwargs)
        for average in self._averages():
            average.show(self.model, averages=not self.training)
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
        samples = zlib.crc32(batch["index"].flatten().cpu().numpy().tobytes())  # other noise on other ranks
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(hash((torch.initial_seed(), int(self.train_steps), samples)))
            yield
        self.train_steps += 1

    def event_from_batch(self, batch: dict[str, Any]) -> Event:
        """A LeRobot training batch as an `Event` in the network's units."""
        return self._events(batch, self.model.future_rows(len(batch[OBS_STATE])))

    # ------------------------------------------------------------------ inference

    def reset(self) -> None:
        """Forgets the rollout: plans, queues, noise."""
        self._cursors: list[EventCursor] = []
        self._histories: list[ChunkHistory] = []
        self._last_action: Tensor | None = None
        self._generators: dict[int, torch.Generator] = {}
        self.last_predicted_latents = None

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **kwargs: Any) -> Tensor:
        """Actions for the event that each ``task`` string names.

        In chunks, the past is what `select_action` saw and did since `reset`; without any, the rollout starts here.

        Returns:
            ``(B, H, A)``, normalised as the pipeline expects; entries beyond the predicted end repeat the last.
        """
        self._require_trained_actions()
        captions = self._captions(batch)
        noise = self._noise_of(list(range(len(captions))), batch[OBS_STATE].device)
        chunk = self._chunk(batch, list(range(len(captions))))
        actions, length, _, _ = self._plan(batch, captions, self.config.imagination, noise, chunk=chunk)
        last = (length - 1)[:, None].clamp_min(0)
        index = torch.minimum(torch.arange(actions.shape[1], device=actions.device)[None], last)
        return actions.gather(1, index[..., None].expand_as(actions))

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **kwargs: Any) -> Tensor:
        """One action per robot ``(B, A)``, walking through the plan's events and looking again inside them."""
        self._require_trained_actions()
        instructions = self._captions(batch)
        self._images.present(batch)  # before the first plan: an error beats a robot that waits
        if len(self._cursors) != len(instructions):
            self._cursors = [self._new_cursor() for _ in instructions]
            self._histories = [ChunkHistory(self.config) for _ in instructions]
            self._last_action = None
        for cursor, instruction in zip(self._cursors, instructions, strict=True):
            cursor.observe(instruction)
        acting = [i for i, c in enumerate(self._cursors) if not c.queue and c.current_event() is not None]
        if acting:
            self._act(batch, acting)
        actions = self._pop(batch)
        if self.config.chunked:
            seen = self._images(batch) if self.config.past_latents else None
            for i, history in enumerate(self._histories):
                history.add(None if seen is None else seen[i], actions[i])
        return actions

    def _act(self, batch: dict[str, Any], rows: list[int]) -> None:
        """Plans for the rows whose queues ran dry."""
        cursors = [self._cursors[i] for i in rows]
        captions = [cursor.caption or "" for cursor in cursors]
        index = torch.tensor(rows, device=batch[OBS_STATE].device)
        part = {key: batch[key][index] for key in (*self._images.present(batch), OBS_STATE)}
        noise = self._noise_of(rows, index.device)
        chunk = self._chunk(part, rows)
        imagination = self.config.imagination
        actions, length, remaining, latents = self._plan(part, captions, imagination, noise, chunk=chunk)
        if self.config.save_predicted_video and rows[0] == 0 and cursors[0].is_new_event:
            if latents is None:
                # With noise of its own: what is filmed must not change what is done.
                first = {key: value[:1] for key, value in part.items()}
                own = [torch.Generator(index.device).manual_seed(self.config.inference_seed or 0)]
                past = chunk and chunk[:1]
                _, _, _, latents = self._plan(first, captions[:1], "full", own, length[:1], past)
            assert latents is not None
            # Cameras side by side, as LeRobot's hook wants one video: (1, C, T, h, V w).
            self.last_predicted_latents = torch.cat(latents[0].unbind(0), dim=-1)[None]
        for row, cursor in enumerate(cursors):
            steps = int(length[row])
            cursor.accept(
                actions[row, :steps], steps, float(remaining[row]), self._frame_limit(captions[row])
            )

    def _pop(self, batch: dict[str, Any]) -> Tensor:
        """The next action of each queue; a finished plan holds the last action, or the observed pose."""
        if self._last_action is None:
            state = batch[OBS_STATE]
            pose = self.action_space.decode_actions(self.action_space.hold_pose(state), state)[:, 0]
            self._last_action = pose
        rows = [c.queue.popleft() if c.queue else self._last_action[i] for i, c in enumerate(self._cursors)]
        self._last_action = torch.stack(rows)
        return self._last_action

    def _plan(
        self,
        batch: dict[str, Any],
        captions: list[str],
        imagination: str,
        generators: list[torch.Generator] | None,
        length: Tensor | None = None,
        chunk: Chunk | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Normalised actions ``(B, H, A)``, their valid counts, remaining frames, imagined latents."""
        state = batch[OBS_STATE]
        half = self.config.dtype == "bfloat16"
        with torch.autocast(state.device.type, torch.bfloat16, enabled=half):
            plan = self.model.plan(
                self._images(batch),
                self.action_space.encode_state(state),
                captions,
                self.action_space.here(state),
                imagination=imagination,
                num_steps=self.config.num_inference_steps,
                generator=generators,
                length=length,
                view_ids=self._images.view_ids(batch, state.device),
                chunk=chunk,
            )
        return (
            self.action_space.decode_actions(plan.actions, state),
            plan.length,
            plan.remaining,
            plan.latents,
        )

    def _chunk(self, batch: dict[str, Any], rows: list[int]) -> Chunk | None:
        """The past of these robots, where windows are centred on the observation."""
        if not self.config.chunked:
            return None
        known = self._histories if len(self._histories) > max(rows) else None
        histories = [known[i] if known else ChunkHistory(self.config) for i in rows]
        return chunk_of(histories, self._images(batch), batch[OBS_STATE], self.action_space)

    def _noise_of(self, rows: list[int], device: torch.device) -> list[torch.Generator] | None:
        """Each robot's own noise, so that a rollout does not depend on those beside it."""
        seed = self.config.inference_seed
        if seed is None:
            return None
        return [self._generators.setdefault(row, torch.Generator(device).manual_seed(seed)) for row in rows]

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

    # ------------------------------------------------------------------ parts

    @staticmethod
    def _bind_cameras(config: WallwmConfig, dataset_meta: Any | None) -> int:
        """Gives every camera a row of the view tables; returns how many rows were taken before.

        Rows of a checkpoint keep their cameras. A checkpoint from before rows had names has them in the order of its
        features.
        """
        if not config.camera_rows:
            config.camera_rows = assign_rows([], list(config.image_features), config.max_views)
        known = len(config.camera_rows)
        new = [key for key in config.new_cameras if key not in config.image_features]
        features = (
            dataset_to_policy_features(dataset_meta.features) if new and dataset_meta is not None else {}
        )
        for key in new:
            if key not in features or features[key].type is not FeatureType.VISUAL:
                found = [k for k, feature in features.items() if feature.type is FeatureType.VISUAL]
                raise ValueError(
                    f"--policy.new_cameras names '{key}', which is no camera of the dataset (it has {found or 'none'}): "
                    "name one of those, as the dataset spells it."
                )
            assert config.input_features is not None
            config.input_features[key] = features[key]
        config.camera_rows = assign_rows(config.camera_rows, list(config.image_features), config.max_views)
        return known

    def _require_trained_actions(self) -> None:
        if "action" not in STAGES[self.config.stage].losses:
            raise ValueError(
                f"This checkpoint is of --policy.stage={self.config.stage}, which trains no actions: it can imagine but "
                "must not move an arm. Fix: lerobot-train --policy.path=<this checkpoint> --policy.stage=action ..."
            )

    def _captions(self, batch: dict[str, Any]) -> list[str]:
        if "task" not in batch:
            raise ValueError(
                "The observation has no 'task': pass --task=... (rollout) or an env with a description."
            )
        task = batch["task"]
        return [task] if isinstance(task, str) else [str(text) for text in task]

    def _new_cursor(self) -> EventCursor:
        config = self.config
        planner: Planner
        if config.planner == "script":
            check_captions(config.script, self.known_templates())
            planner = ScriptPlanner(config.script)
        elif config.planner == "grammar":
            planner = GrammarPlanner(config.event_transitions)
        else:
            planner = InstructionPlanner()
        steps = config.chunk_length if config.chunked else config.replan_steps
        return EventCursor(planner, steps, config.end_threshold, config.on_plan_end == "repeat")

    def known_templates(self) -> list[str]:
        """Caption templates that the checkpoint was trained on."""
        nexts = self.config.event_transitions.values()
        return sorted({template for options in nexts for template in options if template != END})

    def _frame_limit(self, caption: str) -> float:
        """Longest stay in an event: a stretch of the longest such event in the data. A chunk ends by the clock."""
        if self.config.chunked:
            return self.config.chunk_length
        lengths = self.config.event_max_frames
        known = [frames for template, frames in lengths.items() if matches(template, caption)]
        return self.config.max_event_stretch * max(known or lengths.values() or [10_000])

    def _learn_from_dataset(self, dataset_meta: Any) -> None:
        """Reads the event grammar that `wallwm prepare` left in the view's episode metadata.

        Fine-tuning on other events replaces the checkpoint's grammar; data without events leave it alone.
        """
        config, episodes = self.config, dataset_meta.episodes
        config.fps = float(dataset_meta.fps)
        if config.chunked:
            # One instruction for all chunks (paper p. 22). What the checkpoint learnt about events stays in it, for
            # --policy.planner=grammar at inference.
            config.planner = "instruction" if config.planner == "grammar" else config.planner
            return
        columns = getattr(episodes, "column_names", [])
        if "wallwm/template" not in columns:
            if config.planner == "grammar" and not config.event_transitions:
                logger.warning(
                    "The dataset carries no events (run `wallwm prepare` for that): falling back to "
                    "--policy.planner=instruction, one event per episode."
                )
                config.planner = "instruction"
            return
        config.event_transitions, config.event_max_frames = event_grammar(episodes)
