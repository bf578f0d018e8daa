# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The rival of events: the same episodes cut by the clock into chunks of the events' mean length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.events import Event, read_events
from lerobot_wallwm.processors.view.carver import EventCarver


def carve_chunks(dataset: Path, events: Path, episodes: list[int], out: Path) -> int:
    """Writes a view of fixed chunks, each told its episode's instruction.

    Args:
        dataset: The source.
        events: Event table of `wallwm prepare`, for the mean length.
        episodes: Source episodes to cut.
        out: The view's folder; left alone if it exists.

    Returns:
        Frames of a chunk.
    """
    actions = [event for event in read_events(events) if event.level == "action"]
    length = round(float(np.mean([event.length for event in actions])))
    if out.exists():
        return length
    source = SourceDataset.open(dataset)
    chunks: list[Event] = []
    for position, index in enumerate(source.episode_indices):
        if index not in episodes:
            continue
        episode = source.read(position)
        for start in range(0, len(episode), length):
            chunks.append(
                Event(
                    event_id=len(chunks),
                    episode_index=index,
                    level="action",
                    start=start,
                    end=min(start + length, len(episode)),
                    label="chunk",
                    caption=episode.task,
                    template=episode.task,
                    parent=-1,
                    confidence=1.0,
                    source="clock",
                )
            )
    EventCarver("action").carve(source, chunks, out, episodes=episodes)
    return length
