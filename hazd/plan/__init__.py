"""From options to trials: pure; knows nothing of hazd.trial, which carries them out."""

from hazd.plan.trials import (
    Options,
    fix_sets,
    in_round,
    make_trials,
    skipped_fixes,
    streams_of,
    supports_native_sleep,
    traffic_plan,
    trial_name,
)

__all__ = [
    "Options",
    "fix_sets",
    "in_round",
    "make_trials",
    "skipped_fixes",
    "streams_of",
    "supports_native_sleep",
    "traffic_plan",
    "trial_name",
]
