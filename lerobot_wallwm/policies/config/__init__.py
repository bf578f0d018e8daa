# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""The fields of the configuration by who sets them; each group checks itself."""
