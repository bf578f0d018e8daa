# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How the video tower brings several cameras together: the paper's cross-view branch, and what it is compared with.

* ``cross``: within-view attention, then a branch across views at each latent frame (paper p. 6).
* ``tile``: one wide picture. The views' latents lie side by side and the plain Wan tower sees a single view of
  V * w columns: the canvas of the towers that know one picture only.
* ``none``: no branch; each view goes through the plain Wan tower by itself, and only the action tower sees them all.

All three run V * T * N tokens through the same blocks and hand the same features to the action tower. ``tile`` and
``none`` have the same parameters. ``cross`` has a further 5 D^2 + O(D) in each block (query, key, value, output and
zero-initialised projection); a feed-forward wider by 5 D / 2 gives the other two as many. Attention scores of a sample
and layer: ``none`` V (T N)^2, ``cross`` V (T N)^2 + T (V N)^2, ``tile`` (V T N)^2.

Shapes: B batch, V views, T latent frames, C latent channels, D width, (h, w) token grid of one view, N = h w.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lerobot_wallwm.hub.files.backbones import WanShape
from lerobot_wallwm.policies.towers.frame_packing import FramePacking
from lerobot_wallwm.policies.towers.video_tower import MultiViewVideoTower, VideoFeatures


class TiledVideoTower(MultiViewVideoTower):
    """A tower that sees all views as one canvas of latents, side by side in the order they are given.

    Each view keeps its own rows of the position table, laid out like the views. A canvas of fewer views is narrower:
    Wan's rotary code counts its columns from the left.
    """

    def __init__(self, shape: WanShape, max_views: int, grid: tuple[int, int], open_gates: bool = False):
        super().__init__(shape, max_views, grid, open_gates, cross_view=False)

    def forward(
        self,
        z_BVCTHW: Tensor,
        t_BT: Tensor,
        text_BLE: Tensor,
        frame_valid_BT: Tensor | None = None,
        predict: bool = True,
        sight_BTSS: Tensor | None = None,
        view_ids: Tensor | None = None,
        packing: FramePacking | None = None,
        given: int = 0,
    ) -> VideoFeatures:
        """As `MultiViewVideoTower.forward`, with features and prediction cut back into views.

        Raises:
            ValueError: More views than the table holds, latents of another grid, or a sight-cone mask, which a canvas
                has no use for.
        """
        if sight_BTSS is not None:
            raise ValueError(
                "sight cones mask cross-view attention: use --policy.view_fusion=cross, or no --policy.calibration."
            )
        assert packing is None, "a canvas stays padded"
        views = z_BVCTHW.shape[1]
        if view_ids is None:
            view_ids = self.first_views(views)
        canvas = torch.cat(z_BVCTHW.unbind(1), dim=-1)[:, None]
        features = super().forward(
            canvas, t_BT, text_BLE, frame_valid_BT, predict, None, view_ids, given=given
        )
        layers = [self._cut_tokens(layer, views) for layer in features.layers]
        prediction = features.prediction
        if prediction is not None:
            prediction = torch.stack(prediction[:, 0].chunk(views, dim=-1), dim=1)
        return VideoFeatures(layers, prediction)

    def positions(self, view_ids: Tensor) -> Tensor:
        """The views' rows of the position table as one of the canvas, ``(1, h, V * w, D)``."""
        return torch.cat(self.position[view_ids].unbind(0), dim=1)[None]

    def _cut_tokens(self, x_B1TSD: Tensor, views: int) -> Tensor:
        """Canvas tokens ``(B, 1, T, h * V * w, D)`` to ``(B, V, T, N, D)``."""
        rows, columns = self.grid
        x = x_B1TSD[:, 0].unflatten(2, (rows, views, columns))  # (B, T, h, V, w, D)
        return x.permute(0, 3, 1, 2, 4, 5).flatten(3, 4)


def build_video_tower(
    fusion: str, shape: WanShape, max_views: int, grid: tuple[int, int], open_gates: bool = False
) -> MultiViewVideoTower:
    """The video tower for ``cross``, ``tile`` or ``none``; see the module's text."""
    if fusion == "tile":
        return TiledVideoTower(shape, max_views, grid, open_gates)
    return MultiViewVideoTower(shape, max_views, grid, open_gates, cross_view=fusion == "cross")
