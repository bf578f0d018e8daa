# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Sight-cone masks for a training batch: calibrated patches, placed by the arm's pose at each latent frame."""

from __future__ import annotations

import torch
from torch import Tensor

from .calibration import WHOLE_PICTURE, Calibration
from .sight_cones import sight_cone_mask


class SightConeMasks:
    """Which tokens of different cameras may attend to each other, frame by frame (paper p. 7-8).

    Args:
        calibration: The robot's cameras.
        image_keys: The cameras that the policy reads, in its order.
        grid: Token grid ``(h, w)`` of one view.
        state_names: Columns of ``observation.state``.
        widen: The paper's scale l >= 1 on the cones' half angle.
        covered: What the grid of each camera covers (see `Camera.patch_cones`); None for the whole picture.
    """

    def __init__(
        self,
        calibration: Calibration,
        image_keys: list[str],
        grid: tuple[int, int],
        state_names: list[str],
        widen: float = 1.0,
        covered: dict[str, tuple[float, float, float, float]] | None = None,
    ):
        self.calibration, self.image_keys, self.state_names = calibration, image_keys, state_names
        self.cones = {
            key: calibration.cameras[key].patch_cones(grid, widen, (covered or {}).get(key, WHOLE_PICTURE))
            for key in image_keys
        }

    @torch.no_grad()
    def __call__(self, state_BTP: Tensor) -> Tensor:
        """Masks of a batch.

        Args:
            state_BTP: Raw state at each latent frame. Geometry alone comes from it: the network does not see it.

        Returns:
            ``(B, T, V N, V N)`` boolean, on the device of the state.
        """
        poses = self.calibration.camera_poses(state_BTP.cpu(), self.state_names)
        placed = [self.cones[key].moved(poses[key]) for key in self.image_keys]
        return sight_cone_mask(placed, self.calibration.near, self.calibration.far).to(state_BTP.device)
