# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What a benchmark yields: rows of named tables, whose cells know their spread or their counts."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


class CannotRunError(RuntimeError):
    """A benchmark lacks something; the message says what, and how to get it."""


@dataclass(frozen=True)
class Spread:
    """Median with the 10th and 90th percentile of repeated measurements."""

    median: float
    p10: float
    p90: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        p10, median, p90 = np.percentile(values, (10, 50, 90))
        return cls(float(median), float(p10), float(p90), len(values))

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.p10)} to {number(self.p90)})"

    def json(self) -> dict[str, float]:
        return {"median": self.median, "p10": self.p10, "p90": self.p90, "count": self.count}


@dataclass(frozen=True)
class Share:
    """Hits out of so many tries, with the Wilson interval of 95 %."""

    hits: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound in [0, 1]; all of it without tries."""
        from scipy.stats import binomtest

        if not self.of:
            return 0.0, 1.0
        bounds = binomtest(self.hits, self.of).proportion_ci(method="wilson")
        return float(bounds.low), float(bounds.high)

    def __str__(self) -> str:
        if not self.of:
            return "0/0"
        low, high = self.interval
        return f"{self.hits}/{self.of} ({100 * low:.0f} to {100 * high:.0f} %)"

    def json(self) -> dict[str, Any]:
        return {"hits": self.hits, "of": self.of, "interval_95": self.interval}


@dataclass(frozen=True)
class Mean:
    """Mean of a few values (seeds, episodes) with their standard deviation; 95 % bootstrap interval in the JSON."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Mean":
        return cls(tuple(map(float, values)))

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % of the mean by bootstrap; none for fewer than two different values."""
        from scipy.stats import bootstrap

        if len(set(self.values)) < 2:
            return None
        found = bootstrap((self.values,), np.mean, method="percentile", rng=np.random.default_rng(0))
        return float(found.confidence_interval.low), float(found.confidence_interval.high)

    def __str__(self) -> str:
        spread = f" ± {number(statistics.stdev(self.values))}" if len(self.values) > 1 else ""
        return number(self.mean) + spread

    def json(self) -> dict[str, Any]:
        return {"mean": self.mean, "values": self.values, "interval_95": self.interval}


@dataclass(frozen=True)
class Row:
    """One line of one table."""

    table: str  # its title
    cells: Mapping[str, Any]  # column to a `Spread`, `Share`, `Mean`, number, text or None
    passes: bool | None = None  # whether a figure that the benchmark demands was reached, if it demands one


def bar(what: str, value: float, least: float | None = None, most: float | None = None) -> Row:
    """A figure that must be reached: at least, at most, or both."""
    passes = (least is None or value >= least) and (most is None or value <= most)
    wanted = [f"{sign} {number(b)}" for sign, b in ((">=", least), ("<=", most)) if b is not None]
    return Row(
        "bars", {"what": what, "value": value, "needed": " and ".join(wanted), "passes": passes}, passes
    )


def number(value: float) -> str:
    """Four significant digits, without an exponent where that is short."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no"}.get(value, "")
    if isinstance(value, int) or float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value)}"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.{max(0, 3 - int(np.floor(np.log10(abs(value)))))}f}"
    return f"{value:.3g}" if abs(value) < 1e4 else f"{value:.0f}"


def text(cell: Any) -> str:
    if cell is None or isinstance(cell, int | float | np.number):
        return number(cell.item() if isinstance(cell, np.number) else cell)
    return str(cell)


def tables(rows: Sequence[Row], markdown: bool = False) -> str:
    """All tables in the order of their first rows, aligned for a terminal or as Markdown."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.table, []).append(row)
    return "\n\n".join(_table(title, members, markdown) for title, members in grouped.items())


def _table(title: str, rows: Sequence[Row], markdown: bool) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    body = [[text(row.cells.get(name)) for name in columns] for row in rows]
    if markdown:
        head = ["**" + title + "**", "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        body = [[cell.replace("|", "/") for cell in line] for line in body]
        return "\n".join(head + ["| " + " | ".join(line) + " |" for line in body])
    widths = [max(len(line[i]) for line in [columns, *body]) for i in range(len(columns))]
    words = [
        [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        for line in [columns, *body]
    ]
    return "\n".join([title, *("  " + "  ".join(line).rstrip() for line in words)])
