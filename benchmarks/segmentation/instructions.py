# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Instructions of public datasets read into objects and targets, by set of the table that the tests read.

Sets: `E` failed once, `kind` are more of their kinds, `public` was seen while the rules were written. `heldout` and
`heldout2` were collected after the rules stood and failed on 6 of 40 and 5 of 34, which were mended since; `invented` ones of the same
kinds, later, on 3 of 48.
"""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator

from benchmarks.harness.repo import REPO
from benchmarks.harness.rows import Row, Share
from lerobot_wallwm.language.reading import read

TABLE = REPO / "tests" / "language" / "instructions.tsv"


def rows(args: Namespace) -> Iterator[Row]:
    found: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        name, text, told = line.split("\t")
        steps = [] if told == "?" else [tuple((step.split(" > ") + [""])[:2]) for step in told.split("; ")]
        got = [(step.object, step.target) for step in read(text).steps]
        whole, objects, targets = (
            got == steps,
            *([[pair[i] for pair in some] for some in (got, steps)] for i in (0, 1)),
        )
        found[name].append((whole, objects[0] == objects[1], targets[0] == targets[1]))
    for name, results in found.items():
        columns = zip(("whole", "objects", "targets"), zip(*results, strict=True), strict=True)
        shares = {what: Share(sum(right), len(results)) for what, right in columns}
        yield Row("instructions", {"set": name, **shares})
