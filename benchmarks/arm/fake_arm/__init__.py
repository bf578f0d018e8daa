# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""An arm without hardware, as a package that `--plugins.discover_packages_path` can name."""
