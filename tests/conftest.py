"""Choose how hard the property tests try: HYPOTHESIS_PROFILE=default (CI too) or nightly."""

import os

from hypothesis import HealthCheck, settings

# No deadline: how long an example takes on a busy machine says nothing about its correctness.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
