# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`captions.parquet`: where each caption is from, and the kinematic caption beside it, so that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.storage.atomic import replacing

SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.int64(), nullable=False),
        pa.field("episode_index", pa.int64(), nullable=False),
        pa.field("level", pa.string(), nullable=False),
        pa.field("caption_source", pa.string(), nullable=False),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("kinematic_caption", pa.string(), nullable=False),
        pa.field("fallback_reason", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("request", pa.string(), nullable=False),
        pa.field("attempts", pa.int64(), nullable=False),
    ],
    metadata={"wallwm_captions_version": "1"},
)


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """Provenance of one event's caption.

    Attributes:
        event_id: The event.
        episode_index: Its source episode.
        level: Its level.
        caption_source: `vlm` or `kinematic`.
        caption: The caption in the event table.
        kinematic_caption: What the kinematic captioner said.
        fallback_reason: Why the caption is kinematic (`timeout`, `http_500`, `schema`, ...); empty for `vlm`.
        model: The model that was asked.
        request: SHA-256 of the prompt, the name of its answer in the cache; empty if no prompt could be made.
        attempts: How often the request was sent; 0 if it never was.
    """

    event_id: int
    episode_index: int
    level: str
    caption_source: str
    caption: str
    kinematic_caption: str
    fallback_reason: str
    model: str
    request: str
    attempts: int


def write_records(records: Iterable[CaptionRecord], path: str | Path) -> None:
    """Writes the table, one row per event; the file appears whole or not at all."""
    rows = [asdict(record) for record in records]
    table = pa.table({name: [row[name] for row in rows] for name in SCHEMA.names}, schema=SCHEMA)
    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")
