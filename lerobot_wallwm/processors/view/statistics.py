# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Statistics of a view's episodes, with the names, shapes and meaning of those that LeRobot's writer makes.

LeRobot's own functions are not called: importing them takes longer than most views take to write. A test compares the two.
Quantiles here are values that occur; LeRobot's come from 5000 bins and lie within one of them.

Shapes: T frames, D the last dimension of a feature; statistics of (T, D), (T, M, D) and (T,) values are (D,), (D,) and (1,).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.processors.source.episodes import SourceDataset
from lerobot_wallwm.processors.source.pictures import pictures
from lerobot_wallwm.storage.errors import DataError

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
# Pictures of an episode that are looked at where the source knows nothing of a camera. Our choice.
_LOOKED_AT = 8
_SIDE = 150  # pixels of their shorter side, as in LeRobot
Statistics = dict[str, dict[str, Any]]


def describe(values_ND: np.ndarray) -> dict[str, np.ndarray]:
    """`min`, `max`, `mean`, `std` and quantiles over the N rows, (D,) each; of a single row all quantiles are the mean."""
    count = len(values_ND)
    ordered = np.sort(values_ND, axis=0)
    found = {"min": ordered[0], "max": ordered[-1], "mean": values_ND.mean(0), "std": values_ND.std(0)}
    for q in QUANTILES:
        found[f"q{round(q * 100):02d}"] = ordered[max(int(np.ceil(q * count)), 1) - 1]
    return found


def columns_of(values: np.ndarray) -> np.ndarray:
    """A feature's values (T, ...) as rows (N, D)."""
    return values.reshape(len(values), -1) if values.ndim < 2 else values.reshape(-1, values.shape[-1])


def numbers_of(column: pa.ChunkedArray, feature: Mapping[str, Any]) -> np.ndarray:
    """A column of numbers as (rows, *shape), (rows,) for a single number a row."""
    rows = len(column)
    while True:
        if isinstance(column.type, pa.BaseExtensionType):
            column = pa.chunked_array([chunk.storage for chunk in column.chunks])
        if not pa.types.is_nested(column.type):
            break
        column = pa.chunked_array([chunk.flatten() for chunk in column.chunks])
    shape = [int(size) for size in feature.get("shape") or ()]
    flat = column.to_numpy()
    return flat if len(flat) == rows and shape in ([], [1]) else flat.reshape(rows, *shape)


def episode_statistics(values: Mapping[str, np.ndarray]) -> Statistics:
    """Statistics of one episode's numbers, ``{feature: (T, ...) float64}``."""
    parts = {key: columns_of(value) for key, value in values.items()}
    found: Statistics = {}
    # Features with a row a frame are sorted together: one call instead of a dozen.
    for rows in {len(part) for part in parts.values()}:
        keys = [key for key, part in parts.items() if len(part) == rows]
        both = describe(np.concatenate([parts[key] for key in keys], axis=1))
        edges = np.cumsum([parts[key].shape[1] for key in keys])[:-1]
        split = {name: np.split(value, edges) for name, value in both.items()}
        for i, key in enumerate(keys):
            found[key] = {name: value[i].tolist() for name, value in split.items()}
            found[key]["count"] = [len(values[key])]
    return {key: found[key] for key in values}


def overall_statistics(values: Mapping[str, list[np.ndarray]], frames: int) -> Statistics:
    """Statistics of all episodes' numbers, each feature in parts (N, D); the quantiles are exact, between two values."""
    stats: Statistics = {}
    for key, parts in values.items():
        whole = np.concatenate(parts).astype(np.float64)
        stats[key] = {name: getattr(whole, name)(0).tolist() for name in ("min", "max", "mean", "std")}
        stats[key]["count"] = [frames]
        for q, row in zip(QUANTILES, np.quantile(whole, QUANTILES, axis=0), strict=True):
            stats[key][f"q{round(q * 100):02d}"] = row.tolist()
    return stats


def picture_count(frames: int) -> int:
    """How many pictures of an episode LeRobot's writer would have looked at: what its statistics weigh."""
    return min(frames, max(100, min(int(frames**0.75), 10_000)))


def stored_statistics(source: SourceDataset) -> Statistics:
    """The dataset's `meta/stats.json`; empty where there is none.

    Raises:
        DataError: It is no JSON.
    """
    path = source.root / "meta" / "stats.json"
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, json.JSONDecodeError) as error:
        fix = "record the dataset again, or restore its meta/stats.json"
        raise DataError(path, "file", f"cannot be read ({error})", fix) from error
    return found if isinstance(found, dict) else {}


class CameraStatistics:
    """Statistics of pictures: an event has those of its recording, for its pictures are some of that recording's.

    They come from the recording's row in `meta/episodes`, else from `meta/stats.json`, else from pictures.

    Attributes:
        whole: Of the dataset, by camera; a camera that neither file knows is absent.
    """

    def __init__(self, source: SourceDataset) -> None:
        self.source = source
        stored = stored_statistics(source)
        self.whole = {key: stored[key] for key in source.all_cameras if stored.get(key)}
        self._of: dict[int, Statistics] = {}
        for file in sorted((source.root / "meta" / "episodes").glob("*/*.parquet")):
            self._read(file)

    @property
    def unknown(self) -> list[str]:
        """Cameras that show colours of which the dataset's files say nothing."""
        return [key for key in self.source.camera_keys if key not in self.whole]

    def __call__(self, meta: dict[str, Any]) -> Statistics:
        """Of one recording, by camera."""
        found = self.whole | self._of.get(meta["episode_index"], {})
        return found | {key: self._look(meta, key) for key in self.source.camera_keys if key not in found}

    def of_all(self, used: Mapping[int, Statistics]) -> Statistics:
        """Of the whole view: the dataset's, and of a camera that it knows nothing of, what was seen of `used` recordings."""
        found = dict(self.whole)
        for key in self.source.all_cameras:
            seen = [own[key] for own in used.values() if key in own]
            if key not in found and seen:
                found[key] = _joined(seen)
        return found

    def _read(self, file: Any) -> None:
        try:
            names = pq.read_schema(file).names
            wanted = [
                n for n in names if n.startswith("stats/") and n.split("/")[1] in self.source.all_cameras
            ]
            rows = pq.read_table(file, columns=["episode_index", *wanted]).to_pylist() if wanted else []
        except (OSError, pa.ArrowException):
            return  # `SourceDataset.open` has said so
        for row in rows:
            own: Statistics = {}
            for name in wanted:
                _, camera, part = name.split("/")
                if row[name] is not None:
                    own.setdefault(camera, {})[part] = row[name]
            self._of[row["episode_index"]] = {
                k: v for k, v in own.items() if {"mean", "std", "count"} <= v.keys()
            }

    def _look(self, meta: dict[str, Any], camera: str) -> dict[str, Any]:
        frames = np.unique(np.linspace(0, meta["length"] - 1, _LOOKED_AT).round().astype(int)).tolist()
        seen = np.stack(list(pictures(self.source, meta, camera, frames)))
        step = max(1, min(seen.shape[1:3]) // _SIDE)
        pixels = seen[:, ::step, ::step].reshape(-1, seen.shape[-1]) / 255.0
        found = {name: value.reshape(-1, 1, 1).tolist() for name, value in describe(pixels).items()}
        return found | {"count": [len(seen)]}


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of several recordings as those of all, weighted by their counts as LeRobot does it."""
    count = np.array([part["count"][0] for part in parts], dtype=np.float64)
    weight = (count / count.sum()).reshape(-1, 1, 1, 1)
    stacked = {name: np.array([part[name] for part in parts]) for name in parts[0] if name != "count"}
    found = {name: (value * weight).sum(0) for name, value in stacked.items()}
    spread = stacked["std"] ** 2 + (stacked["mean"] - found["mean"]) ** 2
    found |= {
        "std": np.sqrt((spread * weight).sum(0)),
        "min": stacked["min"].min(0),
        "max": stacked["max"].max(0),
    }
    return {name: value.tolist() for name, value in found.items()} | {"count": [int(count.sum())]}
