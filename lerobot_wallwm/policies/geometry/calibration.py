# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The calibration file: where each camera is and what each of its pixels sees. Only training reads it.

One JSON file for one robot::

    {
      "length_unit": "m",
      "near": 0.03, "far": 1.0,
      "cameras": {
        "observation.images.wrist": {
          "width": 640, "height": 480, "fx": 610.0, "fy": 610.0, "cx": 320.0, "cy": 240.0,
          "distortion": [0.05, -0.1, 0.0, 0.0, 0.0],
          "mounted_on": "wrist_roll.pos",
          "pose": [[...4 numbers...], [...], [...], [0, 0, 0, 1]]
        },
        "observation.images.front": {..., "mounted_on": "base", ...}
      },
      "joints": [
        {"name": "shoulder_pan.pos", "origin": [[...], [...], [...], [0, 0, 0, 1]], "axis": [0, 0, 1],
         "radians_per_unit": 0.0174533, "radians_at_zero": 0.0}
      ]
    }

* ``cameras``: one entry for each image key of the dataset. Intrinsics and ``distortion`` (k1, k2, p1, p2, k3; may be
  left out) are OpenCV's, in pixels of a ``width`` x ``height`` picture; the policy's resizing is accounted for.
  ``pose`` takes camera coordinates (x right, y down, z ahead) to those of what it is ``mounted_on``: ``base`` or a joint.
* ``joints``: the revolute joints from the base to the last one with a camera, in order, named as in the dataset's
  ``observation.state``. ``origin`` places the joint on the one before it, at angle zero; ``axis`` is in the joint's own
  frame. A state of u stands for ``u * radians_per_unit + radians_at_zero``. Without moving cameras leave them out.
* ``near`` and ``far``: depths between which two cameras may see the same thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from lerobot_wallwm.policies.geometry.sight_cones import Cones, sight_cone_mask
from lerobot_wallwm.storage.json_file import read_json_as

BASE = "base"
# Top, bottom, left and right of a picture in its own heights and widths.
WHOLE_PICTURE = (0.0, 1.0, 0.0, 1.0)
# Our choice. A camera further from the arm than this was measured in millimetres.
FARTHEST_METRES = 10.0
ORTHONORMAL_WITHIN = 1e-3
REPROJECTION_PIXELS = 0.1

Row = tuple[float, float, float, float]
Transform = tuple[Row, Row, Row, Row]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Joint(_Strict):
    """One revolute joint; see the module's text."""

    name: str
    origin: Transform
    axis: tuple[float, float, float]
    radians_per_unit: float
    radians_at_zero: float = 0.0

    @model_validator(mode="after")
    def _check(self) -> Joint:
        _check_transform("origin", self.origin)
        if not np.isclose(np.linalg.norm(self.axis), 1.0, atol=ORTHONORMAL_WITHIN):
            raise ValueError(f"axis {self.axis} is not a unit vector: divide it by its length")
        if self.radians_per_unit == 0:
            raise ValueError("radians_per_unit is 0: the joint would never move")
        return self


class Camera(_Strict):
    """One camera; see the module's text."""

    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    mounted_on: str
    pose: Transform

    @model_validator(mode="after")
    def _check(self) -> Camera:
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"intrinsics are singular: fx={self.fx}, fy={self.fy} must be positive pixels")
        if not (0 < self.cx < self.width and 0 < self.cy < self.height):
            raise ValueError(
                f"the principal point ({self.cx}, {self.cy}) lies outside the {self.width} x {self.height} picture: "
                "give width and height of the pictures that the camera was calibrated with"
            )
        _check_transform("pose", self.pose)
        return self

    def patch_cones(
        self, grid: tuple[int, int], covered: tuple[float, float, float, float] = WHOLE_PICTURE
    ) -> Cones:
        """The cones of a picture's patches in the camera's own frame.

        The half angle encloses the patch tightly: it reaches the farthest of its four corners (paper p. 7, whose scale l is 1).

        Args:
            grid: Patches ``(h, w)``; what they cover is divided evenly.
            covered: Its (top, bottom, left, right) in heights and widths of the picture. Of a patch that reaches into
                a border, only the part in the picture counts; the cone of one that lies in it shrinks to the edge.

        Returns:
            h * w cones, row by row.

        Raises:
            ValueError: The distortion cannot be undone at the picture's border.
        """
        rows, columns = grid
        top, bottom, left, right = covered
        y = np.linspace(top, bottom, 2 * rows + 1).clip(0, 1) * self.height
        x = np.linspace(left, right, 2 * columns + 1).clip(0, 1) * self.width
        # Pixel centres are whole numbers in OpenCV, so the picture's left edge lies at -0.5.
        pixels = np.stack(np.meshgrid(x - 0.5, y - 0.5), axis=-1)  # (2 h + 1, 2 w + 1, 2)
        rays = self._rays(pixels.reshape(-1, 2)).reshape(2 * rows + 1, 2 * columns + 1, 3)
        centres = rays[1::2, 1::2]
        corners = [
            rays[top : top + 2 * rows - 1 : 2, left : left + 2 * columns - 1 : 2]
            for top in (0, 2)
            for left in (0, 2)
        ]
        cosines = np.stack([(corner * centres).sum(-1) for corner in corners])
        half = np.arccos(np.clip(cosines.min(0), -1, 1))
        axis = torch.from_numpy(centres.reshape(-1, 3))
        return Cones(torch.zeros_like(axis), axis, torch.from_numpy(half.reshape(-1)))

    def _rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unit vectors ``(N, 3)`` through pixels ``(N, 2)``."""
        matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])
        distortion = np.array(self.distortion)
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
        flat = cv2.undistortPointsIter(pixels[:, None], matrix, distortion, np.eye(3), matrix, criteria)[:, 0]
        rays = np.column_stack(((flat - [self.cx, self.cy]) / [self.fx, self.fy], np.ones(len(flat))))
        again = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, distortion)[0][:, 0]
        miss = np.abs(again - pixels).max()
        if not miss <= REPROJECTION_PIXELS:
            raise ValueError(
                f"distortion {self.distortion} cannot be undone at the picture's border ({miss:.1f} pixels off): "
                "calibrate with points near the corners, or with fewer coefficients"
            )
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)


class Calibration(_Strict):
    """A robot's cameras; see the module's text."""

    length_unit: Literal["m"]
    near: float = 0.03
    far: float = 1.0
    cameras: dict[str, Camera]
    joints: tuple[Joint, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Calibration:
        if not 0 <= self.near < self.far:
            raise ValueError(f"near={self.near} and far={self.far} must satisfy 0 <= near < far")
        names = [joint.name for joint in self.joints]
        if len(set(names)) < len(names):
            raise ValueError(f"joints {names} are not all different")
        for key, camera in self.cameras.items():
            if camera.mounted_on not in (BASE, *names):
                raise ValueError(
                    f"cameras.{key}.mounted_on is '{camera.mounted_on}': name '{BASE}' or one of the joints {names}"
                )
        return self

    def camera_poses(self, state: Tensor, state_names: list[str]) -> dict[str, Tensor]:
        """Where the cameras are, by forward kinematics.

        Args:
            state: ``(..., P)`` raw ``observation.state``.
            state_names: Names of its P columns.

        Returns:
            Transform ``(..., 4, 4)`` of each camera's frame into the base's, float64.
        """
        state = state.double()
        at = torch.eye(4, dtype=torch.float64, device=state.device).expand(*state.shape[:-1], 4, 4)
        frames = {BASE: at}
        for joint in self.joints:
            angle = state[..., state_names.index(joint.name)] * joint.radians_per_unit + joint.radians_at_zero
            at = at @ torch.tensor(joint.origin, dtype=torch.float64, device=state.device)
            at = at @ _rotation(torch.tensor(joint.axis, dtype=torch.float64, device=state.device), angle)
            frames[joint.name] = at
        return {
            key: frames[camera.mounted_on]
            @ torch.tensor(camera.pose, dtype=torch.float64, device=state.device)
            for key, camera in self.cameras.items()
        }


def load_calibration(
    path: str | Path, image_shapes: dict[str, tuple[int, ...]], state_names: list[str] | None
) -> Calibration:
    """Reads a calibration file and checks that it fits a dataset.

    Args:
        path: The JSON file.
        image_shapes: Shape (3, height, width) of each of the dataset's cameras.
        state_names: Names of the columns of ``observation.state``.

    Raises:
        ValueError: There is no such file, it is no valid calibration, or one for another robot; the message names file, key and fix.
    """
    calibration = read_json_as(path, Calibration, "correct that field; see --policy.calibration")
    missing = [key for key in image_shapes if key not in calibration.cameras]
    if missing:
        raise ValueError(f"{path}: cameras has no entry for {missing}; it has {list(calibration.cameras)}")
    for key, (_, height, width) in image_shapes.items():
        camera = calibration.cameras[key]
        if abs(camera.width * height - camera.height * width) > 0.01 * camera.width * height:
            raise ValueError(
                f"{path}: cameras.{key} is {camera.width} x {camera.height}, but the dataset's pictures are "
                f"{width} x {height}, of another shape: calibrate the pictures as they were recorded"
            )
    unknown = [joint.name for joint in calibration.joints if joint.name not in (state_names or [])]
    if unknown:
        raise ValueError(
            f"{path}: joints {unknown} are not among the columns of observation.state: {state_names}"
        )
    for key, camera in calibration.cameras.items():
        try:
            camera.patch_cones((2, 2))
        except ValueError as error:
            raise ValueError(f"{path}: cameras.{key}: {error}") from None
    return calibration


def _check_transform(name: str, rows: Transform) -> None:
    matrix = np.array(rows)
    rotation = matrix[:3, :3]
    if not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise ValueError(f"the last row of {name} must be 0 0 0 1, got {rows[3]}")
    if (
        not np.allclose(rotation @ rotation.T, np.eye(3), atol=ORTHONORMAL_WITHIN)
        or np.linalg.det(rotation) < 0
    ):
        raise ValueError(
            f"the upper left 3 x 3 of {name} is no rotation: its rows must be orthonormal, its determinant 1"
        )
    far = np.abs(matrix[:3, 3]).max()
    if far > FARTHEST_METRES:
        raise ValueError(f"{name} lies {far:g} m away: lengths are in metres, these look like millimetres")


def _rotation(axis: Tensor, angle: Tensor) -> Tensor:
    """A turn about a unit vector ``(3,)`` as a transform ``(..., 4, 4)``."""
    x, y, z = axis.unbind()
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero)).view(3, 3)
    return torch.linalg.matrix_exp(F.pad(angle[..., None, None] * cross, (0, 1, 0, 1)))


class SightConeMasks:
    """Which tokens of different cameras may attend to each other, frame by frame (paper p. 7-8).

    Args:
        calibration: The robot's cameras.
        image_keys: The cameras that the policy reads, in its order.
        grid: Token grid ``(h, w)`` of one view.
        state_names: Columns of ``observation.state``.
        covered: What the grid of each camera covers (see `Camera.patch_cones`); None for the whole picture.
    """

    def __init__(
        self,
        calibration: Calibration,
        image_keys: list[str],
        grid: tuple[int, int],
        state_names: list[str],
        covered: dict[str, tuple[float, float, float, float]] | None = None,
    ):
        self.calibration, self.image_keys, self.state_names = calibration, image_keys, state_names
        self.cones = {
            key: calibration.cameras[key].patch_cones(grid, (covered or {}).get(key, WHOLE_PICTURE))
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
