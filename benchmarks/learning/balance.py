# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Does balance help? Trains nano on a skewed mixture with and without balancing; errors on rare events and overall.

    python benchmarks/balance_study.py --steps 400 --seeds 0 1 2 --jobs 2

The mixture: of the committed SO-101 training demonstrations all with the commonest object are kept, and `--keep` of each
other object. Both views hold the same events; in the balanced one `balance_events` (clusters, weights, copies, as in
`wallwm prepare --balance=true`) says how often. It is told nothing about objects. Steps, batches and seeds are the same, so
a balanced run sees common events less often. Errors are mean absolute errors of the actions on held-out demonstrations, in
degrees (gripper 0 to 100) with the true caption and without imagination: `near` over the next 8 steps inside the event,
`event` over its rest. Rare are all events of demonstrations with another object than the commonest. Each run is a process of
its own with one thread; a run that is done is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.study import parse_study, result_path, run_all, study_parser, write_table
from benchmarks.learning.table import paired, spread
from benchmarks.learning.variants import Variant

VIEWS = ("plain", "balanced")
FIGURES = ("rare, near", "rare, event", "common, near", "common, event", "all, near", "all, event")


def main() -> None:
    """The command line."""
    parser = study_parser(__doc__, "balance_study", "VIEW")
    parser.add_argument("--keep", type=int, default=2, help="training demonstrations of each rare object")
    parser.add_argument("--growth", type=float, default=6.0, help="rows of the balanced view in plain ones")
    parser.add_argument("--observations", type=int, default=240, help="held-out ones, at most")
    args = parse_study(parser)
    if args.run:
        _one(args)
        return
    mixture = _prepare(args)
    write_table(
        args,
        table(
            mixture,
            run_all("benchmarks.learning.balance", args, VIEWS, ["--observations", str(args.observations)]),
        ),
    )


def skew(objects: dict[int, str], keep: int) -> tuple[str, list[int]]:
    """The commonest object, and the demonstrations that the mixture keeps: all of it, the first `keep` of each other.

    Args:
        objects: Training demonstration to the object of its instruction.
        keep: Demonstrations of each rare object.
    """
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


def table(mixture: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    """The mixture in words and a Markdown table of both views."""
    lines = [
        f"{mixture['events']} training events of {mixture['episodes']} demonstrations, commonest object "
        f"`{mixture['common']}`. Share of rare objects' rows: plain {mixture['rare_share']['plain']:.3f}, balanced "
        f"{mixture['rare_share']['balanced']:.3f}.",
    ]
    for name in ("vl", "action"):
        f = mixture["balance"][name]
        lines.append(
            f"{name}: {f['clusters']} clusters, Gini {f['gini_before']:.3f} -> {f['gini_after']:.3f}, entropy "
            f"{f['entropy_before']:.3f} -> {f['entropy_after']:.3f}, rarest tenth {f['rarest_decile_gain']:.1f} x."
        )
    lines += [
        "",
        "| error | plain | balanced | balanced against plain (seeds that agree) |",
        "|---|---|---|---|",
    ]
    by_view = {view: {r["seed"]: r["errors"] for r in runs if r["view"] == view} for view in VIEWS}
    for figure in FIGURES:
        values = {view: {s: e[figure] for s, e in seeds.items()} for view, seeds in by_view.items()}
        cells = [spread(list(values[view].values())) if values[view] else "" for view in VIEWS]
        lines.append(f"| {figure} | {' | '.join(cells)} | {paired(values['balanced'], values['plain'])} |")
    return "\n".join(lines)


def _prepare(args: argparse.Namespace) -> dict[str, Any]:
    """The views `heldout`, `plain` and `balanced`, and what they hold; left alone if they exist."""
    from benchmarks.learning.one_run import write_result
    from benchmarks.learning.windows_in_memory import WindowsInMemory
    from lerobot_wallwm.language.instruction import parse_instruction
    from lerobot_wallwm.policies.configuration_wallwm import WallwmConfig
    from lerobot_wallwm.processors.balance.balancer import BalancerConfig
    from lerobot_wallwm.processors.balance.clusterer import ClusterConfig
    from lerobot_wallwm.processors.balance.embedder import EventEmbedder
    from lerobot_wallwm.processors.balance.stage import balance_events
    from lerobot_wallwm.processors.prepare.config import PrepareConfig
    from lerobot_wallwm.processors.prepare.prepare import prepare
    from lerobot_wallwm.processors.source.episodes import SourceDataset
    from lerobot_wallwm.processors.source.events import read_events
    from lerobot_wallwm.processors.source.split import split_episodes
    from lerobot_wallwm.processors.view.carver import EventCarver
    from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

    facts = args.out / "mixture.json"
    if not facts.exists():
        whole = args.out / "events"
        if not whole.exists():
            prepare(PrepareConfig(DatasetConfig(root=args.dataset), OutputConfig(root=whole), heldout=0.2))
        source = SourceDataset.open(args.dataset)
        objects = {
            episode: parse_instruction(source.read(i).task)["object"]
            for i, episode in enumerate(source.episode_indices)
        }
        train, _ = split_episodes(source.episode_indices, 0.2, 0)
        common, kept = skew({episode: objects[episode] for episode in train}, args.keep)
        events = [event for event in read_events(whole / "events.parquet") if event.level == "action"]
        events = [event for event in events if event.episode_index in set(kept)]
        balance = balance_events(
            EventEmbedder(),
            source,
            events,
            kept,
            args.out,
            ClusterConfig(),
            BalancerConfig(growth=args.growth),
        )
        rare_share = {}
        for view, copies in (("plain", {}), ("balanced", balance.copies)):
            if not (args.out / view).exists():
                EventCarver().carve(source, events, args.out / view, copies=copies)
            rows = np.array([event.length * copies.get(event.event_id, 1) for event in events])
            rare = np.array([objects[event.episode_index] != common for event in events])
            rare_share[view] = float(rows[rare].sum() / rows.sum())
        mixture = {
            "keep": args.keep,
            "common": common,
            "episodes": len(kept),
            "events": len(events),
            "rare_share": rare_share,
            "balance": balance.figures(),
            "rare_episodes": [episode for episode, name in objects.items() if name != common],
        }
        write_result(facts, mixture)
    mixture = json.loads(facts.read_text())
    if mixture["keep"] != args.keep:
        raise SystemExit(
            f"{args.out} holds a mixture with --keep {mixture['keep']}. Fix: choose another --out"
        )
    config = WallwmConfig(push_to_hub=False)
    deltas = config.observation_delta_indices, config.action_delta_indices
    for view in (args.out / "plain", args.out / "balanced", args.out / "events/heldout"):
        WindowsInMemory(view, args.out / "frames", *deltas)
    return mixture


def _one(args: argparse.Namespace) -> None:
    import torch

    from benchmarks.learning.one_run import Places, train, write_result

    torch.set_num_threads(1)
    view, seed = args.run[0], int(args.run[1])
    root = args.out / "checkpoints" / f"{view}-{seed}-{args.steps}x{args.batch}"
    places = Places(
        {name: args.out / name for name in VIEWS},
        args.out / "events/heldout",
        args.out / "frames",
        Path(),
        {},
        root.parent,
    )
    trained = train(Variant(view, "", view=view), seed, args.steps, args.batch, places, root)
    rare = set(json.loads((args.out / "mixture.json").read_text())["rare_episodes"])
    errors = score(root, places, rare, args.observations)
    write_result(result_path(args, view, seed), {"view": view, "seed": seed, **trained, "errors": errors})


def score(root: Path, places: Any, rare_episodes: set[int], at_most: int) -> dict[str, float]:
    """Errors of a checkpoint on held-out events; see the head of the file."""
    from benchmarks.learning.one_run import heldout_observations, next_steps
    from lerobot_wallwm.check.measure.checkpoint import Checkpoint
    from lerobot_wallwm.check.measure.observations import mean_absolute, predict

    checkpoint = Checkpoint(root)
    checkpoint.config.imagination = "none"
    view, _, seen = heldout_observations(checkpoint, places, at_most)
    sources = view.meta.episodes["wallwm/source_episode"]
    actions = predict(checkpoint, seen).actions
    rare = np.array([int(sources[anchor.event]) in rare_episodes for anchor in seen.anchors])
    near = next_steps(seen.valid)
    errors = {}
    for name, chosen in (("rare", rare), ("common", ~rare), ("all", np.ones_like(rare))):
        for reach, valid in (("near", near), ("event", seen.valid)):
            errors[f"{name}, {reach}"] = mean_absolute(actions - seen.true, valid & chosen[:, None])
    return errors


if __name__ == "__main__":
    main()
