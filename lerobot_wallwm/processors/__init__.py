# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The data wing: from demonstrations to events, a folder a step, in the order of the pipeline."""
