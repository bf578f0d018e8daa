# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The balance study's mixture."""

from benchmarks.learning.balance import skew


def test_the_mixture_keeps_all_of_the_commonest_object_and_few_of_the_others():
    objects = {0: "blue", 1: "red", 2: "blue", 3: "red", 4: "red", 5: "blue", 6: "green", 7: "blue"}
    assert skew(objects, 1) == ("blue", [0, 1, 2, 5, 6, 7])
    assert skew(objects, 2) == ("blue", [0, 1, 2, 3, 5, 6, 7])
    assert skew({5: "b", 3: "a"}, 0) == ("a", [3])  # of equals the first by name
