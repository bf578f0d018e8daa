# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Cuts an episode at action boundaries, from its kinematics alone.

Four cues propose cuts: gripper switches, contact, pauses of the arm, and change points of the direction of motion (`ruptures`).
Near proposals merge, and the confidence of a cut is 1 - product(1 - confidence of each cue). Cuts above
`action_confidence` bound actions; weaker ones only bound segments, the finest level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.signal import find_peaks

from lerobot_wallwm.processors.motion.kinematics import Kinematics, KinematicsConfig, kinematics
from lerobot_wallwm.processors.segment.tracks import BASE, drives, moves, part_episode, parts_of
from lerobot_wallwm.processors.source.episodes import ACTION, Episode
from lerobot_wallwm.storage.errors import check_fields


@dataclass
class SegmenterConfig:
    """Parameters of `EventSegmenter`. Times are seconds, so one setting serves 10 to 80 Hz."""

    # Shortest event.
    min_event_s: float = 0.15
    # Proposals closer than this are one cut.
    merge_s: float = 0.15
    # A pause is slower than this part of the slower of the two motions around it.
    pause_ratio: float = 0.5
    # A stroke shorter than this part of the episode's longest is a tap, whose pauses bound segments rather than actions.
    tap_ratio: float = 0.15
    # Penalty of a change point, as seconds of unit-direction motion: larger finds fewer.
    change_penalty_s: float = 0.15
    # Least confidence of a cut between actions.
    action_confidence: float = 0.4
    # Least confidence of a cut between segments.
    segment_confidence: float = 0.25

    def __post_init__(self) -> None:
        """Refuses values out of range, naming the flag."""
        above = ("min_event_s", "merge_s", "pause_ratio", "tap_ratio", "change_penalty_s")
        check_fields(self, "segmenter", "above 0", lambda value: value > 0, *above)
        segment, action = self.segment_confidence, self.action_confidence
        if not 0 <= segment <= action <= 1:
            what = f"--segmenter.segment_confidence={segment} and action_confidence={action}"
            fix = "Fix: leave them out for the defaults"
            raise ValueError(f"{what} must satisfy 0 <= segment <= action <= 1. {fix}")


@dataclass(frozen=True)
class Cut:
    """A boundary: the first frame of the event after it, its level (action or segment), confidence, cue, and whose it is.

    `part` is empty for a robot of one part; see `tracks`.
    """

    frame: int
    level: str
    confidence: float
    source: str
    part: str = ""


CUT_FIELDS = ("frame", "level", "confidence", "source", "part")


@dataclass(frozen=True)
class Segmentation:
    """The cuts of one episode, in time order, without its two ends."""

    length: int
    cuts: tuple[Cut, ...] = field(default=())

    def frames(self, level: str = "action") -> list[int]:
        """Interior boundaries at a level; a boundary between actions also bounds segments."""
        return sorted({cut.frame for cut in self.cuts if level == "segment" or cut.level == "action"})


# Our choice of how far to trust a cue on its own.
_SWITCH, _SWITCH_END = 0.95, 0.8
# A turn is slower than this part of the motion around it.
_TURN = 0.6
# Of the fast speed; slower motion has less of a direction.
_SLOW = 0.25
# A turn within this time, seconds, is a change of what the arm does rather than a curve; it counts by up to so many times.
_AT_ONCE_S, _MOST_ABRUPT = 0.1, 1.5
_PRIORITY = {"gripper": 4, "pause": 3, "change": 2, "contact": 1, "touch": 0}


class EventSegmenter:
    """Finds the cuts of an episode.

    `segmenter(episode)` returns a `Segmentation`. As a transform of an episodes-as-rows `datasets.Dataset`
    (`SourceDataset.to_hf()`), `ds.map(segmenter, batched=True)` adds the columns `cut_frame`, `cut_level`,
    `cut_confidence`, `cut_source` and `cut_part`, each a list per episode; `EventCaptioner` reads them.
    `kinematics` says how state and action are read; give the captioner the same.
    """

    def __init__(
        self, config: SegmenterConfig | None = None, kinematics: KinematicsConfig | None = None
    ) -> None:
        self.config = config or SegmenterConfig()
        self.kinematics = kinematics or KinematicsConfig()

    def __call__(self, item: Episode | Mapping[str, list]) -> Any:
        """See the class."""
        if isinstance(item, Episode):
            return self.segment(item)
        rows = (dict(zip(item.keys(), values, strict=True)) for values in zip(*item.values(), strict=True))
        found = [self.segment(Episode.from_row(row)).cuts for row in rows]
        columns = {
            f"cut_{name}": [[getattr(cut, name) for cut in cuts] for cuts in found] for name in CUT_FIELDS
        }
        return {**item, **columns}

    def min_frames(self, fps: float) -> int:
        """Frames of the shortest event at this rate."""
        return max(2, round(self.config.min_event_s * fps))

    def segment(self, episode: Episode) -> Segmentation:
        """Finds the cuts of one episode of T frames.

        Returns:
            Cuts strictly inside (0, T), each at least `min_event_s` from the next and from both ends.

        Raises:
            ValueError: If the episode is shorter than one event.
        """
        least = self.min_frames(episode.fps)
        total = len(episode)
        if total < least:
            raise ValueError(f"episode {episode.index} has {total} {ACTION} frames; an event needs {least}")
        parts = parts_of(episode)
        if len(parts) > 1:
            found = [replace(cut, part=part) for part in parts for cut in self._of_part(episode, part)]
            return Segmentation(
                total, tuple(sorted(found, key=lambda cut: (cut.frame, parts.index(cut.part))))
            )
        motion = kinematics(episode, self.kinematics)
        proposals = self._switches(motion) + self._contacts(motion)
        proposals += self._pauses(motion) + self._changes(motion, least)
        merged = self._merge(proposals, motion.frames(self.config.merge_s))
        kept: list[tuple[int, float, str]] = []
        # The surest first: a weak proposal next to a sure one gives way.
        for frame, confidence, source in sorted(merged, key=lambda p: (-p[1], -_PRIORITY[p[2]], p[0])):
            sure, inside = confidence >= self.config.segment_confidence, least <= frame <= total - least
            if sure and inside and all(abs(frame - k[0]) >= least for k in kept):
                kept.append((frame, confidence, source))
        cuts = []
        for frame, confidence, source in sorted(kept):
            level = "action" if confidence >= self.config.action_confidence else "segment"
            cuts.append(Cut(frame, level, round(confidence, 4), source))
        return Segmentation(total, tuple(cuts))

    def _of_part(self, episode: Episode, part: str) -> Sequence[Cut]:
        """The cuts of one part of a robot, such as an arm of two."""
        if not moves(episode, part):
            return ()
        own = part_episode(episode, part)
        if part == BASE:
            return [Cut(start, "action", _SWITCH, "base") for start, _, _ in drives(own) if start]
        return EventSegmenter(self.config, self.kinematics).segment(own).cuts

    def _switches(self, motion: Kinematics) -> list[tuple[int, float, str]]:
        starts = [(switch.start, _SWITCH, "gripper") for switch in motion.switches]
        ends = (_departure(motion, switch.start, switch.end) for switch in motion.switches)
        return starts + [(end, _SWITCH_END, "gripper") for end in ends]

    def _contacts(self, motion: Kinematics) -> list[tuple[int, float, str]]:
        """Where contact begins and ends. While the gripper closes or opens it confirms that, and adds no cut of its own."""
        near, found = motion.frames(self.config.merge_s), []
        for contact in motion.contacts:
            for frame, closing in ((contact.start, True), (contact.end, False)):
                if not 0 < frame < len(motion.speed):
                    continue
                own = [s for s in motion.switches if s.start - near <= frame <= s.end + near]
                if not own:
                    found.append((frame, contact.confidence, "touch" if contact.gripper < 0 else "contact"))
                for switch in (s for s in own if s.closing == closing):
                    # A hold begins at the end of a closing and ends at the start of an opening.
                    at = _departure(motion, switch.start, switch.end) if closing else switch.start
                    found.append((at, contact.confidence, "contact"))
        return found

    def _pauses(self, motion: Kinematics) -> list[tuple[int, float, str]]:
        """Minima of speed between two faster motions; in a standstill, the frame at which motion starts again."""
        speed = motion.speed
        valleys, _ = find_peaks(-np.concatenate([[speed.max()], speed, [speed.max()]]))
        found = []
        strokes = [[_stroke(speed, valley, step) for valley in valleys - 1] for step in (-1, 1)]
        longest = max((way for side in strokes for _, way in side), default=0.0)
        for valley, left, right in zip(valleys - 1, *strokes, strict=True):
            around, way = min(left[0], right[0]), min(left[1], right[1])
            if around < 0.1 or speed[valley] > self.config.pause_ratio * around:
                continue
            depth = 1 - speed[valley] / max(around, 1e-9)
            frame = _rest(motion, int(valley), around) if depth > 0.8 else _sharpen(motion, int(valley))
            # Between two slow motions, or beside a mere tap, a dip is less of an event: people move in many small strokes.
            size = min(1.0, around / 0.4) * float(np.clip(way / (self.config.tap_ratio * longest), 0.3, 1.0))
            found.append((frame, 0.8 * depth * size, "pause"))
        return found

    def _changes(self, motion: Kinematics, least: int) -> list[tuple[int, float, str]]:
        """Change points of the direction of motion; standing still is a direction of its own (zero)."""
        import ruptures  # takes a second to import, which `wallwm --help` should not

        if len(motion.speed) < 2 * least or motion.velocity.shape[1] == 0:
            return []
        norm = np.linalg.norm(motion.smooth, axis=1, keepdims=True)
        top = max(float(np.quantile(norm, 0.9)), 1e-9)
        heading = motion.smooth / np.maximum(norm, _SLOW * top)
        unsmoothed = motion.velocity / np.maximum(
            np.linalg.norm(motion.velocity, axis=1, keepdims=True), _SLOW * top
        )
        near = motion.frames(_AT_ONCE_S)
        penalty = self.config.change_penalty_s * motion.fps
        detector = ruptures.KernelCPD(kernel="linear", min_size=least, jump=1).fit(heading)
        bounds = [0, *detector.predict(pen=penalty)]
        found = []
        for start, frame, end in zip(bounds, bounds[1:], bounds[2:], strict=False):
            before, after = heading[start:frame], heading[frame:end]
            weight = len(before) * len(after) / (len(before) + len(after))
            turn = float(np.linalg.norm(before.mean(0) - after.mean(0)))
            gain = (
                weight
                * turn**2
                * min(_MOST_ABRUPT, _turned_at_once(unsmoothed, (start, frame, end), near) / max(turn, 1e-9))
            )
            found.append((int(frame), 0.9 * (1 - np.exp(-gain / (3 * penalty))), "change"))
        return found

    def _merge(self, proposals: list[tuple[int, float, str]], window: int) -> list[tuple[int, float, str]]:
        """Joins proposals within `window` frames: the best cue gives the frame, all cues add to the confidence."""
        rest = sorted(proposals, key=lambda p: (-_PRIORITY[p[2]], -p[1], p[0]))
        merged = []
        while rest:
            frame, _, source = rest[0]
            near = [p for p in rest if abs(p[0] - frame) <= window]
            # One cue may propose several frames here; it still counts once.
            best = {s: max(p[1] for p in near if p[2] == s) for s in {p[2] for p in near}}
            if len(best) > 1:
                best.pop("touch", None)  # a touch says when, not that another action begins
            merged.append((frame, float(1 - np.prod([1 - c for c in best.values()])), source))
            rest = [p for p in rest if p not in near]
        return merged


def _turned_at_once(heading: np.ndarray, span: tuple[int, int, int], near: int) -> float:
    """The greatest change of direction within `2 near` frames, at most `near` from the middle of `span` and inside it."""
    start, middle, end = span
    frames = range(max(start + 1, middle - near), min(end - 1, middle + near) + 1)
    turns = (
        heading[max(start, t - near) : t].mean(0) - heading[t : min(end, t + near)].mean(0) for t in frames
    )
    return max((float(np.linalg.norm(turn)) for turn in turns), default=0.0)


def _departure(motion: Kinematics, start: int, end: int) -> int:
    """The frame at which the arm leaves after a gripper switch; `end` where it never stood still."""
    speed = motion.speed
    stop = min(len(speed), max(end, start + 1) + motion.frames(1.0))
    quiet = [t for t in range(start, stop) if speed[t] <= motion.still]
    if not quiet:
        slow = start + int(np.argmin(speed[start : max(end, start + 1)]))
        # Never at rest. It may have turned around in the second half of the switch, clearly slower than before and after.
        around = min(speed[max(0, start - motion.frames(0.1)) : slow + 1].max(), speed[slow:stop].max())
        turned = speed[slow] <= max(0.3, _TURN * around) and (start + end) / 2 <= slow < end - 1
        return _onset(motion, slow) if turned else end
    frame = quiet[0]
    while frame < stop and speed[frame] <= motion.still:
        frame += 1
    return _onset(motion, frame - 1) if frame < len(speed) else end


def _onset(motion: Kinematics, frame: int) -> int:
    """The start of the motion after a rest that ends at about `frame`: sharp where the motion starts with a jerk."""
    soon = min(len(motion.speed) - 1, frame + motion.frames(0.15, least=2))
    return _sharpen(motion, frame) if motion.speed[soon] > 0.5 else frame


def _rest(motion: Kinematics, valley: int, around: float) -> int:
    """Where to cut in a pause: in the middle of a short one; where motion starts again after a standstill."""
    speed = motion.speed
    limit = max(speed[valley] + 0.05 * around, motion.still * min(around, 1.0))
    left = right = valley
    while left > 0 and speed[left - 1] <= limit:
        left -= 1
    while right + 1 < len(speed) and speed[right + 1] <= limit:
        right += 1
    return _onset(motion, right) if right - left > motion.frames(0.2) else round((left + right) / 2)


def _stroke(speed: np.ndarray, valley: int, step: int) -> tuple[float, float]:
    """Highest speed and distance of the motion on one side of a valley, until it is as slow as the valley again."""
    peak, way, frame = float(speed[valley]), 0.0, valley + step
    while 0 <= frame < len(speed) and speed[frame] >= speed[valley]:
        peak, way = max(peak, float(speed[frame])), way + float(speed[frame])
        frame += step
    return peak, way


def _sharpen(motion: Kinematics, frame: int) -> int:
    """Moves a cut by up to 0.1 s to where the mean velocity before and after differ most."""
    half = motion.frames(0.2, least=2)
    reach = motion.frames(0.1, least=2)
    best, best_gain = frame, -1.0
    for t in range(max(1, frame - reach), min(len(motion.velocity) - 1, frame + reach) + 1):
        before, after = motion.velocity[max(0, t - half) : t], motion.velocity[t : t + half]
        gain = float(((before.mean(0) - after.mean(0)) ** 2).sum())
        if gain > best_gain + 1e-12:
            best, best_gain = t, gain
    return best
