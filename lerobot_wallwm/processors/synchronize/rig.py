# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""How far each camera of a rig lags behind the joints, and which episodes contradict that.

A lag belongs to a camera, and every episode is evidence for it. So one relation is fitted for the whole dataset: what moves in
the pictures, from what moves in the joints (ridge regression on the logarithms of both motions, differentiated, which turns
the broad hill of two smooth speeds into a sharp peak).

* A camera's lag is the one at which the joints explain most of its motion over all episodes together. At lag L the evidence is
  ``n / (2 m) * log(|total| / |rest|)`` nats: the log-likelihood ratio of "explained by the joints at L" against "not
  explained", for n frames of which smoothing leaves one independent in m = 2 sqrt(pi) sigma.
* An episode is then asked one question: does it contradict the rig? The relation is fitted to the other episodes, its
  residuals are Student's t with their own covariance (which counts what cameras share only once) and autocorrelation (by
  which evidence is divided), so every frame has a log-likelihood at every lag. Set against the rig's lags are: another lag of all
  cameras, of one camera, a lag that changes on the way (a dropped frame), and pictures that the joints do not explain at all
  (another episode's video). Episodes that contradict are left out, and the rig is measured again without them.

An episode in which little moves has little to say, contradicts nothing, and is kept: its cameras are those of the others.

Shapes: S picture signals, C joint channels, n frames, L = 2 reach + 1 lags from -reach to reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lerobot_wallwm.processors.motion.kinematics import typical_size
from lerobot_wallwm.processors.synchronize.evidence import peak, sharpened

# All our choice. Parts of the dataset; each is predicted from the others.
_FOLDS = 5
# Degrees of freedom of the residuals: occlusions and shadows are no Gaussian noise.
_FREEDOM = 8.0
# Of the residuals' variance, added to the diagonal of their covariance.
_NUGGET = 1e-3
# Lags up to this many frames beside the rig's are tried on both sides of a change on the way.
_WIDEST = 4
# Frames on either side of such a change, at least.
_SIDE = 8
# Least evidence, in nats, of a camera's best lag above its median lag. What pure noise reaches is below 10.
_SEEN = 15.0
# Episodes to which the relation is fitted at most, evenly spread.
_MOST_FITTED = 400


@dataclass(frozen=True)
class CameraLag:
    """How far one camera lags.

    Attributes:
        lag: Frames by which its pictures run behind the joints; 0 where nothing else is told.
        fraction: The peak's distance from `lag`, frames.
        margin: Evidence, in nats, for `lag` against the next best.
        seen: Whether the camera's motion goes with the joints at all.
    """

    camera: str
    lag: int
    fraction: float
    margin: float
    seen: bool


@dataclass(frozen=True)
class Contradiction:
    """What an episode says against the rig's lags: `rule: evidence`, and by how many nats; no rule where it does not."""

    reason: str = ""
    nats: float = 0.0
    fit: float = 0.0


@dataclass(frozen=True)
class Motions:
    """What moved in one episode of T frames: `{camera: (T, 2)}` of `image_motion`, and the joints' steps (T, D)."""

    pictures: Mapping[str, np.ndarray]
    joints: np.ndarray


class Rig:
    """The cameras and joints of a dataset, and how their motions go together.

    Args:
        episodes: All with the same cameras and joints.
        sigma: Standard deviation of the smoothing, frames.
        max_lag: Greatest lag that is corrected, frames; the search goes on for half as much again.
        min_margin: Nats by which a lag other than 0 must be likelier than 0.
        max_dissent: Nats by which an episode may speak against the rig.
    """

    def __init__(
        self,
        episodes: Sequence[Motions],
        *,
        sigma: float,
        max_lag: int,
        min_margin: float,
        max_dissent: float,
    ) -> None:
        self.sigma, self.max_lag, self.reach = sigma, max_lag, max_lag + max(2, round(0.5 * max_lag))
        self.min_margin, self.max_dissent = min_margin, max_dissent
        self.names = list(episodes[0].pictures)
        self._pictures = {name: _sharp([e.pictures[name] for e in episodes], sigma) for name in self.names}
        steps = np.concatenate([e.joints for e in episodes])
        size = np.maximum(typical_size(steps), 1e-12)
        moved = [np.abs(e.joints) / size for e in episodes]
        whole = [np.column_stack([m, np.sqrt((m**2).sum(axis=1))]) for m in moved]
        self._joints = _sharp(whole, sigma)
        kept = list(range(len(episodes)))
        for _ in range(3):
            self.cameras = {name: self._lag_of(name, kept) for name in self.names}
            self.contradictions = self._contradictions(kept)
            agreeing = [e for e, found in enumerate(self.contradictions) if not found.reason]
            if agreeing == kept or not agreeing:
                break
            kept = agreeing

    @property
    def lags(self) -> dict[str, int]:
        """Of each camera that sees the joints move."""
        return {name: found.lag for name, found in self.cameras.items() if found.seen}

    def _spread(self, episodes: Sequence[int]) -> list[int]:
        at = np.linspace(0, len(episodes) - 1, min(len(episodes), _MOST_FITTED)).round().astype(int)
        return [episodes[i] for i in at]

    def _lag_of(self, name: str, episodes: Sequence[int]) -> CameraLag:
        """The lag at which the joints explain most of a camera's motion."""
        curve = np.array([self._explained(name, lag, episodes) for lag in range(-self.reach, self.reach + 1)])
        top, fraction = peak(curve)
        seen = bool(curve[top] - np.median(curve) >= _SEEN)
        if not seen or (top != self.reach and curve[top] - curve[self.reach] < self.min_margin):
            top, fraction = self.reach, 0.0
        others = np.delete(curve, top)
        return CameraLag(name, top - self.reach, fraction, float(curve[top] - others.max()), seen)

    def _explained(self, name: str, lag: int, episodes: Sequence[int]) -> float:
        """Evidence, nats, that the joints `lag` frames earlier explain a camera's motion."""
        pairs = [self._pair(e, {name: lag}) for e in self._spread(episodes)]
        late, early = (
            np.concatenate(parts, axis=1) for parts in zip(*((y, x) for y, x, _ in pairs), strict=True)
        )
        if late.shape[1] < 2 * len(early):
            return 0.0
        late = late - late.mean(axis=1, keepdims=True)
        rest = late - _ridge(late, early) @ early
        sizes = [np.linalg.slogdet(v @ v.T / v.shape[1] + _NUGGET * np.eye(len(v)))[1] for v in (late, rest)]
        return float(late.shape[1] * (sizes[0] - sizes[1]) / (4 * np.sqrt(np.pi) * self.sigma))

    def _pair(self, e: int, lags: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pictures (S, n), joints (C, n) and the joints' frames (n,) of an episode where all cameras have a frame."""
        joints = self._joints[e]
        total = joints.shape[1]
        first, end = max(0, *(-lag for lag in lags.values())), total - max(0, *lags.values())
        u = np.arange(first, max(first, end))
        return np.concatenate([self._pictures[c][e][:, u + lag] for c, lag in lags.items()]), joints[:, u], u

    def _contradictions(self, fitted: Sequence[int]) -> list[Contradiction]:
        """What each episode says against the rig; the relation is fitted to `fitted`, each without its own part."""
        count = len(self._joints)
        if not self.lags:
            return [Contradiction("no_motion: no camera moves with the joints")] * count
        few = len(fitted) < _FOLDS
        folds = [
            np.arange(_FOLDS).repeat(-(-j.shape[1] // _FOLDS))[: j.shape[1]]
            if few
            else np.full(j.shape[1], e % _FOLDS)
            for e, j in enumerate(self._joints)
        ]
        chosen = self._spread(fitted)
        pairs = {e: self._pair(e, self.lags) for e in chosen}
        late, early, fold = (
            np.concatenate(parts, axis=-1)
            for parts in zip(*((y, x, folds[e][u]) for e, (y, x, u) in pairs.items()), strict=True)
        )
        relations = [
            _Relation.fit(late[:, fold != f], early[:, fold != f], self.sigma) for f in range(_FOLDS)
        ]
        return [self._judge(e, relations, folds[e]) for e in range(count)]

    def _judge(self, e: int, relations: Sequence[_Relation], fold: np.ndarray) -> Contradiction:
        lags, total = self.lags, len(fold)

        def likelihood(own: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
            """(total,) log-likelihood of each frame, 0 where a camera has none; and where all have one."""
            late, early, u = self._pair(e, own)
            found, there = np.zeros(total), np.zeros(total, dtype=bool)
            there[u] = True
            for f in np.unique(fold[u]):
                part = fold[u] == f
                found[u[part]] = relations[f].log_likelihood(late[:, part], early[:, part])
            return found, there

        base, there = likelihood(lags)

        def against(own: Mapping[str, int]) -> np.ndarray:
            found, also = likelihood(own)
            return np.where(there & also, found - base, 0.0)

        # Where less than half of the episode is left, a good fit is chance.
        reach = min(self.reach, total // 2)
        every = [
            d for d in range(-2 * reach, 2 * reach + 1) if all(abs(lag + d) <= reach for lag in lags.values())
        ]
        every = sorted({0, *every})
        gain = {d: against({c: lag + d for c, lag in lags.items()}) for d in every}
        late, _, u = self._pair(e, lags)
        fit = float(
            sum((base[u] - relations[f].unexplained(late))[fold[u] == f].sum() for f in np.unique(fold[u]))
        )
        found = [self._other_lag(gain), self._other_camera(against), self._change(gain), _misfit(fit)]
        worst = max(found, key=lambda contradiction: contradiction.nats)
        clear = min((-float(g.sum()) for d, g in gain.items() if d), default=0.0)
        if worst.nats <= self.max_dissent:
            return Contradiction("", -clear, fit)
        return Contradiction(f"{worst.reason}, likelier by {worst.nats:.1f} nats", worst.nats, fit)

    def _other_lag(self, gain: Mapping[int, np.ndarray]) -> Contradiction:
        nats, d = max((float(g.sum()), d) for d, g in gain.items() if d)
        says = ", ".join(f"{_short(c)} {lag + d}" for c, lag in self.lags.items())
        return Contradiction(f"contradicts_rig: lag {says} rather than {self._rig()}", nats)

    def _other_camera(self, against) -> Contradiction:
        worst = Contradiction()
        if len(self.lags) > 1:
            for camera, lag in self.lags.items():
                for d in range(-_WIDEST, _WIDEST + 1):
                    nats = float(against({**self.lags, camera: lag + d}).sum()) if d else 0.0
                    if nats > worst.nats:
                        reason = f"camera_contradicts_rig: {_short(camera)} lag {lag + d} rather than {lag}"
                        worst = Contradiction(reason, nats)
        return worst

    def _change(self, gain: Mapping[int, np.ndarray]) -> Contradiction:
        """The likeliest change of the lag on the way; it pays for the many that are tried."""
        ds = [d for d in gain if abs(d) <= _WIDEST]
        table = np.array([gain[d] for d in ds])
        before = np.concatenate([np.zeros((len(ds), 1)), np.cumsum(table, axis=1)], axis=1)
        # Up to frame f by d and from there as the rig, or the other way round.
        ratio = np.stack([before, before[:, -1:] - before])
        ratio = ratio[:, :, _SIDE : ratio.shape[2] - _SIDE]
        if not ratio.size:
            return Contradiction()
        side, i, f = (int(n) for n in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
        paid = 2 * np.log(len(ds) * table.shape[1])
        where = f"by {ds[i]:+d} frames {('up to', 'from')[side]} frame {f + _SIDE}, beside {self._rig()}"
        return Contradiction(f"lag_changes: {where}", float(ratio[side, i, f] - paid))

    def _rig(self) -> str:
        return ", ".join(f"{_short(camera)} {lag}" for camera, lag in self.lags.items())


def _misfit(fit: float) -> Contradiction:
    return Contradiction('another_video: the pictures move otherwise than the joints, "not explained"', -fit)


def _short(camera: str) -> str:
    return camera.rsplit(".", 1)[-1]


def _sharp(signals: Sequence[np.ndarray], sigma: float) -> list[np.ndarray]:
    """Per episode (K, T - 1): `sharpened` signals (T, K), of unit variance over the dataset; those that do not vary are left out."""
    top = np.quantile(np.concatenate(signals), 0.9, axis=0)
    rows = [
        np.array([sharpened(s, sigma, t) for s, t in zip(values.T, top, strict=True)]) for values in signals
    ]
    spread = np.concatenate(rows, axis=1).std(axis=1)
    kept = spread > 1e-9
    return [row[kept] / spread[kept, None] for row in rows]


def _ridge(late_Sn: np.ndarray, early_Cn: np.ndarray) -> np.ndarray:
    """(S, C) weights; a priori the channels together explain as much as the noise: one unit of ridge for each."""
    inner = early_Cn @ early_Cn.T + len(early_Cn) * np.eye(len(early_Cn))
    return np.linalg.solve(inner, early_Cn @ late_Sn.T).T


@dataclass(frozen=True)
class _Relation:
    """Pictures from joints: weights, mean, and what whitens the rest and the whole; frames that say as much as one."""

    weights: np.ndarray
    mean: np.ndarray
    rest: np.ndarray
    whole: np.ndarray
    piece: float

    @classmethod
    def fit(cls, late_Sn: np.ndarray, early_Cn: np.ndarray, sigma: float) -> _Relation:
        mean = late_Sn.mean(axis=1, keepdims=True)
        late = late_Sn - mean
        weights = _ridge(late, early_Cn)
        errors = late - weights @ early_Cn
        # What is predicted was not fitted to: the errors there are larger, the more so the fewer frames there are.
        independent = errors.shape[1] / (2 * np.sqrt(np.pi) * sigma)
        free = max(0.1, 1 - (len(early_Cn) + len(late)) / independent)
        rest, whole = _whitener(errors) * np.sqrt(free), _whitener(late)
        return cls(weights, mean, rest, whole, _frames_a_piece(rest @ errors, sigma))

    def log_likelihood(self, late_Sn: np.ndarray, early_Cn: np.ndarray) -> np.ndarray:
        """(n,) nats, but for a constant."""
        return _student(self.rest @ (late_Sn - self.mean - self.weights @ early_Cn)) / self.piece

    def unexplained(self, late_Sn: np.ndarray) -> np.ndarray:
        """(n,) nats of the pictures without the joints, with the same constant."""
        volume = np.linalg.slogdet(self.whole)[1] - np.linalg.slogdet(self.rest)[1]
        return (_student(self.whole @ (late_Sn - self.mean)) + volume) / self.piece


def _student(white_Sn: np.ndarray) -> np.ndarray:
    return -0.5 * (_FREEDOM + len(white_Sn)) * np.log1p((white_Sn**2).sum(axis=0) / _FREEDOM)


def _whitener(values_Sn: np.ndarray) -> np.ndarray:
    covariance = values_Sn @ values_Sn.T / values_Sn.shape[1] + _NUGGET * np.eye(len(values_Sn))
    return np.linalg.inv(np.linalg.cholesky(covariance))


def _frames_a_piece(white_Sn: np.ndarray, sigma: float) -> float:
    """Frames that say as much as one independent frame: 1 + 2 x the residuals' positive autocorrelations.

    They are summed over six standard deviations of the smoothing, beyond which it correlates nothing.
    """
    power = float((white_Sn**2).sum())
    lags = range(1, min(int(np.ceil(6 * sigma)) + 1, white_Sn.shape[1] - 1) + 1)
    rho = [float((white_Sn[:, k:] * white_Sn[:, :-k]).sum()) / max(power, 1e-12) for k in lags]
    return 1.0 + 2.0 * sum(max(r, 0.0) for r in rho)
