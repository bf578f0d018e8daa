# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A batch's pictures, each resized to the model's frame and stacked in the order of the view table.

Shapes: B batch, V views, F frames, (H, W) pixels of the model's frame.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lerobot_wallwm.policies.geometry.border_masks import Box, inside_box, letterbox


class CameraStack:
    """Stacks a batch's pictures in the order of the checkpoint's cameras.

    Args:
        shapes: (3, height, width) of each camera's pictures, as in training.
        rows: Camera keys of the view table's rows.
        size: (height, width) of the model's frame.
        resize: ``stretch`` fills the frame; ``pad`` keeps the proportions, with black borders.
        allow_missing: Leave cameras out that a batch does not have, instead of refusing it.
    """

    def __init__(
        self,
        shapes: dict[str, tuple[int, ...]],
        rows: list[str],
        size: tuple[int, int],
        resize: str = "stretch",
        allow_missing: bool = False,
    ):
        self.shapes = {key: shapes[key] for key in rows if key in shapes}
        self.row_of = {key: rows.index(key) for key in self.shapes}
        self.size, self.allow_missing = size, allow_missing
        self._sent: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}
        full = Box(0, 0, *size)
        self.boxes = {
            key: letterbox((shape[1], shape[2]), size) if resize == "pad" else full
            for key, shape in self.shapes.items()
        }

    def __call__(self, batch: dict[str, Any], frames: int | slice = 0, rows: int | None = None) -> Tensor:
        """All cameras that are there, in [-1, 1] at the model's size.

        Args:
            batch: A LeRobot batch; images ``(B, F, 3, H, W)`` in training, ``(B, 3, H, W)`` otherwise.
            frames: Which frames to take.
            rows: Only the first rows of the batch; None for all.

        Returns:
            ``(B, V, 3, H, W)``, or ``(B, V, F, 3, H, W)`` for a slice of frames.

        Raises:
            ValueError: A camera is missing, or an image has another size than in training.
        """
        views = []
        for key in self.present(batch):
            image, expected = batch[key], self.shapes[key]
            if tuple(image.shape[-3:]) != expected:
                raise ValueError(
                    f"'{key}' has shape {tuple(image.shape[-3:])} but the policy was trained on {expected}: set the "
                    f"camera to width={expected[2]}, height={expected[1]}."
                )
            if image.ndim == 4:  # one frame, which LeRobot gives without an axis for it
                taken = image[:rows, None][:, frames] if isinstance(frames, slice) else image[:rows]
            else:
                taken = image[:rows, frames]
            views.append(self._fit(taken.float(), self.boxes[key]))
        return torch.stack(views, dim=1).mul_(2).sub_(1)

    def _fit(self, image: Tensor, box: Box) -> Tensor:
        """One camera's pictures ``(..., 3, h, w)`` in the model's frame; what the box leaves is black."""
        if tuple(image.shape[-2:]) != (box.height, box.width):
            flat = F.interpolate(
                image.flatten(0, -4),
                (box.height, box.width),
                mode="bilinear",
                antialias=True,
                align_corners=False,
            )
            image = flat.unflatten(0, image.shape[:-3])
        below, right = self.size[0] - box.top - box.height, self.size[1] - box.left - box.width
        if (below, right, box.top, box.left) == (0, 0, 0, 0):
            return image
        return F.pad(image, (box.left, right, box.top, below))

    def present(self, batch: dict[str, Any]) -> list[str]:
        """Keys of the cameras that a batch has, in the order of their rows.

        Raises:
            ValueError: A camera is missing and must not be, or all are.
        """
        there = [key for key in self.shapes if key in batch]
        if len(there) == len(self.shapes) or (there and self.allow_missing):
            return there
        missing = next(key for key in self.shapes if key not in batch)
        found = [k for k in batch if k.startswith("observation.images.") and "_is_pad" not in k]
        way_out = "." if self.allow_missing else ", or leave it out with --policy.allow_missing_cameras=true."
        raise ValueError(
            f"Camera '{missing}' is missing from the observation (present: {found or 'none'}). Name the "
            f"robot's cameras as in training, or map them with --rename_map{way_out}"
        )

    def view_ids(self, batch: dict[str, Any], device: torch.device) -> Tensor:
        """Rows of the view table ``(V,)`` of the cameras that a batch has; sent to a device once."""
        rows = tuple(self.row_of[key] for key in self.present(batch))
        if (rows, device) not in self._sent:
            self._sent[rows, device] = torch.tensor(rows, device=device)
        return self._sent[rows, device]

    def inside(self, batch: dict[str, Any]) -> Tensor:
        """Pixels ``(V, H, W)`` of the frame that the pictures cover."""
        return torch.stack([inside_box(self.boxes[key], self.size) for key in self.present(batch)])
