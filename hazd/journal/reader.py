"""Reads a run's folder and trusts nothing in it: checksums first, then shapes, then values.

Whatever is wrong becomes one problem that names file and field, and what is readable is still given back. A trial with
problems never passes (hazd/analysis/accounting.py makes reasons of them). Nothing here judges.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hazd.errors import JournalError
from hazd.journal.flows import FLOWS_FILE, FLOWS_STREAM, flow_schema
from hazd.journal.merge import ORDER
from hazd.journal.schema import (
    CHECKSUM,
    CHECKSUMS,
    EVENTS_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    SCHEMA,
    STREAM_FILE,
    TRIAL_FILE,
    checksum_of,
    labels_of,
    sample_schema,
)
from hazd.journal.shapes import EVENT, RUN, TIME, TRIAL
from hazd.journal.writer import CLOSED_STATES, file_checksum
from hazd.model import Event, Ref, TrialRecord
from hazd.record import FIELDS, Holds
from hazd.shape import faults, short

NOT_A_RUN = "name a folder below reports/"
AGAIN = "remove that trial's folder to run it again, or resume under another --name"
SALVAGE_S = 180.0
LONGEST_NS = 2 * 24 * 3600 * 1_000_000_000
"""Times of one trial lie no further apart; what does is damage, and would make a picture of a million columns."""


def read_run(folder: Path) -> dict[str, Any]:
    """run.json of a run folder; what is wrong with it, and trials it does not know, stand under `problems`.

    Raises JournalError when the folder is no run, or was written by a newer hazd.
    """
    problems: list[str] = []
    try:
        meta = _read_object(folder / RUN_FILE, RUN, problems)
    except JournalError as error:
        raise JournalError(f"{folder} is not a run of hazd: {error.message}", error.hint or NOT_A_RUN) from None
    if "trials" not in meta:
        meta["trials"] = []
    named = {str(item.get("name")) for item in meta["trials"]}
    found = sorted(path.parent.name for path in (folder / "trials").glob(f"*/{TRIAL_FILE}"))
    for name in found:
        if name not in named:
            problems.append(f"{RUN_FILE}: trials: {name} is not in it, though there is a folder of that name")
            meta["trials"].append({"name": name})
    return {**meta, "problems": problems}


def trial_folders(folder: Path) -> list[Path]:
    """Folders of a run's trials in the order they were planned; those that never began are skipped."""
    planned = [str(item["name"]) for item in read_run(folder)["trials"] if "name" in item]
    return [folder / "trials" / name for name in planned if (folder / "trials" / name / TRIAL_FILE).exists()]


def read_trials(folder: Path) -> Iterator[TrialRecord]:
    """The trials of a run, one after the other. A trial that says it is another's is a problem of that trial."""
    run = read_run(folder)
    planned = {str(item.get("name")): item for item in run["trials"]}
    for path in trial_folders(folder):
        yield read_trial(path, planned[path.name], str(run.get("run", "")))


def trial_state(folder: Path) -> str:
    """running, complete, failed or interrupted as trial.json says it; "" when there is no readable trial."""
    try:
        return str(_read_object(folder / TRIAL_FILE, TRIAL, []).get("state", ""))
    except JournalError:
        return ""


def read_complete(folder: Path) -> dict[str, Any] | None:
    """trial.json of a complete trial whose files are as they were closed; None for a trial that has to be run.

    Raises JournalError for a trial that says it is complete, or says nothing, and is damaged.
    """
    if not (folder / TRIAL_FILE).exists():
        return None
    problems: list[str] = []
    try:
        meta = _read_object(folder / TRIAL_FILE, TRIAL, problems)
    except JournalError as error:
        raise JournalError(f"trial {folder.name} cannot be resumed: {error.message}", AGAIN) from None
    if meta.get("state") in ("running", "failed", "interrupted"):
        return None
    problems += [text for name in (SAMPLES_FILE, EVENTS_FILE) if (text := _why_not_as_closed(folder / name, meta))]
    if problems:
        raise JournalError(f"trial {folder.name} cannot be resumed: {problems[0]}", AGAIN)
    return meta


def read_trial(folder: Path, planned: Mapping[str, Any] | None = None, run: str = "") -> TrialRecord:
    """A trial as far as it got; `problems` names all that is missing, damaged or torn.

    planned: what run.json says of it; run: the name of that run. Raises JournalError when there is no trial at all.
    """
    if not (folder / TRIAL_FILE).exists():
        raise JournalError(f"{folder} is not a trial of hazd: it has no {TRIAL_FILE}")
    problems: list[str] = []
    known = dict(planned or {})
    try:
        meta = _read_object(folder / TRIAL_FILE, TRIAL, problems)
    except JournalError as error:
        text = f"{error.message}; {error.hint}" if error.hint else error.message
        empty = sample_schema().empty_table().to_pandas()
        return TrialRecord(folder.name, known, empty, (), (text,), verified=False)
    for name, value in known.items():
        if name in meta and meta[name] != value:
            problems.append(f"{TRIAL_FILE}: {name}: {short(meta[name])} is not what {RUN_FILE} says: {short(value)}")
    if run and meta.get("run", run) != run:
        problems.append(f"{TRIAL_FILE}: run: {short(meta['run'])} is not this run, {short(run)}")
    meta = {**known, **meta}
    damaged = bool(problems)
    if meta.get("state") not in ("complete", "failed"):
        problems.append(f"the trial did not end by itself (state {meta.get('state')!r})")
    before = len(problems)
    frame = _read_samples(folder, meta, problems)
    events = _read_events(folder, meta, problems)
    flows = _read_flows(folder, meta, problems)
    frame, events = _near(frame, events, meta, problems)
    sound = not damaged and len(problems) == before and meta.get("state") in CLOSED_STATES
    return TrialRecord(folder.name, meta, frame, tuple(events), tuple(problems), flows, verified=sound)


def _read_object(path: Path, shape: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """A sealed JSON object without the fields that are damaged; each of those is a problem.

    Raises JournalError when there is no object at all, or its schema is one that this hazd cannot know.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except FileNotFoundError:
        raise JournalError(f"{path.name} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise JournalError(f"{path.name}: not readable as JSON: {short(str(error))}") from None
    if not isinstance(found, dict):
        raise JournalError(f"{path.name}: {short(found)} is not an object")
    schema = found.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        problems.append(f"{path.name}: schema: {short(schema)} is not an integer from 1 to {SCHEMA}")
    elif schema > SCHEMA:
        writer = found.get("hazd")
        hint = (
            f"read it with the hazd that recorded it{f', {writer}' if isinstance(writer, str) else ''}, or a newer one"
        )
        raise JournalError(
            f"{path.name}: schema: {schema} is newer than {SCHEMA}, the latest that this hazd reads", hint
        )
    if CHECKSUM not in found:
        text = f"{path.name}: {CHECKSUM}: there is no checksum, so nobody can say whether it is as it was written"
        problems.append(text + (f" (schema {schema}, of an earlier hazd)" if schema == 1 else ""))
    elif found[CHECKSUM] != checksum_of(found):
        problems.append(f"{path.name}: {CHECKSUM}: its fields do not match their checksum: it was changed or damaged")
    for name, item in list(found.items()):
        wrong = list(faults({name: item}, shape))
        if wrong:
            where, value, want = wrong[0]
            problems.append(f"{path.name}: {where}: {short(value)} is not {want}")
            del found[name]
    return found


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _why_not_as_closed(path: Path, meta: Mapping[str, Any]) -> str | None:
    """What speaks against a file being the one that was closed with the trial."""
    if not path.exists():
        return f"{path.name} is missing"
    wanted = (meta.get(CHECKSUMS) or {}).get(path.name)
    if wanted is None:
        return f"{path.name}: {TRIAL_FILE} has no checksum of it"
    try:
        found = file_checksum(path)
    except OSError as error:
        return f"{path.name}: not readable: {error}"
    return None if found == wanted else f"{path.name}: it does not match its checksum: it was changed or damaged"


def _read_samples(folder: Path, meta: Mapping[str, Any], problems: list[str]) -> Any:
    """The samples as a DataFrame in ORDER. Only a file that matches its checksum is parsed in this process."""
    import pyarrow as pa

    path = folder / SAMPLES_FILE
    found: list[Any] = []
    if meta.get("state") == "running" and not path.exists() and (folder / STREAM_FILE).exists():
        problems.append("samples were read from an unfinished stream: up to the last half second is missing")
        found = _salvage(folder / STREAM_FILE, problems)
    elif (why := _why_not_as_closed(path, meta)) is None:
        try:
            found = [fitting(batch, sample_schema()) for batch in stored_batches(path)]
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            problems.append(f"{path.name}: {error}")
    else:
        problems.append(why)
        rest = next((item for item in (path, folder / STREAM_FILE) if item.exists()), None)
        found = _salvage(rest, problems) if rest is not None else []
    table = pa.Table.from_batches(found, schema=sample_schema())
    frame = table.to_pandas().sort_values([name for name, _ in ORDER], ignore_index=True)
    return _without_impossible(frame, problems)


def stored_batches(path: Path) -> Iterator[Any]:
    """The batches of an Arrow file or stream, one by one. Raises ArrowException or OSError where it is damaged."""
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as source:
        if path.suffix == ".arrows":
            yield from pa.ipc.open_stream(source)
            return
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def fitting(batch: Any, schema: Any) -> Any:
    """The batch with the columns of `schema`. Raises ArrowException, KeyError or TypeError when it has other ones."""
    import pyarrow as pa

    batch.validate(full=True)
    for name in schema.names:
        if batch.schema.get_field_index(name) < 0:
            raise KeyError(f"column {name} is missing")
        if batch.schema.field(name).type != schema.field(name).type:
            raise TypeError(f"column {name} is {batch.schema.field(name).type}, not {schema.field(name).type}")
    return pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)


def _salvage(path: Path, problems: list[str]) -> list[Any]:
    """What another process could read of a file that nobody vouches for (hazd/journal/salvage.py)."""
    import pyarrow as pa

    command = [sys.executable, "-m", "hazd.journal.salvage", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SALVAGE_S, check=False)
        output, code, words = done.stdout, done.returncode, done.stderr.decode(errors="replace").strip()
    except subprocess.TimeoutExpired as late:
        output, code, words = late.stdout or b"", 1, f"reading it took longer than {SALVAGE_S:g} s"
    found: list[Any] = []
    try:
        with pa.ipc.open_stream(io.BytesIO(output)) as reader:
            found.extend(reader)
    except (pa.ArrowException, OSError):
        pass  # it was cut off where the other process ended, which is said next
    if code:
        why = words.splitlines()[-1] if words else f"reading it was ended by signal {-code}"
        problems.append(f"{path.name}: the samples end in a torn or damaged batch: {short(why)}")
    return found


def _without_impossible(frame: Any, problems: list[str]) -> Any:
    """The rows whose every value a writer can have written; the others are a problem by column."""
    good = frame["due_ns"].notna()
    for field in FIELDS:
        column, labels = frame[field.name], labels_of(field)
        if labels is not None:
            fits = column.isin(labels)
        elif field.holds is Holds.TIME:
            fits = column.between(TIME.least, TIME.most)
            if field.name not in ("due_ns", "done_ns"):
                fits |= column.isna()
        elif field.holds is Holds.POD:
            continue
        else:
            fits = column.notna()
        if not fits.all():
            first = column[~fits].iloc[0]
            problems.append(f"{SAMPLES_FILE}: {field.name}: {short(first)} is impossible, in {int((~fits).sum())} rows")
        good &= fits
    good &= frame["worker"].notna()
    return frame if good.all() else frame[good].reset_index(drop=True)


def _read_events(folder: Path, meta: Mapping[str, Any], problems: list[str]) -> list[Event]:
    path = folder / EVENTS_FILE
    if not path.exists():
        problems.append("there are no events")
        return []
    if meta.get("state") in CLOSED_STATES and (why := _why_not_as_closed(path, meta)):
        problems.append(why)
    events: list[Event] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        problems.append(f"{path.name}: not readable: {error}")
        return []
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(_event(json.loads(line, parse_constant=_no_constant)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            wrong.append(f"{path.name}: line {number} is damaged or torn: {short(str(error))}")
    problems += wrong[:1]
    if len(wrong) > 1:
        problems.append(f"{path.name}: {len(wrong) - 1} more lines are damaged or torn")
    return sorted(events, key=lambda event: event.observed_ns)


def _read_flows(folder: Path, meta: Mapping[str, Any], problems: list[str]) -> Any:
    """What observers saw, as a DataFrame; None where nothing observed, or where nobody vouches for the file."""
    import pyarrow as pa

    path = folder / FLOWS_FILE
    if path.name not in (meta.get(CHECKSUMS) or {}):
        left = next((name for name in (FLOWS_FILE, FLOWS_STREAM) if (folder / name).exists()), None)
        if left is not None:
            problems.append(f"{left}: it was not closed with the trial and is not read")
        return None
    if (why := _why_not_as_closed(path, meta)) is not None:
        problems.append(why)
        return None
    try:
        found = [fitting(batch, flow_schema()) for batch in stored_batches(path)]
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        problems.append(f"{path.name}: {error}")
        return None
    return pa.Table.from_batches(found, schema=flow_schema()).unify_dictionaries().to_pandas()


def _event(fields: Any) -> Event:
    """Raises ValueError, TypeError or KeyError for what is no event."""
    for where, value, want in faults(fields, EVENT):
        raise ValueError(f"{where}: {short(value)} is not {want}")
    return Event(**{**fields, "ref": Ref(**fields["ref"])})


def _near(frame: Any, events: list[Event], meta: Mapping[str, Any], problems: list[str]) -> tuple[Any, list[Event]]:
    """Samples and events without those that lie days away from the rest, which no trial lasts."""
    phases = meta.get("phases") or {}
    centre = phases.get("traffic_start_ns") or meta.get("started_ns")
    if centre is None:
        centre = int(frame["due_ns"].median()) if len(frame) else events[0].observed_ns if events else 0
    far = [name for name, at_ns in phases.items() if abs(at_ns - centre) > LONGEST_NS]
    problems += [f"{TRIAL_FILE}: phases.{name}: {phases[name]} is days away from the rest" for name in far]
    for name in far:
        del phases[name]
    if len(frame):
        times = frame[[field.name for field in FIELDS if field.holds is Holds.TIME]]
        good = ((times - centre).abs().le(LONGEST_NS) | times.isna()).all(axis=1)
        if not good.all():
            problems.append(f"{SAMPLES_FILE}: the times of {int((~good).sum())} rows are days away from the rest")
            frame = frame[good].reset_index(drop=True)
    near = [event for event in events if abs(event.observed_ns - centre) <= LONGEST_NS]
    if len(near) != len(events):
        problems.append(f"{EVENTS_FILE}: the times of {len(events) - len(near)} lines are days away from the rest")
    return frame, near


__all__ = [
    "fitting",
    "read_complete",
    "read_run",
    "read_trial",
    "read_trials",
    "stored_batches",
    "trial_folders",
    "trial_state",
]
