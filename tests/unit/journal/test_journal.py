"""The journal gives back what was put in, says what is missing, and guesses at nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazd.errors import JournalError
from hazd.journal import SCHEMA, TrialWriter, decode_records, read_run, read_trial, trial_folders, write_sealed
from hazd.model import Event, FailureKind, Phase, Ref
from hazd.record import FIELDS, RECORD

NAMES = [field.name for field in FIELDS]
T0 = 1_790_000_000_000_000_000


def record(**fields: int) -> bytes:
    values = dict.fromkeys(NAMES, 0) | {"due_ns": T0, "sent_ns": T0 + 10, "done_ns": T0 + 99} | fields
    return RECORD.pack(*(values[name] for name in NAMES))


def test_a_record_comes_back_as_it_went_in() -> None:
    """Every field of the 64 bytes arrives in its column; a time that never came is null."""
    raw = record(seq=7, stream=1, connection=1, kind=2, phase=1, errno=113, pod=1, local_port=4242, conn=3)
    row = decode_records(raw, 5, ["new", "reused"], ["", "app-a"]).to_pylist()[0]
    assert (row["worker"], row["seq"], row["stream"], row["connection"]) == (5, 7, "reused", "reused")
    assert (row["kind"], row["phase"], row["errno"], row["pod"]) == ("no_route", "connect", 113, "app-a")
    assert (row["connected_ns"], row["first_byte_ns"], row["due_ns"]) == (None, None, T0)


def test_the_clock_offset_moves_every_time_that_came() -> None:
    """offset_ns is added to times, never to the absence of one."""
    row = decode_records(record(), 0, ["new"], [""], offset_ns=1000).to_pylist()[0]
    assert (row["due_ns"], row["done_ns"], row["connected_ns"]) == (T0 + 1000, T0 + 1099, None)


@pytest.mark.parametrize("field", ["stream", "pod", "kind", "phase", "connection"])
def test_a_code_out_of_range_is_an_error(field: str) -> None:
    """A record that cannot be read is never guessed at."""
    with pytest.raises(JournalError, match=field):
        decode_records(record(**{field: 99}), 0, ["new"], [""])


def test_half_a_record_is_an_error() -> None:
    """Only whole records are taken."""
    with pytest.raises(JournalError, match="multiple"):
        decode_records(record()[:-1], 0, ["new"], [""])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(FailureKind), st.sampled_from(Phase)), max_size=40))
def test_any_mix_of_outcomes_survives_the_disk(
    tmp_path_factory: pytest.TempPathFactory, mix: list[tuple[int, int]]
) -> None:
    """Writer and reader agree on every kind and phase, in order of due time."""
    folder = tmp_path_factory.mktemp("journal") / "trial"
    writer = TrialWriter(folder, {"name": "trial"})
    raw = b"".join(record(seq=n, kind=k, phase=p, due_ns=T0 + n) for n, (k, p) in enumerate(mix))
    writer.add_samples(decode_records(raw, 0, ["new"], [""]))
    writer.close("complete")
    found = read_trial(folder)
    assert list(found.samples["kind"]) == [FailureKind(kind).label for kind, _ in mix]
    assert list(found.samples["phase"]) == [Phase(phase).label for _, phase in mix]
    assert found.problems == () or not mix


def test_a_killed_run_is_readable_and_says_so(tmp_path: Path) -> None:
    """Without close() the stream file is read up to its last whole batch, and a torn tail is named."""
    writer = TrialWriter(tmp_path / "trial", {"name": "trial"})
    writer.add_samples(decode_records(record(seq=1), 0, ["new"], [""]))
    writer.add_event(Event(T0, "stage", Ref("Node", "n"), "drain", detail={"text": "x"}))
    killed = shutil.copytree(tmp_path / "trial", tmp_path / "killed")
    writer.close("complete")
    with (killed / "samples.arrows").open("ab") as tail:
        tail.write(b"\xff\xff\xff\xff\x10\x00")
    with (killed / "events.jsonl").open("a") as tail_text:
        tail_text.write('{"observed_ns": 1, "sou')
    found = read_trial(killed)
    assert (len(found.samples), len(found.events)) == (1, 1)
    assert any("did not end" in text for text in found.problems)
    assert any("torn" in text for text in found.problems)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(JournalError, match=str(tmp_path)):
        read_run(tmp_path)


def test_trials_come_in_the_order_they_were_planned(tmp_path: Path) -> None:
    """Trials that never began are left out."""
    write_sealed(tmp_path / "run.json", {"schema": SCHEMA, "trials": [{"name": "b"}, {"name": "a"}, {"name": "never"}]})
    for name in ("a", "b"):
        TrialWriter(tmp_path / "trials" / name, {"name": name}).close("complete")
    assert [folder.name for folder in trial_folders(tmp_path)] == ["b", "a"]
    assert json.loads((tmp_path / "trials" / "a" / "trial.json").read_text())["state"] == "complete"
