# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The balance study's mixture and table."""

from benchmarks.learning.balance import FIGURES, skew, table


def test_the_mixture_keeps_all_of_the_commonest_object_and_few_of_the_others():
    objects = {0: "blue", 1: "red", 2: "blue", 3: "red", 4: "red", 5: "blue", 6: "green", 7: "blue"}
    assert skew(objects, 1) == ("blue", [0, 1, 2, 5, 6, 7])
    assert skew(objects, 2) == ("blue", [0, 1, 2, 3, 5, 6, 7])
    assert skew({5: "b", 3: "a"}, 0) == ("a", [3])  # of equals the first by name


def test_the_table_pairs_seeds():
    figures = {"clusters": 4, "rarest_decile_gain": 2.0}
    figures |= {f"{name}_{when}": 0.5 for name in ("gini", "entropy") for when in ("before", "after")}
    mixture = {
        "events": 10,
        "episodes": 3,
        "common": "blue cube",
        "rare_share": {"plain": 0.1, "balanced": 0.4},
        "balance": {"vl": figures, "action": figures},
    }
    runs = [
        {
            "view": view,
            "seed": seed,
            "errors": dict.fromkeys(FIGURES, 5.0 + seed - gain * (1 if seed < 2 else -1)),
        }
        for view, gain in (("plain", 0.0), ("balanced", 1.5))
        for seed in range(3)
    ]
    text = table(mixture, runs[:-1])  # one run is not done yet
    assert "plain 0.100, balanced 0.400" in text
    assert "| rare, near | 6.000 ± 1.000 | 4.000 ± 0.707 | -1.500 (2/2) |" in text
    assert "-0.500 (2/3)" in table(mixture, runs)
