# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The two towers together. What they learn is in `objectives`, how they act in `sampling`.

Shapes: B batch, V views, F = 1 + 4 N frames, T = 1 + N latents, K action draws, H horizon, A action dims,
P proprioception dims. Frames are in [-1, 1], state and actions in the model's own units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.hub.files.tables import ExactLinear
from lerobot_wallwm.policies.encoders.hashed_words import HashedTextEncoder
from lerobot_wallwm.policies.encoders.wavelet_codec import FRAMES_PER_LATENT, WaveletCodec, check_frame_size
from lerobot_wallwm.policies.geometry.tube_masks import TubeShape
from lerobot_wallwm.policies.model.windows import Chunk
from lerobot_wallwm.policies.reasoning.decoder import Memory
from lerobot_wallwm.policies.reasoning.nano_vlm import NanoVlm
from lerobot_wallwm.policies.reasoning.reasoner import Reasoner
from lerobot_wallwm.policies.reasoning.shape import ReasonerShape
from lerobot_wallwm.policies.towers.action_tower import ActionTower
from lerobot_wallwm.policies.towers.frame_layouts import FramePacking
from lerobot_wallwm.policies.towers.goal_head import Goal, GoalHead
from lerobot_wallwm.policies.towers.landmarks import Landmarks
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower, MultiViewWanBlock
from lerobot_wallwm.policies.training.recipes import PARTS, RecipeParts
from lerobot_wallwm.policies.training.stages import REASONING, Stage

if TYPE_CHECKING:
    from lerobot_wallwm.policies.encoders.umt5 import UMT5TextEncoder
    from lerobot_wallwm.policies.encoders.wan_codec import WanCodec
    from lerobot_wallwm.policies.model.wan_backbone import WanBackbone


@dataclass(frozen=True)
class ModelShape:
    """What a world action model is built from; names that `config/` has as well mean the same.

    Attributes:
        video: Of the video tower.
        image_size: (height, width) of a frame in pixels.
        action_dim, state_dim: A and P.
        video_shift: Timestep shift of the video's sampling schedule.
        stage: What is trained on which losses, and the numbers of its losses.
        history_latents: M, 0 for events.
        max_chunks: Rows of E_abs, 0 for events.
        reasoner: The language half; None for a model without one.
        tube: Windows that training hides in one view; None hides none.
        video_prediction: The ``velocity`` eps - z_0 (paper p. 8, eq. 7), as Wan does, or the ``residual`` z_0 - z_key,
            whose zero is "nothing moves" (our choice for a random start).
        parts: What the recipe decides.
        codec_levels: Of nano's wavelets: 3 levels are 8 pixels a latent (our choice).
        packing: Whether training leaves out what lies beyond the events. Without, it computes and masks it: the plain
            reference of tests and benchmarks, no setting of the policy.
    """

    video: WanShape
    image_size: tuple[int, int]
    max_views: int
    max_text_tokens: int
    action_width: int
    action_heads: int
    action_ffn_width: int
    landmarks: int
    action_dim: int
    state_dim: int
    num_future_latents: int
    actions_per_latent: int
    video_shift: float
    stage: Stage
    gradient_checkpointing: bool = False
    history_latents: int = 0
    max_chunks: int = 0
    reasoner: ReasonerShape | None = None
    tube: TubeShape | None = None
    video_prediction: str = "residual"
    parts: RecipeParts = PARTS["nano"]
    codec_levels: int = 3
    packing: bool = True

    @property
    def horizon(self) -> int:
        """Action steps in a window."""
        return self.num_future_latents * self.actions_per_latent

    @property
    def video_train_shift(self) -> float:
        """Timestep shift of the noise levels that training draws; s* is always on the sampler's schedule."""
        return 1.0 if self.stage.uniform_video_levels else self.video_shift


class WorldActionModel(nn.Module):
    """p(future video, actions | keyframes, state, caption) over the length of one event (paper p. 6).

    Args:
        shape: Sizes and constants.
        backbone: Where codec, text encoder and video tower come from; None makes those of `nano`.
    """

    codec: WaveletCodec | WanCodec
    text_encoder: HashedTextEncoder | UMT5TextEncoder

    def __init__(self, shape: ModelShape, backbone: WanBackbone | None = None):
        super().__init__()
        self.shape = shape
        self.codec = backbone.codec if backbone else WaveletCodec(shape.codec_levels)
        check_frame_size(*shape.image_size, self.codec.spatial_stride, shape.video.patch)
        stride = self.codec.spatial_stride * shape.video.patch
        grid = (shape.image_size[0] // stride, shape.image_size[1] // stride)
        self.tokens_per_latent = grid[0] * grid[1] + shape.landmarks
        if backbone:
            self.text_encoder = backbone.text_encoder
            self.video = backbone.video_tower(shape.video, shape.max_views, grid)
        else:
            self.text_encoder = HashedTextEncoder(shape.video.text_dim, shape.max_text_tokens)
            self.video = MultiViewVideoTower(shape.video, shape.max_views, grid, shape.parts.open_gates)
            if shape.video_prediction == "residual":  # the untrained model imagines that nothing moves
                nn.init.zeros_(self.video.proj_out.weight)
                nn.init.zeros_(self.video.proj_out.bias)
        self.landmarks = self.goal_head = None
        if shape.landmarks:
            self.landmarks = Landmarks(
                shape.video.text_dim, shape.landmarks, shape.max_views, shape.video.width
            )
            self.goal_head = GoalHead(
                shape.video.text_dim,
                shape.state_dim,
                shape.action_dim,
                shape.action_width,
                shape.max_views,
                shape.landmarks,
            )
        self.action = ActionTower(
            shape.action_width,
            shape.video.depth,
            shape.action_heads,
            shape.action_ffn_width,
            shape.video.width,
            shape.action_dim,
            shape.state_dim,
            shape.horizon,
            shape.actions_per_latent,
            shape.max_views,
            self.tokens_per_latent,
            shape.history_latents,
            shape.max_chunks,
            shape.parts.place_codes,
        )
        self.reasoner = self._reasoner(shape)
        self.video.gradient_checkpointing = shape.gradient_checkpointing
        self.action.gradient_checkpointing = shape.gradient_checkpointing
        for part in self.frozen_parts():
            part.requires_grad_(False).eval()
        if shape.max_chunks:  # chunks have no goal and no remaining time
            self.action.along.requires_grad_(False)
            self.action.remaining_head.requires_grad_(False)

    def lay_in(self, dtype: torch.dtype, acting: bool) -> None:
        """Puts weights that nobody trains in ``dtype``, so that autocast finds them there and casts none at a forward.

        Args:
            dtype: Autocast's.
            acting: Whether that is all of them, or only the blocks of frozen towers: FSDP flattens a block, and all the rest
                together, and asks for one dtype in each.
        """
        if acting:
            _lay_in(self, dtype)
            return
        for name, blocks in (("video", self.video.blocks), ("action", self.action.blocks)):
            for block in blocks if name not in self.shape.stage.trains else ():
                block.to(dtype)

    def parts(self) -> dict[str, nn.Module]:
        """What the stages train or freeze as one, by the names of `stages.PARTS`."""
        parts: dict[str, nn.Module] = {"video": self.video, "action": self.action, "text": self.text_encoder}
        if self.landmarks is not None and self.goal_head is not None:
            parts |= {"landmarks": self.landmarks, "goal": self.goal_head}
        if self.reasoner is not None:
            parts |= {name: part for name in REASONING if (part := getattr(self.reasoner, name)) is not None}
        return parts

    def frozen_parts(self) -> list[nn.Module]:
        """Parts that the stage leaves alone."""
        return [part for name, part in self.parts().items() if name not in self.shape.stage.trains]

    def train(self, mode: bool = True) -> WorldActionModel:
        """Training mode for what is trained; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self.frozen_parts():
            part.eval()
        return self

    def _reasoner(self, shape: ModelShape) -> Reasoner | None:
        if shape.reasoner is None:
            return None
        eye = shape.video.width if shape.landmarks else 0
        vlm = NanoVlm(shape.reasoner, shape.image_size, shape.max_views, shape.state_dim, eye)
        return Reasoner(shape.reasoner, vlm, shape.video.text_dim, shape.max_text_tokens)

    def read_prompt(
        self, instructions: list[str], keyframes: Tensor, state: Tensor, view_ids: Tensor | None
    ) -> tuple[Memory, Tensor]:
        """What the vision-language model keeps of instruction, pictures and pose, and its last token's state.

        It sees with the towers' eye, too, which looks for what the instruction names.
        """
        assert self.reasoner is not None
        with torch.no_grad():
            landmarks = self.find_landmarks(keyframes, self.text_encoder(instructions), view_ids)
        return self.reasoner.vlm.prompt(instructions, keyframes, state, landmarks, view_ids)

    def decode_latents(
        self, instructions: list[str], keyframes: Tensor, state: Tensor, view_ids: Tensor | None = None
    ) -> Tensor:
        """What takes exactly the place of captions (paper p. 12): latents as text tokens ``(B, L, E)``, of B instructions,
        keyframes ``(B, V, 3, H, W)`` and states ``(B, P)``.

        Raises:
            ValueError: The checkpoint decodes no latents.
        """
        if self.reasoner is None:
            raise ValueError(
                "--policy.text_source=latents: this checkpoint has no language half. Fix: train --policy.stage=vlm, then "
                "staircase, from it"
            )
        memory, _ = self.read_prompt(instructions, keyframes, state, view_ids)
        return self.reasoner.as_text(self.reasoner.latents(memory))

    def find_landmarks(self, keyframes: Tensor, text: Tensor, view_ids: Tensor | None) -> Tensor | None:
        """What the captions name in the keyframes, as tokens for the video tower; None for the paper's layout."""
        return None if self.landmarks is None else self.landmarks(keyframes, text, view_ids)

    def read_goal(
        self,
        landmarks: Tensor | None,
        state: Tensor,
        text: Tensor,
        here: Tensor | None,
        view_ids: Tensor | None = None,
        frame: Tensor | None = None,
    ) -> Goal | None:
        """Where the captions' events end, by the landmarks that left the tower, see `GoalHead`; None without any.

        Raises:
            ValueError: ``here`` is missing.
        """
        if self.goal_head is None or self.landmarks is None or landmarks is None:
            return None
        if here is None:
            raise ValueError("a model with a goal head needs `here`, the observed pose in goal units.")
        return self.goal_head(self.landmarks.code.read(landmarks), state, text, here, view_ids, frame)

    def latent_valid(self, frame_valid: Tensor) -> Tensor:
        """Latents ``(B, T)`` of which at least one frame lies inside the event, or the rollout."""
        groups = frame_valid[:, 1:].unflatten(1, (-1, FRAMES_PER_LATENT)).any(2)
        return torch.cat((frame_valid[:, :1], groups), dim=1)

    def encode_seen(self, keyframes: Tensor, chunk: Chunk | None) -> tuple[Tensor, Tensor | None]:
        """What inference knows: the keyframe's latent, or those of history and anchor from one codec pass.

        Args:
            keyframes: ``(B, V, 3, H, W)``.
            chunk: The past, or None for an event.

        Returns:
            Latents ``(B, V, C, 1 + M, h, w)`` (without channels that are zero where M = 0), and which of them lie inside
            the rollout ``(B, 1 + M)``, None for all.
        """
        if chunk is None or not self.shape.history_latents:
            return self.encode_still(keyframes), None
        valid = torch.cat((chunk.past_valid, chunk.past_valid.new_ones(len(keyframes), 1)), dim=1)
        return self.encode(torch.cat((chunk.past, keyframes[:, :, None]), dim=2)), self.latent_valid(valid)

    def encode(self, frames: Tensor, packing: FramePacking | None = None) -> Tensor:
        """``(S, V, F, 3, H, W)`` to latents ``(S, V, C, T, h, w)``; zero, and not computed, where packing leaves them out.

        A packing may hold more rows than the first S, whose frames these are.
        """
        if packing is None:
            return self.codec.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        by_length = {n: rows[rows < len(frames)] for n, rows in packing.rows_by_length.items()}
        by_length = {n: rows for n, rows in by_length.items() if len(rows)}
        parts = {
            length: self.encode(frames[rows, :, : 1 + FRAMES_PER_LATENT * (length - 1)])
            for length, rows in by_length.items()
        }
        some = next(iter(parts.values()))
        z = some.new_zeros(*frames.shape[:2], some.shape[2], packing.length, *some.shape[4:])
        for length, rows in by_length.items():
            z[rows, :, :, :length] = parts[length]
        return z

    def encode_still(self, keyframes: Tensor) -> Tensor:
        """``(B, V, 3, H, W)`` to latents ``(B, V, C, 1, h, w)``; the wavelets' without the channels that are zero."""
        return self.codec.encode_still(keyframes.flatten(0, 1)).unflatten(0, keyframes.shape[:2])

    def decode(self, latents: Tensor) -> Tensor:
        """Latents ``(B, V, C, T, h, w)`` to frames ``(B, V, F, 3, H, W)`` in [-1, 1]."""
        return self.codec.decode(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])


def _lay_in(module: nn.Module, dtype: torch.dtype) -> None:
    """Matrices, kernels and Wan's blocks in ``dtype``. Other norms and tables stay, and the reasoner, which is also asked
    outside of autocast."""
    for name, child in module.named_children():
        if isinstance(child, ExactLinear) or name == "reasoner":
            continue
        if isinstance(child, (nn.Linear, nn.Conv2d, nn.Conv3d, MultiViewWanBlock)):
            child.to(dtype)
        else:
            _lay_in(child, dtype)
