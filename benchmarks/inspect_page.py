# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Size and opening time of the inspect page of a large dataset: the demonstrations, repeated under new numbers.

python benchmarks/inspect_page.py --episodes 500      # needs the `browser` extra and a Chromium for the opening time
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lerobot_wallwm.inspect.build import InspectConfig, inspect
from lerobot_wallwm.processors.prepare.config import PrepareConfig
from lerobot_wallwm.processors.prepare.prepare import prepare
from lerobot_wallwm.storage.places import DatasetConfig, OutputConfig

DATASET = Path(__file__).resolve().parents[1] / "examples/so101_sim/data/so101_pick_place"


def grow(source: Path, out: Path, episodes: int) -> None:
    """Writes a dataset of `episodes` episodes that repeats the source's; the videos are the same files."""
    for path in source.rglob("*"):
        target = out / path.relative_to(source)
        if path.is_file() and path.suffix == ".mp4":
            target.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(path.resolve(), target)
        elif path.is_file() and path.parent.name == "meta":
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    meta = pa.concat_tables(pq.read_table(p) for p in sorted((source / "meta/episodes").glob("*/*.parquet")))
    rows = pa.concat_tables(pq.read_table(p) for p in sorted((source / "data").glob("*/*.parquet")))

    def renumbered(table: pa.Table, repeat: int) -> pa.Table:
        at = table.schema.get_field_index("episode_index")
        numbers = table.column(at).to_numpy() + repeat * len(meta)
        table = table.set_column(at, table.schema.field(at), pa.array(numbers))
        return table.filter(pa.array(numbers < episodes))

    repeats = -(-episodes // len(meta))
    for kind, table in (("meta/episodes", meta), ("data", rows)):
        path = out / kind / "chunk-000" / "file-000.parquet"
        path.parent.mkdir(parents=True)
        grown = pa.concat_tables([renumbered(table, i) for i in range(repeats)])
        for name in [n for n in grown.column_names if n.startswith("data/")]:
            at = grown.schema.get_field_index(name)
            grown = grown.set_column(at, grown.schema.field(at), pa.array([0] * len(grown), pa.int64()))
        pq.write_table(grown, path)
    info = json.loads((out / "meta/info.json").read_text())
    (out / "meta/info.json").write_text(json.dumps(info | {"total_episodes": episodes}))


def opening(page: Path) -> dict[str, float]:
    """Milliseconds from navigation until the list is there, until a frame is drawn, and until all has loaded."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        begin = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector("canvas[data-frame]")
        drawn = (time.perf_counter() - begin) * 1000
        tab.wait_for_load_state("load")
        whole = (time.perf_counter() - begin) * 1000
        ready = float(tab.evaluate("document.documentElement.dataset.ready"))
        search = """() => { const t = performance.now(); document.getElementById('search').value = 'green';
            document.getElementById('filter').dispatchEvent(new Event('change')); return performance.now() - t; }"""
        scrub = """() => { const s = document.getElementById('scrub'), t = performance.now(); for (let k = 0; k < 100; k++) {
            s.value = k; s.dispatchEvent(new Event('input')); } return (performance.now() - t) / 100; }"""
        result = {"list ready": ready, "first frame drawn": drawn, "all loaded": whole}
        result |= {"search": tab.evaluate(search), "scrub, a step": tab.evaluate(scrub)}
        browser.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--max_mb", type=float, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "grown", Path(folder) / "out"
        grow(DATASET, source, args.episodes)
        dataset = DatasetConfig(root=source)
        prepare(PrepareConfig(dataset=dataset, out=OutputConfig(root=out), quiet=True))
        begin = time.perf_counter()
        result = inspect(
            InspectConfig(dataset=dataset, out=OutputConfig(root=out), max_mb=args.max_mb, quiet=True)
        )
        print(
            f"{result['episodes']} episodes, {result['events']} events: {result['bytes'] / 1e6:.1f} MB, "
            f"written in {time.perf_counter() - begin:.1f} s",
            flush=True,
        )
        for name, ms in opening(Path(result["page"])).items():
            print(f"{name:<20}{ms:10.1f} ms")


if __name__ == "__main__":
    main()
