"""The record of a run: Arrow samples and JSON lines; how they are written, read and merged."""

from hazd.journal.files import (
    TrialWriter,
    decode_records,
    discard_trial,
    read_run,
    read_trial,
    sample_schema,
    trial_folders,
    trial_state,
    write_json,
)

__all__ = [
    "TrialWriter",
    "decode_records",
    "discard_trial",
    "read_run",
    "read_trial",
    "sample_schema",
    "trial_folders",
    "trial_state",
    "write_json",
]
