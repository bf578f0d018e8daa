# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Rotations as datasets write them, and as the network has them: the first two columns of the matrix ("6D").

6D is continuous, where Euler angles, axis-angle and quaternions jump (paper p. 10 has it in the action space). All of it in
torch, so that a batch stays where it is; ``tests/embodiment`` holds it against ``scipy.spatial.transform``.

Shapes: ``(..., n)`` numbers of a form in `description.FORMS`; a matrix is ``(..., 3, 3)``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

# Below this angle (radians) an axis is not divided by its sine.
_SMALL = 1e-6


def to_matrix(values: Tensor, form: str, degrees: bool = False) -> Tensor:
    """The rotation matrices of numbers written in this form; they need not be exactly of unit length."""
    if form == "6d":
        return _orthonormal(values)
    if form == "quaternion":
        return _of_quaternion(torch.nn.functional.normalize(values[..., [3, 0, 1, 2]], dim=-1))
    angles = values * (math.pi / 180) if degrees else values
    if form == "axis_angle":
        # sin(a / 2) / a, which is smooth at 0.
        size = angles.norm(dim=-1, keepdim=True)
        part = torch.where(size > _SMALL, torch.sin(size / 2) / size.clamp_min(_SMALL), 0.5 - size * 0)
        return _of_quaternion(torch.cat((torch.cos(size / 2), angles * part), dim=-1))
    (sr, sp, sy), (cr, cp, cy) = (f(angles).unbind(-1) for f in (torch.sin, torch.cos))
    rows = (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def from_matrix(matrix: Tensor, form: str, degrees: bool = False) -> Tensor:
    """The inverse of `to_matrix`: Euler angles in (-pi, pi], axis-angle up to pi, quaternions with w >= 0."""
    if form == "6d":
        return columns(matrix)
    if form == "euler_xyz":
        roll = torch.atan2(matrix[..., 2, 1], matrix[..., 2, 2])
        pitch = torch.asin((-matrix[..., 2, 0]).clamp(-1, 1))
        yaw = torch.atan2(matrix[..., 1, 0], matrix[..., 0, 0])
        angles = torch.stack((roll, pitch, yaw), -1)
        return angles * (180 / math.pi) if degrees else angles
    quaternion = _to_quaternion(matrix)
    if form == "quaternion":
        return quaternion[..., [1, 2, 3, 0]]
    axis = quaternion[..., 1:]
    sine = axis.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    turn = axis * torch.where(sine > _SMALL, angle / sine.clamp_min(_SMALL), 2.0 + sine * 0)
    return turn * (180 / math.pi) if degrees else turn


def columns(matrix: Tensor) -> Tensor:
    """6D: the first two columns, one after the other ``(..., 6)``."""
    return matrix[..., :2].transpose(-1, -2).flatten(-2)


def rewritten(values: np.ndarray, forms: tuple[str, str], degrees: tuple[bool, bool]) -> np.ndarray:
    """Rotations ``(..., n)`` from one form to another; what is not finite stays so."""
    matrix = to_matrix(torch.from_numpy(values), forms[0], degrees[0])
    return from_matrix(matrix, forms[1], degrees[1]).numpy()


def _orthonormal(values: Tensor) -> Tensor:
    """Gram-Schmidt on two columns."""
    first = torch.nn.functional.normalize(values[..., :3], dim=-1)
    second = values[..., 3:]
    second = torch.nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack((first, second, torch.linalg.cross(first, second)), -1)


def _of_quaternion(wxyz: Tensor) -> Tensor:
    w, x, y, z = wxyz.unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _to_quaternion(matrix: Tensor) -> Tensor:
    """``(..., 4)`` w, x, y, z with w >= 0, by way of the greatest component, which is never near zero."""
    m = matrix
    diagonal = torch.stack((m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]), -1)
    trace = diagonal.sum(-1, keepdim=True)
    squares = torch.cat((1 + trace, 1 - trace + 2 * diagonal), -1)  # 4 w^2, 4 x^2, 4 y^2, 4 z^2
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    wx, wy, wz = (m[..., i, j] - m[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    ww, xx, yy, zz = squares.unbind(-1)
    products = ((ww, wx, wy, wz), (wx, xx, xy, xz), (wy, xy, yy, yz), (wz, xz, yz, zz))
    table = torch.stack([torch.stack(row, -1) for row in products], -2)  # 4 q_i q_j
    row = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = torch.nn.functional.normalize(table.gather(-2, row)[..., 0, :], dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
