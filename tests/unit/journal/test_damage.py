"""A damaged, wrongly typed or foreign run folder: a problem that names file and field, no traceback, no PASS."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hazd.errors import JournalError
from hazd.journal import read_complete, read_run, read_trial, seal, write_sealed
from hazd.journal.schema import SCHEMA
from hazd.report import build, read
from tests.golden.worlds import rollout

NAME = "rollout--all"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one passing trial."""
    folder = tmp_path_factory.mktemp("reports") / "run"
    world = rollout(readiness=True, prestop_s=5, graceful=True, replicas=2)
    world.rate = 30.0
    fixes = ["prestop", "readiness", "graceful-shutdown"]
    world.write(folder / "trials" / NAME, name=NAME, run="run", fixes=fixes)
    planned = [{"name": NAME, "scenario": "rollout", "fixes": fixes}]
    write_sealed(folder / "run.json", {"schema": SCHEMA, "run": "run", "scenario": "rollout", "trials": planned})
    return folder


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "run")


def reasons(run: Path) -> tuple[str, str]:
    """The verdict, and everything that speaks against it in one text."""
    summary, _ = read(run)
    return summary["verdict"], "\n".join([*summary["problems"], *summary["trials"][0]["reasons"]])


def test_the_sound_run_passes(run: Path) -> None:
    """Else nothing below would show anything."""
    assert reasons(run)[0] == "PASS"
    record = read_trial(run / "trials" / NAME)
    assert record.verified
    assert record.problems == ()


FILES = ("run.json", f"trials/{NAME}/trial.json", f"trials/{NAME}/events.jsonl", f"trials/{NAME}/samples.arrow")
GARBAGE = {
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "empty": b"",
    "not UTF-8": b'{"schema": 2, "run": "\xff\xfe"}',
    "not JSON": b"{",
    "NaN": b'{"schema": 2, "rate": NaN}',
    "deep": b"[" * 100_000,
    "lines": b"[]\nnull\n7\n{}\n",
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_the_place_of_a_file_is_named(run: Path, file: str, content: bytes) -> None:
    """Of run.json nothing is left to report, which is one error; of the rest INCONCLUSIVE with the file named."""
    (run / file).write_bytes(content)
    if file == "run.json":
        with pytest.raises(JournalError, match=r"run\.json"):
            read(run)
        return
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert Path(file).name in text
    with pytest.raises(JournalError, match="cannot be resumed"):
        read_complete(run / "trials" / NAME)


def test_a_damaged_run_gets_its_whole_report(run: Path) -> None:
    """Page, charts, JUnit and Markdown are written of what is left, also with nothing readable in it."""
    for file in FILES[1:]:
        (run / file).write_bytes(b"[]")
    assert build(run)["verdict"] == "INCONCLUSIVE"
    assert "trial.json" in (run / "report.html").read_text()


@pytest.mark.parametrize("file", FILES[1:])
def test_a_missing_file_is_named(run: Path, file: str) -> None:
    """Without trial.json the trial counts as never run; without another file it is INCONCLUSIVE."""
    (run / file).unlink()
    summary, _ = read(run)
    assert summary["verdict"] == "INCONCLUSIVE"
    assert NAME in summary["not_run"] or Path(file).name in str(summary["trials"]) or "no events" in str(summary)


WRONG: tuple[tuple[str, Any], ...] = (
    ("phases", []),
    ("phases", {"disrupt_start_ns": "soon"}),
    ("phases", {"disrupt_start_ns": 1}),
    ("workers", {}),
    ("workers", ["one"]),
    ("workers", [{"id": 0, "due": "1,000"}]),
    ("workers", [{"id": None}]),
    ("workers", [{"id": 0, "offset_ns": 1e300}]),
    ("workers", [{"id": 0, "missed_ns": 3}]),
    ("served", []),
    ("served", {"a": 3}),
    ("served", {"a": {"served": "3"}}),
    ("criteria", None),
    ("criteria", {"max_late_ms": "20"}),
    ("criteria", {"max_failed": True}),
    ("criteria", {"expects": 4}),
    ("applied", {"prestop": 5}),
    ("applied", {"prestop": {"values": {"prestop_s": "five"}}}),
    ("app", {"startup_delay_s": "2"}),
    ("patch", 3),
    ("streams", "new"),
    ("streams", [1]),
    ("streams", [{"name": 1}]),
    ("fixes", "prestop"),
    ("fixes", [1]),
    ("rate", "60"),
    ("rate", -1),
    ("replicas", 1.5),
    ("cluster", []),
    ("cluster", {"nodes": "three"}),
    ("checks", [3]),
    ("checks", {"name": "x"}),
    ("notes", 3),
    ("options", []),
    ("error", {}),
    ("state", 1),
    ("workload", []),
    ("workload", {"labels": ["app"]}),
    ("namespace", 3),
    ("scenario", None),
)


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda item: str(item)[:40])
def test_a_wrongly_typed_field_is_named(run: Path, field: str, value: Any) -> None:
    """Also with a matching checksum: no traceback, no PASS, file and field are said."""
    folder = run / "trials" / NAME
    write_sealed(folder / "trial.json", json.loads((folder / "trial.json").read_text()) | {field: value})
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert f"trial.json: {field}" in text


def test_an_edited_field_is_noticed_by_the_checksum(run: Path) -> None:
    """A value that could be true, but is not what was written."""
    path = run / "trials" / NAME / "trial.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": ["all is well"]}))
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert "trial.json: sha256" in text


EVENTS: tuple[Callable[[dict[str, Any]], Any], ...] = (
    lambda event: event | {"observed_ns": "1"},
    lambda event: event | {"observed_ns": 1.5},
    lambda event: event | {"observed_ns": 2},
    lambda event: event | {"observed_ns": 3_999_999_999_999_999_999},
    lambda event: event | {"stated_ns": []},
    lambda event: event | {"ref": "Pod/a"},
    lambda event: event | {"ref": {"kind": "Pod"}},
    lambda event: event | {"ref": {"kind": 1, "name": "a"}},
    lambda event: event | {"reason": None},
    lambda event: event | {"detail": []},
    lambda event: event | {"detail": {"status": {"conditions": "Ready"}}},
    lambda event: event | {"detail": {"status": {"conditions": ["Ready"]}}},
    lambda event: event | {"detail": {"status": {"containerStatuses": [{"restartCount": "x"}]}}},
    lambda event: event | {"detail": {"endpoints": "none"}},
    lambda event: event | {"detail": {"endpoints": [{"conditions": [1]}]}},
    lambda event: event | {"detail": {"labels": ["app"]}},
    lambda event: event | {"more": 1},
    lambda event: [event],
    lambda event: None,
)


@pytest.mark.parametrize("change", EVENTS, ids=range(len(EVENTS)))
def test_a_wrongly_typed_event_is_named_by_its_line(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The line is skipped and named, the rest is read."""
    folder = run / "trials" / NAME
    lines = (folder / "events.jsonl").read_text().splitlines()
    lines[3] = json.dumps(change(json.loads(lines[3])))
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    seal(folder, json.loads((folder / "trial.json").read_text()))
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert "events.jsonl" in text
    assert len(read_trial(folder).events) == len(lines) - 1


def test_damaged_samples_never_end_the_reader(run: Path) -> None:
    """Flipped bits, a cut, overwritten blocks: such files crashed the reader, or passed, when nothing was checked."""
    path = run / "trials" / NAME / "samples.arrow"
    whole, rng = path.read_bytes(), random.Random(11)
    for number in range(3):
        damaged = bytearray(whole)
        match number % 3:
            case 0:
                for _ in range(20):
                    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[rng.randrange(len(damaged)) :]
            case _:
                at = rng.randrange(len(damaged) - 4000)
                damaged[at : at + 4000] = rng.randbytes(4000)
        path.write_bytes(damaged)
        record = read_trial(path.parent)
        assert not record.verified
        assert any(text.startswith("samples.arrow: it does not match its checksum") for text in record.problems)
    assert reasons(run)[0] == "INCONCLUSIVE"


def test_samples_of_other_columns_are_named(run: Path) -> None:
    """An Arrow file that is sound but holds something else is not read as samples."""
    import pyarrow as pa
    import pyarrow.feather

    folder = run / "trials" / NAME
    pyarrow.feather.write_feather(pa.table({"seq": [1, 2]}), str(folder / "samples.arrow"))
    seal(folder, json.loads((folder / "trial.json").read_text()))
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert "samples.arrow" in text
    assert "column worker is missing" in text


@pytest.mark.parametrize(
    ("column", "value"),
    [("kind", "fine"), ("kind", None), ("due_ns", None), ("due_ns", 5), ("done_ns", 2**62), ("stream", None)],
)
def test_impossible_values_are_named_by_their_column(run: Path, column: str, value: Any) -> None:
    """A row that no writer can have written is skipped and said, also when the checksum matches."""
    import pyarrow as pa

    folder = run / "trials" / NAME
    table = pa.ipc.open_file(str(folder / "samples.arrow")).read_all()
    place = table.schema.get_field_index(column)
    values = table.column(column).to_pylist()
    values[7] = value
    kind = table.schema.field(column).type
    changed = (
        pa.array(values, pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)
    )
    table = table.set_column(place, pa.field(column, kind), changed.cast(kind))
    with pa.OSFile(str(folder / "samples.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    seal(folder, json.loads((folder / "trial.json").read_text()))
    record = read_trial(folder)
    assert len(record.samples) == len(values) - 1
    assert any(f"samples.arrow: {column}: " in text for text in record.problems)


@pytest.mark.parametrize("schema", [99, 0, "2", None, True])
@pytest.mark.parametrize("file", FILES[:2])
def test_an_unknown_schema_is_one_clear_error(run: Path, file: str, schema: Any) -> None:
    """What a newer hazd wrote may mean anything: it is not read, and the remedy is said."""
    fields = json.loads((run / file).read_text()) | {"schema": schema}
    write_sealed(run / file, fields)
    if schema == 99 and file == "run.json":
        with pytest.raises(JournalError, match="schema: 99 is newer than 2") as caught:
            read(run)
        assert caught.value.exit_code == 3
        assert "newer" in caught.value.hint
        return
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert f"{Path(file).name}: schema: {schema!r}" in text


def test_a_journal_without_checksums_is_read_and_never_passes(run: Path) -> None:
    """So were they before schema 2: everything is reported, but nobody vouches for it."""
    folder = run / "trials" / NAME
    meta = json.loads((folder / "trial.json").read_text())
    del meta["files"], meta["sha256"]
    (folder / "trial.json").write_text(json.dumps(meta | {"schema": 1}))
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert "no checksum" in text
    assert len(read_trial(folder).samples) > 100


def test_a_trial_in_another_ones_place_is_named(run: Path) -> None:
    """Its own name and run stand in it; run.json says which ones belong there."""
    folder = run / "trials" / NAME
    seal(folder, json.loads((folder / "trial.json").read_text()) | {"name": "rollout--other", "run": "yesterday"})
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert "name: 'rollout--other' is not what run.json says" in text
    assert "run: 'yesterday' is not this run" in text


def test_a_trial_that_run_json_does_not_know_is_named(run: Path) -> None:
    """A failed trial cannot be dropped from the list unseen."""
    fields = json.loads((run / "run.json").read_text())
    write_sealed(run / "run.json", fields | {"trials": []})
    verdict, text = reasons(run)
    assert verdict == "INCONCLUSIVE"
    assert f"{NAME} is not in it" in text


@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".", 7])
def test_a_trial_name_never_leaves_the_folder(run: Path, name: Any) -> None:
    """Reports are written beside the trials, so a name is one step of a path and no more."""
    fields = json.loads((run / "run.json").read_text())
    write_sealed(run / "run.json", fields | {"trials": [{"name": name}]})
    assert any("run.json: trials[0].name" in text for text in read_run(run)["problems"])
    assert read(run)[0]["verdict"] == "INCONCLUSIVE"
