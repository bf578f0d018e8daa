# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Counts import circles of files and of folders, `TYPE_CHECKING` imports included; exits with 1 where there are any."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter

import grimp


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The circles of a graph, each as the names along it; one edge of each circle found is cut before the next search."""
    edges, found = {name: set(to) for name, to in edges.items()}, []
    while True:
        try:
            TopologicalSorter(edges).prepare()
            return found
        except CycleError as error:
            circle = error.args[1]
            found.append(circle)
            # graphlib lists predecessors: each name imports the one before it or after it.
            a, b = circle[0], circle[1]
            (edges[a] if b in edges.get(a, ()) else edges[b]).discard(b if b in edges.get(a, ()) else a)


def folder(module: str) -> str:
    """The folder that a module lies in."""
    return module.rsplit(".", 1)[0]


def main() -> int:
    """Prints every circle. Returns 1 if there are any."""
    graph = grimp.build_graph("lerobot_wallwm", exclude_type_checking_imports=False)
    modules = {m: set(graph.find_modules_directly_imported_by(m)) for m in graph.modules}
    packages = {m for m in modules if any(n.startswith(f"{m}.") for n in modules)}
    folders: dict[str, set[str]] = {}
    for module, imported in modules.items():
        here = module if module in packages else folder(module)
        folders.setdefault(here, set()).update(
            (there if there in packages else folder(there)) for there in imported
        )
    for here in folders:
        # A folder and what lies inside it are one house: only folders beside each other can form a circle.
        folders[here] = {
            t
            for t in folders[here]
            if not (t == here or t.startswith(f"{here}.") or here.startswith(f"{t}."))
        }
    found = [("files", c) for c in circles(modules)] + [("folders", c) for c in circles(folders)]
    for kind, circle in found:
        print(f"circle of {kind}: {' -> '.join(circle)}")
    print(f"{len(modules)} modules, {len(found)} circles")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
