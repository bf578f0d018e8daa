# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What each dimension of a dataset's action and state is: told by names, units and the data, or by a person."""
