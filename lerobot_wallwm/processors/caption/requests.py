# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Which events one request asks about, and which frames it shows.

A short episode is one request. A longer one is an overview (its task and subtasks) and parts of neighbouring actions
with their segments. A segment that is the whole of its action takes the action's caption and is not asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import batched

from lerobot_wallwm.processors.source.events import LEVELS, Event

_LETTER = {"task": "T", "subtask": "S", "action": "A", "segment": "G"}


@dataclass(frozen=True)
class Span:
    """An event under its name in a request: T1, S1, S2, A1, ..., G1, ..., counted from 1 within its episode."""

    id: str
    event: Event


@dataclass(frozen=True)
class CaptionRequest:
    """What one request asks.

    Attributes:
        spans: The events to caption, coarse levels first, then in time order.
        context: Enclosing events that are told but not asked about.
        frames: Frames to show, ascending, counted from the episode's first.
        leaves: The finest asked spans, in time order; each holds at least one of `frames`.
    """

    episode_index: int
    spans: tuple[Span, ...]
    context: tuple[Span, ...]
    frames: tuple[int, ...]
    leaves: tuple[Span, ...]

    @property
    def ids(self) -> list[str]:
        """Names of the spans, in order."""
        return [span.id for span in self.spans]

    def starts_at(self, frame: int) -> str:
        """The coarsest level at which an event starts at a frame, or empty."""
        starting = [s.event.level for s in (*self.context, *self.spans) if s.event.start == frame]
        return min(starting, key=LEVELS.index, default="")

    def leaf_of(self, frame: int) -> Span | None:
        """The leaf that holds a frame."""
        return next((s for s in self.leaves if s.event.start <= frame < s.event.end), None)


def shared_captions(events: Sequence[Event]) -> dict[int, int]:
    """Segments that are the whole of their action: `event_id` of the segment to that of the action."""
    length = {e.event_id: e.length for e in events if e.level == "action"}
    segments = (e for e in events if e.level == "segment")
    return {e.event_id: e.parent for e in segments if length.get(e.parent) == e.length}


def plan_requests(events: Sequence[Event], max_spans: int, max_frames: int) -> list[CaptionRequest]:
    """The requests of one episode's events, all levels, with so many spans and (at least as many) frames at most each.

    Every event occurs once, except those in `shared_captions`.
    """
    shared = shared_captions(events)
    levels: dict[str, list[Span]] = {}
    for level in LEVELS:
        own = sorted((e for e in events if e.level == level), key=lambda e: e.start)
        levels[level] = [Span(f"{_LETTER[level]}{i}", e) for i, e in enumerate(own, 1)]
    segments = [s for s in levels["segment"] if s.event.event_id not in shared]
    every = [*levels["task"], *levels["subtask"], *levels["action"], *segments]
    if not every:
        return []
    by_id = {s.event.event_id: s for level in levels.values() for s in level}
    if len(every) <= max_spans:
        return [_request(every, by_id, max_frames)]
    groups = list(batched([*levels["task"], *levels["subtask"]], max_spans))
    details: tuple[Span, ...] = ()
    for action in levels["action"]:
        unit = [action, *(s for s in segments if s.event.parent == action.event.event_id)]
        if details and len(details) + len(unit) > max_spans:
            groups.append(details)
            details = ()
        *full, details = batched([*details, *unit], max_spans)
        groups += full
    groups += [details] if details else []
    return [_request(group, by_id, max_frames) for group in groups]


def _request(spans: Sequence[Span], by_id: dict[int, Span], max_frames: int) -> CaptionRequest:
    def ordered(some: Iterable[Span]) -> tuple[Span, ...]:
        return tuple(sorted(some, key=lambda s: (LEVELS.index(s.event.level), s.event.start)))

    context: dict[str, Span] = {}
    for span in spans:
        parent = by_id.get(span.event.parent)
        while parent is not None:
            if parent not in spans:
                context[parent.id] = parent
            parent = by_id.get(parent.event.parent)
    parents = {s.event.parent for s in spans}
    leaves = sorted((s for s in spans if s.event.event_id not in parents), key=lambda s: s.event.start)
    frames = choose_frames([(s.event.start, s.event.end) for s in leaves], max_frames)
    about = ordered(spans), ordered(context.values()), tuple(frames), tuple(leaves)
    return CaptionRequest(spans[0].event.episode_index, *about)


def choose_frames(spans: Sequence[tuple[int, int]], max_frames: int) -> list[int]:
    """Frames that show every span: each gets one, and the rest goes to the span with the longest steps so far.

    A span `[s, e)` with k frames shows the middles of its k equal parts, and never two frames closer than two source
    frames. Our choice: the paper names no sampling. Spans are disjoint, and no more than `max_frames`.
    """
    count, lengths = [1] * len(spans), [end - start for start, end in spans]
    for _ in range(max_frames - len(spans)):
        steps = [length / k if k < length // 2 else 0.0 for length, k in zip(lengths, count, strict=True)]
        if not any(steps):
            break
        count[steps.index(max(steps))] += 1
    parts = zip(spans, lengths, count, strict=True)
    return sorted(s + (2 * i + 1) * length // (2 * k) for (s, _), length, k in parts for i in range(k))
