# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""Files on disk, written whole or not at all, and the errors that say what to do about them."""
