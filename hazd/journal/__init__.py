"""The record of a run: Arrow samples and JSON lines; how they are written, merged, and read without trust."""

from hazd.journal.identity import Identity, identity_of, why_not_same
from hazd.journal.reader import read_complete, read_run, read_trial, read_trials, trial_folders, trial_state
from hazd.journal.schema import RUN_FILE, SCHEMA, decode_records, sample_schema
from hazd.journal.writer import TrialWriter, close_trial, discard_trial, seal, write_json, write_sealed

__all__ = [
    "RUN_FILE",
    "SCHEMA",
    "Identity",
    "TrialWriter",
    "close_trial",
    "decode_records",
    "discard_trial",
    "identity_of",
    "read_complete",
    "read_run",
    "read_trial",
    "read_trials",
    "sample_schema",
    "seal",
    "trial_folders",
    "trial_state",
    "why_not_same",
    "write_json",
    "write_sealed",
]
