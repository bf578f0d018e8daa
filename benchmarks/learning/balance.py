# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Does balancing help? Trains nano on a skewed mixture with and without it; errors on rare events and overall.

20 minutes on two cores. The mixture: of the committed SO-101 training demonstrations all with the commonest object are
kept, and `--keep` of each other object. Both views hold the same events; in the balanced one `balance_events`
(clusters, weights, copies, as in `wallwm prepare --balance=true`) says how often. It is told nothing about objects.
Steps, batches and seeds are the same, so a balanced run sees common events less often. Rare are all events of
demonstrations with another object than the commonest.
"""

import json
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from benchmarks.harness.rows import CannotRunError, Row
from benchmarks.learning import one_run

VIEWS = ("plain", "balanced")
QUICK = one_run.QUICK


def flags(parser: ArgumentParser) -> None:
    one_run.study_flags(parser)
    parser.add_argument("--keep", type=int, default=2, help="training demonstrations of each rare object")
    parser.add_argument("--growth", type=float, default=6.0, help="rows of the balanced view in plain ones")


def skew(objects: Mapping[int, str], keep: int) -> tuple[str, list[int]]:
    """The commonest object, and the episodes that stay: all of that one, and the first `keep` of each other."""
    count = Counter(objects.values())
    common = max(sorted(count), key=count.__getitem__)
    left: Counter[str] = Counter()
    kept = []
    for episode in sorted(objects):
        name = objects[episode]
        left[name] += 1
        if name == common or left[name] <= keep:
            kept.append(episode)
    return common, kept


def rows(args: Namespace) -> Iterator[Row]:
    mixture = make_mixture(args)
    cells = {"demonstrations": mixture["episodes"], "events": mixture["events"]}
    cells["commonest"] = mixture["common"]
    shares = {f"rows of rare objects, {view}": share for view, share in mixture["rare_share"].items()}
    yield Row("mixture", {**cells, **shares})
    for name in ("vl", "action"):
        f = mixture["balance"][name]
        names = ("clusters", "gini_before", "gini_after", "entropy_before", "entropy_after")
        cells = {key: f[key] for key in names}
        yield Row("clusters", {"clustering": name, **cells, "rarest tenth, times": f["rarest_decile_gain"]})
    groups = {"rare": mixture["rare_episodes"], "common": mixture["common_episodes"]}
    heldout = args.out / "events/heldout"
    pairs = product(args.seeds, VIEWS)
    jobs = [one_run.job(args, v, seed, args.out / v, heldout, groups=groups) for seed, v in pairs]
    found = one_run.run_all(args, jobs)
    for group in ("rare", "common", "errors"):
        for view, seeds in found.items():
            cells = one_run.compared(seeds, found["plain"], ("near", "event"), group)
            title = "all objects" if group == "errors" else f"{group} objects"
            yield Row(f"{args.steps} steps of {args.batch}", {"errors of": title, "view": view, **cells})


def make_mixture(args: Namespace) -> dict[str, Any]:
    """The views `heldout`, `plain` and `balanced`, and what they hold; left alone if they exist.

    Raises:
        CannotRunError: The folder holds another mixture.
    """
    from lerobot_wallwm.language.instruction import parse_instruction
    from lerobot_wallwm.processors.balance.balancer import BalancerConfig
    from lerobot_wallwm.processors.balance.clusterer import ClusterConfig
    from lerobot_wallwm.processors.balance.embedder import EventEmbedder
    from lerobot_wallwm.processors.balance.stage import balance_events
    from lerobot_wallwm.processors.source.episodes import SourceDataset, split_episodes
    from lerobot_wallwm.processors.source.events import read_events
    from lerobot_wallwm.processors.view.carver import EventCarver

    facts = args.out / "mixture.json"
    if facts.exists():
        mixture = json.loads(facts.read_text())
        if mixture["keep"] != args.keep:
            raise CannotRunError(f"{args.out} is a mixture of --keep={mixture['keep']}. Fix: another --out")
        return mixture
    whole = one_run.prepared(args)
    source = SourceDataset.open(args.dataset)
    objects = {e.index: parse_instruction(e.task)["object"] for e in source}
    train, _ = split_episodes(source.episode_indices, 0.2, 0)
    common, kept = skew({episode: objects[episode] for episode in train}, args.keep)
    kept = kept[: args.most]
    table = read_events(whole / "events.parquet")
    events = [e for e in table if e.level == "action" and e.episode_index in set(kept)]
    growth = BalancerConfig(growth=args.growth)
    balance = balance_events(EventEmbedder(), source, events, kept, args.out, ClusterConfig(), growth)
    rare_share = {}
    for view, copies in (("plain", {}), ("balanced", balance.copies)):
        if not (args.out / view).exists():
            EventCarver().carve(source, events, args.out / view, copies=copies)
        lengths = np.array([event.length * copies.get(event.event_id, 1) for event in events])
        rare = np.array([objects[event.episode_index] != common for event in events])
        rare_share[view] = float(lengths[rare].sum() / lengths.sum())
    mixture = {
        "keep": args.keep,
        "common": common,
        "episodes": len(kept),
        "events": len(events),
        "rare_share": rare_share,
        "balance": balance.figures(),
        "rare_episodes": [episode for episode, name in objects.items() if name != common],
        "common_episodes": [episode for episode, name in objects.items() if name == common],
    }
    facts.write_text(json.dumps(mixture, indent=1))
    return mixture
