# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The backbone table's parameters are the published ones."""

import pytest

from benchmarks.speed.backbone_table import PUBLISHED, SIZES, parameters


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.2-5b"])
def test_meta_models_have_the_published_parameters(name):
    counts = parameters(name, SIZES[name])
    for part in ("transformer", "VAE", "umT5"):
        assert counts[part] == PUBLISHED[name, part]
    # The tower is the transformer with the branch, and a table of places and of views besides.
    extra = counts["video tower"] - counts["transformer"] - counts["cross-view"]
    width, tokens = SIZES[name].video.width, SIZES[name].tokens
    assert extra == SIZES[name].views * (tokens * width + 16) + 16 * (128 - 4 * (128 // 6)) // 2
