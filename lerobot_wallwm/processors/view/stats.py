# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Statistics of a view's numeric features, in the layout of LeRobot's `meta/stats.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)


class NumericStats:
    """Collects the view's own rows (copies included: they are what is sampled) and summarises them once.

    Exact quantiles need all values; at float32 a million rows of 12 numbers are 48 MB.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = list(keys)
        self._parts: dict[str, list[np.ndarray]] = {key: [] for key in self.keys}

    def add(self, table: pa.Table) -> None:
        """Adds the rows of a table that has all keys as columns."""
        for key in self.keys:
            column = table.column(key)
            while pa.types.is_nested(column.type):
                column = pa.chunked_array([chunk.flatten() for chunk in column.chunks])
            values = column.to_numpy()
            self._parts[key].append(values.reshape(len(table), -1))

    def result(self) -> dict[str, dict[str, Any]]:
        """`{key: {min, max, mean, std, count, q01, q10, q50, q90, q99}}`, each a list over dimensions."""
        stats = {}
        for key, parts in self._parts.items():
            values = np.concatenate(parts).astype(np.float64)
            stats[key] = {
                "min": values.min(0).tolist(),
                "max": values.max(0).tolist(),
                "mean": values.mean(0).tolist(),
                "std": values.std(0).tolist(),
                "count": [len(values)],
            }
            for q, row in zip(QUANTILES, np.quantile(values, QUANTILES, axis=0), strict=True):
                stats[key][f"q{round(q * 100):02d}"] = row.tolist()
        return stats
