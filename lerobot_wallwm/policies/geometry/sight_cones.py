# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Sight cones: which patches of two cameras can show the same point of the world (paper p. 7-8).

Each patch sees a cone of space. Tokens of two views may attend to each other only if their cones meet between the
nearest and the farthest depth. The paper writes a cone as balls that grow along its axis, ``radius = t * gamma``; two
cones meet where two balls do.

Shapes: N cones, M other cones; leading dimensions broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cones:
    """Cones of space in one common frame.

    Attributes:
        apex: ``(..., N, 3)`` camera centres, metres.
        axis: ``(..., N, 3)`` unit vectors through the patches' centres.
        half_angle: ``(..., N)`` gamma, radians.
    """

    apex: Tensor
    axis: Tensor
    half_angle: Tensor

    def moved(self, pose: Tensor) -> Cones:
        """The cones seen from another frame.

        Args:
            pose: ``(..., 4, 4)`` transform of this frame into the other.
        """
        rotation, offset = pose[..., :3, :3], pose[..., :3, 3]
        axis = self.axis @ rotation.transpose(-2, -1)
        apex = self.apex @ rotation.transpose(-2, -1) + offset[..., None, :]
        return Cones(apex.expand_as(axis), axis, self.half_angle.expand(axis.shape[:-1]))


def join(views: list[Cones]) -> tuple[Cones, Tensor]:
    """The cones of several views in one list, and the view of each, ``(N,)``."""
    joined = Cones(
        *(
            torch.cat([getattr(v, name) for v in views], dim=dim)
            for name, dim in (("apex", -2), ("axis", -2), ("half_angle", -1))
        )
    )
    view = torch.cat([torch.full((v.axis.shape[-2],), i, device=v.axis.device) for i, v in enumerate(views)])
    return joined, view


def covisible(one: Cones, other: Cones, near: float, far: float) -> Tensor:
    """Whether some point of each cone, between two depths, is also in the other.

    The paper takes the closest points of the two axes, clamps them and compares their distance with the radii there.
    That depends on the order of the two, and says nothing for parallel axes. Our choice asks whether *any* two balls
    meet: ``gap(t1, t2) - gamma1 t1 - gamma2 t2 <= 0`` for some depths. That function is convex, so its minimum lies
    where its slope vanishes or on an edge of the box, all in closed form. Whatever the paper's test finds, this finds.

    Args:
        one: N cones.
        other: M cones.
        near: Nearest depth along an axis, metres.
        far: Farthest depth, metres.

    Returns:
        ``(..., N, M)`` boolean; its transpose is the answer for the two swapped.

    Raises:
        ValueError: The depths are not ``0 <= near < far``.
    """
    if not 0 <= near < far:
        raise ValueError(f"depths must satisfy 0 <= near < far, got near={near}, far={far} metres.")
    # Double precision: axes may be nearly parallel.
    p1, d1, g1 = (x.double() for x in (one.apex[..., :, None, :], one.axis[..., :, None, :], one.half_angle))
    p2, d2, g2 = (
        x.double() for x in (other.apex[..., None, :, :], other.axis[..., None, :, :], other.half_angle)
    )
    pair = _Pair(p1 - p2, d1, d2, g1[..., :, None], g2[..., None, :])
    inside = pair.where_slope_vanishes()
    best = pair.excess(*(t.clamp(near, far) for t in inside))
    for depth in (near, far):
        fixed = torch.full_like(best, depth)
        best = torch.minimum(best, pair.excess(pair.first(fixed).clamp(near, far), fixed))
        best = torch.minimum(best, pair.excess(fixed, pair.second(fixed).clamp(near, far)))
    return best <= 1e-12


@dataclass(frozen=True)
class _Pair:
    """All pairs of cones: axes ``x1 = w + t1 d1`` and ``x2 = t2 d2``; half angles g1 and g2."""

    w: Tensor
    d1: Tensor
    d2: Tensor
    g1: Tensor
    g2: Tensor

    def excess(self, t1: Tensor, t2: Tensor) -> Tensor:
        """Gap between the balls at two depths; at most 0 where they meet."""
        gap = self.w + t1[..., None] * self.d1 - t2[..., None] * self.d2
        return gap.norm(dim=-1) - t1 * self.g1 - t2 * self.g2

    def first(self, t2: Tensor) -> Tensor:
        """Best t1 for a given t2: past the foot of the perpendicular, for the radius grows on the way."""
        return _best_depth(t2[..., None] * self.d2 - self.w, self.d1, self.g1)

    def second(self, t1: Tensor) -> Tensor:
        """Best t2 for a given t1."""
        return _best_depth(self.w + t1[..., None] * self.d1, self.d2, self.g2)

    def where_slope_vanishes(self) -> tuple[Tensor, Tensor]:
        """Depths at which both slopes vanish; for parallel axes some finite numbers, which do no harm.

        There the gap's direction v has ``v . d1 = g1`` and ``v . d2 = -g2``. With the common normal n it is
        ``v = a d1 + b d2 + c n``, and the gap is as long as its part along n demands.
        """
        cosine = (self.d1 * self.d2).sum(-1)
        sine2 = (1 - cosine.square()).clamp_min(1e-12)
        a = (self.g1 + cosine * self.g2) / sine2
        b = (-self.g2 - cosine * self.g1) / sine2
        in_plane = a * self.g1 - b * self.g2  # |a d1 + b d2|^2
        c = (1 - in_plane).clamp_min(1e-12).sqrt()
        normal = torch.linalg.cross(self.d1, self.d2, dim=-1) / sine2.sqrt()[..., None]
        length = (self.w * normal).sum(-1).abs() / c
        # w + t1 d1 - t2 d2 = length * v, within the plane of d1 and d2.
        w1, w2 = (self.w * self.d1).sum(-1), (self.w * self.d2).sum(-1)
        r1, r2 = length * self.g1 - w1, -length * self.g2 - w2  # t1 - t2 cos = r1, t1 cos - t2 = r2
        return (r1 - cosine * r2) / sine2, (cosine * r1 - r2) / sine2


def _best_depth(point: Tensor, axis: Tensor, half_angle: Tensor) -> Tensor:
    """Depth t that minimises ``|t axis - point| - half_angle t``."""
    foot = (point * axis).sum(-1)
    distance = (point - foot[..., None] * axis).norm(dim=-1)
    return foot + half_angle * distance / (1 - half_angle.square()).clamp_min(1e-6).sqrt()


def sight_cone_mask(views: list[Cones], near: float, far: float) -> Tensor:
    """Which tokens of one latent frame may attend to which (paper p. 8: M_sc).

    Args:
        views: The cones of each view's patches, in one common frame.
        near: Nearest depth, metres.
        far: Farthest depth, metres.

    Returns:
        ``(..., V N, V N)`` boolean, symmetric; tokens of the same view always see each other.
    """
    cones, view = join(views)
    return covisible(cones, cones, near, far) | (view[:, None] == view[None, :])
