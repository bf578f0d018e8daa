# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Every event is asked about once, and every one is shown."""

from hypothesis import given, strategies as st

from lerobot_wallwm.processors.caption.requests import choose_frames, plan_requests, shared_captions
from lerobot_wallwm.processors.source.events import LEVELS, Event, validate_events


@st.composite
def event_trees(draw):
    """Events of one episode: random nested cuts, as the captioner would give them."""
    length = draw(st.integers(1, 400))
    events, parents, cuts = [], [], set()
    for level in LEVELS:
        if parents and length > 1:
            cuts |= draw(st.sets(st.integers(1, length - 1), max_size=25))
        bounds = [0, *sorted(cuts), length]
        own = []
        for start, end in zip(bounds, bounds[1:], strict=False):
            parent = next((p.event_id for p in parents if p.start <= start < p.end), -1)
            words = ("move", "move it", "move it")
            own.append(Event(len(events) + len(own) + 7, 3, level, start, end, *words, parent, 1.0, "x"))
        events, parents = events + own, own
    validate_events(events, {3: length})
    return events


@given(event_trees(), st.integers(1, 20), st.integers(0, 20))
def test_every_event_is_asked_about_once_and_shown(events, max_spans, more):
    max_frames = max_spans + more
    shared = shared_captions(events)
    requests = plan_requests(events, max_spans, max_frames)
    asked = [span.event.event_id for request in requests for span in request.spans]
    assert len(asked) == len(set(asked))
    assert set(asked) | set(shared) == {e.event_id for e in events}
    assert not set(asked) & set(shared) and set(shared.values()) <= set(asked)
    names = {}
    for request in requests:
        assert 1 <= len(request.spans) <= max_spans and 1 <= len(request.frames) <= max_frames
        assert list(request.frames) == sorted(set(request.frames))
        for leaf in request.leaves:
            level = request.starts_at(leaf.event.start)
            assert LEVELS.index(level) <= LEVELS.index(leaf.event.level)
            assert any(e.level == level and e.start == leaf.event.start for e in events)
            assert leaf in request.spans
            assert any(leaf.event.start <= f < leaf.event.end for f in request.frames)
        for span in request.spans:
            covering = [leaf for leaf in request.leaves if leaf.event.start < span.event.end]
            assert any(span.event.start < leaf.event.end for leaf in covering), "each event has a picture"
        assert not {s.id for s in request.context} & {s.id for s in request.spans}
        for span in (*request.spans, *request.context):
            assert names.setdefault(span.event.event_id, span.id) == span.id, "one name in all requests"
    assert len(set(names.values())) == len(names)


def frames_by_definition(spans, max_frames):
    """The plain version: hand out one frame after the other."""
    counts = dict.fromkeys(spans, 1)
    while sum(counts.values()) < max_frames:
        open_spans = [s for s in spans if 2 * (counts[s] + 1) <= s[1] - s[0]]
        if not open_spans:
            break
        coarsest = max(open_spans, key=lambda s: ((s[1] - s[0]) / counts[s], -s[0]))
        counts[coarsest] += 1
    places = ((span, i) for span in spans for i in range(counts[span]))
    return [int(span[0] + (i + 0.5) * (span[1] - span[0]) / counts[span]) for span, i in places]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 30))
def test_frames_equal_their_definition(lengths, more):
    bounds = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    spans = list(zip(bounds, bounds[1:], strict=False))
    frames = choose_frames(spans, len(spans) + more)
    assert frames == frames_by_definition(spans, len(spans) + more)
    assert all(b - a >= 1 for a, b in zip(frames, frames[1:], strict=False))


def test_a_short_episode_is_one_request_and_no_events_are_none():
    event = Event(0, 0, "task", 0, 1, "task", "do it", "do it", -1, 1.0, "episode")
    (request,) = plan_requests([event], 16, 24)
    assert request.ids == ["T1"] and request.frames == (0,)
    assert plan_requests([], 16, 24) == []
