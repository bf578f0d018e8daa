# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""`python -m benchmarks`: finds benchmarks, runs one, prints its tables and writes what it found with where and how.

A benchmark is a module in a group's folder with

* a docstring, whose first line stands in the list and all of which is its help;
* `rows(args)`, which yields `Row`s;
* optionally `flags(parser)` for flags of its own, and `QUICK`, what `--quick` sets them to.
"""

import argparse
import ast
import contextlib
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness.repo import REPO
from benchmarks.harness.rows import CannotRunError, Row, tables, text

ROOT = Path(__file__).resolve().parents[1]


def benchmarks() -> dict[str, dict[str, str]]:
    """Group to name to what it measures, read from the sources without importing them."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(ROOT.glob("*/*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "rows" for node in tree.body):
            what = (ast.get_docstring(tree) or "").splitlines()[0]
            found.setdefault(path.parent.name, {})[path.stem] = what
    return found


def listing() -> str:
    """All benchmarks, one line each."""
    lines = ["python -m benchmarks GROUP NAME [--quick] [--markdown] [flags]    (--help: its flags)"]
    for group, names in benchmarks().items():
        lines += ["", group, *(f"  {name:<16}{what}" for name, what in names.items())]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs one benchmark; returns 1 if it misses a figure that it demands, 2 if it cannot run."""
    if len(argv) < 2 or argv[0].startswith("-"):
        print(listing())
        return 0 if not argv or argv[0] in ("-h", "--help") else 2
    group, name, *rest = argv
    if name not in benchmarks().get(group, {}):
        print(f"no benchmark {group} {name}. Fix: take one of the list.\n\n{listing()}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"benchmarks.{group}.{name}")
    args, others = parse(module, group, name, rest)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    args.others = others
    found: list[Row] = []
    command = f"python -m benchmarks {' '.join(argv)}"
    record = {"benchmark": f"{group} {name}", "command": command, **circumstances()}
    began, whole, why = time.monotonic(), False, ""
    try:
        # What LeRobot prints is no part of the tables.
        for row in _told_aside(module.rows(args)):
            found.append(row)
            cells = ", ".join(f"{k} {text(v)}" for k, v in row.cells.items())
            print(f"  {cells}", file=sys.stderr, flush=True)
        whole = True
    except CannotRunError as error:
        why = str(error)
    except KeyboardInterrupt:
        why = "interrupted"
    finally:
        options = {key: value for key, value in vars(args).items() if key != "others"}
        record |= {"finished": whole, "seconds": round(time.monotonic() - began, 2), "options": options}
        record["rows"] = [{"table": row.table, "passes": row.passes, **row.cells} for row in found]
        result = args.out / "result.json"
        result.write_text(json.dumps(record, indent=1, default=_json) + "\n", encoding="utf-8")
    print(tables(found, args.markdown))
    print(f"\n{result}, {record['seconds']:.0f} s", file=sys.stderr)
    if why:
        print(f"{group} {name}: {why}", file=sys.stderr)
        return 2
    return 1 if any(row.passes is False for row in found) else 0


def _told_aside(rows: Iterator[Row]) -> Iterator[Row]:
    with contextlib.redirect_stdout(sys.stderr):
        yield from rows


def parse(module: Any, group: str, name: str, argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The benchmark's flags, and the rest where it passes them on to another command (`PASSES_ON`)."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {group} {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    quick = getattr(module, "QUICK", {})
    told = ", ".join(f"{key}={value}" for key, value in quick.items())
    parser.add_argument("--quick", action="store_true", help=f"a minute at most, to see that it runs: {told}")
    parser.add_argument("--markdown", action="store_true", help="print the tables for docs/results")
    out = REPO / "outputs/benchmarks" / group / name
    parser.add_argument("--out", type=Path, help=f"folder for the results ({out.relative_to(REPO)})")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; 0: as it finds")
    getattr(module, "flags", lambda _: None)(parser)
    if "--quick" in argv:
        parser.set_defaults(**quick)
    parsed = (
        parser.parse_known_args(argv)
        if getattr(module, "PASSES_ON", False)
        else (parser.parse_args(argv), [])
    )
    args, others = parsed
    args.out = (args.out or (out.with_name(f"{name}_quick") if args.quick else out)).resolve()
    return args, others


def circumstances() -> dict[str, Any]:
    """The machine, its load, the versions and the commit."""
    import torch

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=REPO, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), "")
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": git("rev-parse", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "processor": model or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "system": platform.platform(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
    }


def _json(value: Any) -> Any:
    if hasattr(value, "json"):
        return value.json()
    return value.item() if hasattr(value, "item") else str(value)
