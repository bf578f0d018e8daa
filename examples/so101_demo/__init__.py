# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The demo: demonstrations in, one self-contained report out. Its parts also serve the benchmark and the tests."""
