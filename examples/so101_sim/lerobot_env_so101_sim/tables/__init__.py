# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Tables with choices: several cubes, discs and bins, and instructions of one to three steps that say which and when."""
