"""The ways in which a record of a passing trial can be less than it was, each with what the verdict must make of it.

A kind of content takes a copy of the record as the reader gave it, with all checksums right, so that it tests the
verdict; a kind of bytes takes the folder. One that returns False found nothing of its kind to change in this record.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from hazd.journal import seal, write_sealed
from hazd.model import CONTROL_STREAM, Event, Ref, TrialRecord

S = 1_000_000_000
NEVER_PASS, STAYS, FAILS = "never PASS", "stays PASS", "FAIL"


@dataclass
class Content:
    """A record that may be changed: meta (trial.json), samples (a DataFrame) and events."""

    meta: dict[str, Any]
    samples: Any
    events: list[Event]
    rng: Random

    @property
    def start_ns(self) -> int:
        return int(self.meta["phases"]["disrupt_start_ns"])

    @property
    def end_ns(self) -> int:
        return int(self.meta["phases"]["settle_end_ns"])

    def drop(self, mask: Any, *, counted: bool) -> bool:
        """Remove samples. counted: the workers' counts of what was due and recorded shrink with them."""
        lost = self.samples[mask]
        if not len(lost):
            return False
        self.samples = self.samples[~mask].reset_index(drop=True)
        if counted:
            for worker in self.meta["workers"]:
                gone = int((lost["worker"] == worker["id"]).sum())
                worker["due"] -= gone
                worker["recorded"] -= gone
        return True

    def drop_events(self, gone: Callable[[Event], bool], *, counted: bool) -> bool:
        """Remove events. counted: what the watches are said to have shown shrinks with them."""
        lost = [event for event in self.events if gone(event)]
        self.events = [event for event in self.events if not gone(event)]
        for event in lost if counted else ():
            kind = self.meta.get("watched", {}).get(event.ref.kind)
            if kind and event.source == "watch" and event.reason != "GAP":
                kind["events"] -= 1
        return bool(lost)

    def terminated(self) -> list[str]:
        """The pods under test that were being deleted after the disruption began."""
        labels = self.meta["workload"]["labels"].items()
        return sorted(
            {
                event.ref.name
                for event in self.events
                if event.ref.kind == "Pod"
                and event.observed_ns >= self.start_ns
                and event.detail.get("deletionTimestamp")
                and labels <= (event.detail.get("labels") or {}).items()
            }
        )


@dataclass(frozen=True)
class Kind:
    """change: of content; damage: of a run's folder with one trial. why: for a kind that is harmless."""

    name: str
    text: str
    change: Callable[[Content], bool | None] | None = None
    damage: Callable[[Path, Random], bool | None] | None = None
    outcome: str = NEVER_PASS
    why: str = ""


KINDS: list[Kind] = []


def content(text: str, outcome: str = NEVER_PASS, why: str = "") -> Callable[[Any], Any]:
    def add(change: Callable[[Content], bool | None]) -> Callable[[Content], bool | None]:
        KINDS.append(Kind(_title(change), text, change=change, outcome=outcome, why=why))
        return change

    return add


def bytes_of(text: str, outcome: str = NEVER_PASS, why: str = "") -> Callable[[Any], Any]:
    def add(damage: Callable[[Path, Random], bool | None]) -> Callable[[Path, Random], bool | None]:
        KINDS.append(Kind(_title(damage), text, damage=damage, outcome=outcome, why=why))
        return damage

    return add


def _title(function: Any) -> str:
    return str(function.__name__).replace("_", "-")


# Samples ----------------------------------------------------------------------------------------------------------


@content("a few requests are missing from the samples")
def drop(it: Content) -> bool | None:
    gone = it.samples.index.isin(it.rng.sample(range(len(it.samples)), max(1, len(it.samples) // 20)))
    return it.drop(gone, counted=False)


@content("a few requests are missing, and the workers' counts agree with what is left")
def drop_counted(it: Content) -> bool | None:
    gone = it.samples.index.isin(it.rng.sample(range(len(it.samples)), max(1, len(it.samples) // 20)))
    return it.drop(gone, counted=True)


@content("every second request is missing, and the counts agree")
def thin(it: Content) -> bool | None:
    return it.drop(it.samples["seq"] % 2 == it.rng.randrange(2), counted=True)


@content("the second after the disruption began is missing, and the counts agree")
def hole_at_the_disruption(it: Content) -> bool | None:
    due = it.samples["due_ns"]
    return it.drop((due >= it.start_ns) & (due < it.start_ns + it.rng.randrange(S // 2, 2 * S)), counted=True)


@content("all requests from shortly before the disruption on are missing, and the counts agree")
def truncate(it: Content) -> bool | None:
    return it.drop(it.samples["due_ns"] >= it.start_ns - it.rng.randrange(S // 2), counted=True)


@content("the last seconds of the traffic are missing, and the counts agree")
def silence_at_the_end(it: Content) -> bool | None:
    return it.drop(it.samples["due_ns"] >= it.end_ns - it.rng.randrange(S, 3 * S), counted=True)


@content("the traffic begins only after the disruption, and the counts agree")
def late_begin(it: Content) -> bool | None:
    return it.drop(it.samples["due_ns"] <= it.start_ns + it.rng.randrange(S), counted=True)


@content("no request at all is left, and the counts agree")
def no_samples(it: Content) -> bool | None:
    return it.drop(it.samples["due_ns"] > 0, counted=True)


@content("one stream of the plan recorded nothing, and the counts agree")
def stream_lost(it: Content) -> bool | None:
    names = sorted(set(it.samples["stream"]) - {CONTROL_STREAM})
    return it.drop(it.samples["stream"] == it.rng.choice(names), counted=True)


@content("some requests are recorded twice")
def duplicate(it: Content) -> bool | None:
    import pandas as pd

    again = it.samples.sample(n=max(1, len(it.samples) // 50), random_state=it.rng.randrange(2**31))
    it.samples = pd.concat([it.samples, again], ignore_index=True)
    return True


@content("some requests are recorded twice, and the counts agree")
def duplicate_counted(it: Content) -> bool | None:
    before = it.samples["worker"].value_counts()
    duplicate(it)
    for number, count in (it.samples["worker"].value_counts() - before).items():
        for worker in it.meta["workers"]:
            if worker["id"] == number:
                worker["due"] += int(count)
                worker["recorded"] += int(count)
    return True


def _times(frame: Any) -> list[str]:
    return [name for name in frame.columns if name.endswith("_ns")]


@content("all times of the samples are moved")
def shift(it: Content) -> bool | None:
    by_ns = it.rng.choice((-1, 1)) * it.rng.randrange(S // 2, 5 * S)
    for name in _times(it.samples):
        it.samples[name] = it.samples[name] + by_ns
    return True


@content("the client sends nothing while the endpoints change, then everything at once")
def stall(it: Content) -> bool | None:
    service = it.meta["workload"]["service"]
    changes = [
        event.observed_ns
        for event in it.events
        if event.ref.kind == "EndpointSlice"
        and event.detail.get("service") == service
        and it.start_ns <= event.observed_ns < it.end_ns - 3 * S
    ]
    since_ns = it.rng.choice(changes) - it.rng.randrange(S // 2)
    until_ns = since_ns + it.rng.randrange(5 * S // 2, 3 * S)
    held = (it.samples["due_ns"] >= since_ns) & (it.samples["due_ns"] < until_ns)
    later = until_ns - it.samples["sent_ns"]
    for name in ("sent_ns", "connected_ns", "first_byte_ns", "done_ns"):
        it.samples[name] = it.samples[name].where(~held, it.samples[name] + later)
    it.meta["criteria"]["max_late_ms"] = 1e6
    return bool(held.any())


@content("each request leaves late by more than the criteria allow")
def late(it: Content) -> bool | None:
    by_ns = it.rng.randrange(100, 400) * 1_000_000
    for name in ("sent_ns", "connected_ns", "first_byte_ns", "done_ns"):
        it.samples[name] = it.samples[name] + by_ns
    it.meta["criteria"]["max_late_ms"] = 20.0
    return True


@content("requests stand under a worker that had none")
def swap_workers(it: Content) -> bool | None:
    some = it.samples.index.isin(it.rng.sample(range(len(it.samples)), max(1, len(it.samples) // 4)))
    it.samples["worker"] = it.samples["worker"].where(~some, 7)
    return True


@content("some requests have another number of the schedule")
def wrong_numbers(it: Content) -> bool | None:
    some = it.samples.index.isin(it.rng.sample(range(len(it.samples)), max(2, len(it.samples) // 30)))
    it.samples["seq"] = it.samples["seq"].where(~some, it.samples["seq"] + 1_000_000)
    return True


@content("the rows stand in another order", STAYS, "the reader sorts them by due time")
def reorder(it: Content) -> bool | None:
    it.samples = it.samples.sample(frac=1, random_state=it.rng.randrange(2**31)).reset_index(drop=True)
    return True


@content("some requests failed", FAILS)
def failures(it: Content) -> bool | None:
    mine = it.samples.index[(it.samples["stream"] != CONTROL_STREAM) & (it.samples["due_ns"] >= it.start_ns)]
    fine = [index for index in mine if it.samples["kind"][index] == "ok"]
    some = it.samples.index.isin(it.rng.sample(fine, 10))
    kind, phase = it.rng.choice((("refused", "connect"), ("timeout", "connect"), ("reset", "wait"), ("eof", "wait")))
    for name, value in (("kind", kind), ("phase", phase), ("pod", None), ("status", 0)):
        it.samples[name] = it.samples[name].astype(object).where(~some, value)
    it.meta["criteria"]["max_failed"] = sum(before != "ok" for before in it.samples["kind"]) - 10
    it.meta["served"] = {}
    it.meta["workload"]["sample"] = False
    return True


@content("requests named no pod that served before and one that no watch knows")
def strange_pod(it: Content) -> bool | None:
    names = sorted(set(it.samples["pod"].dropna()) & set(it.meta["served"]))
    it.samples["pod"] = it.samples["pod"].replace({it.rng.choice(names): "app-nobody"})
    return True


# The control target -----------------------------------------------------------------------------------------------


@content("no request to the control target was recorded, and the counts agree")
def control_lost(it: Content) -> bool | None:
    return it.drop(it.samples["stream"] == CONTROL_STREAM, counted=True)


@content("requests to the control target failed")
def control_failed(it: Content) -> bool | None:
    mine = it.samples.index[it.samples["stream"] == CONTROL_STREAM]
    some = it.samples.index.isin(it.rng.sample(list(mine), 3))
    for name, value in (("kind", "timeout"), ("phase", "connect")):
        it.samples[name] = it.samples[name].astype(object).where(~some, value)
    return True


# Counts -----------------------------------------------------------------------------------------------------------


def _a_worker(it: Content) -> dict[str, Any]:
    return dict(it.rng.choice(it.meta["workers"]))


def _set_worker(it: Content, **fields: Any) -> bool:
    it.rng.choice(it.meta["workers"]).update(fields)
    return True


@content("a worker owed more than it recorded")
def wrong_due(it: Content) -> bool | None:
    return _set_worker(it, due=_a_worker(it)["due"] + it.rng.randrange(1, 50))


@content("a worker says it recorded another number than the journal holds")
def wrong_recorded(it: Content) -> bool | None:
    return _set_worker(it, recorded=_a_worker(it)["recorded"] + it.rng.choice((-1, 1)) * it.rng.randrange(1, 50))


@content("a worker did not send some of its requests")
def not_sent(it: Content) -> bool | None:
    worker, number = _a_worker(it), it.rng.randrange(1, 50)
    return _set_worker(it, not_sent=number, due=worker["due"] + number)


@content("a worker was lost")
def worker_lost(it: Content) -> bool | None:
    number = it.rng.randrange(1, 99)
    return _set_worker(it, lost=number, due=_a_worker(it)["due"] + number, error="its pod is gone")


@content("a worker's records do not match their checksum")
def worker_checksum(it: Content) -> bool | None:
    return _set_worker(it, sha256_ok=False)


@content("nothing is known of the workers")
def no_workers(it: Content) -> bool | None:
    it.meta["workers"] = []
    return True


@content("a pod's own count of requests is another one")
def wrong_served(it: Content) -> bool | None:
    counts = [item for item in it.meta["served"].values() if item["served"] > 5]
    it.rng.choice(counts)["served"] -= it.rng.randrange(1, 5)
    return True


@content("a pod's own count was not read")
def served_unread(it: Content) -> bool | None:
    there = set(it.samples["pod"].dropna()) & set(it.meta["served"])
    forced = it.meta.get("options", {}).get("force") or it.meta["scenario"] == "node-failure"
    if forced or not there:
        return False
    del it.meta["served"][it.rng.choice(sorted(there))]
    return True


# Watches and events -----------------------------------------------------------------------------------------------


@content("a watch fell silent when the disruption began")
def watch_cut(it: Content) -> bool | None:
    kind = it.rng.choice(("Pod", "EndpointSlice"))
    return it.drop_events(lambda e: e.ref.kind == kind and e.observed_ns >= it.start_ns, counted=False)


@content("a watch fell silent when the disruption began, and its count agrees")
def watch_cut_counted(it: Content) -> bool | None:
    kind = it.rng.choice(("Pod", "EndpointSlice"))
    return it.drop_events(
        lambda e: e.source == "watch" and e.ref.kind == kind and e.observed_ns >= it.start_ns, counted=True
    )


@content("a watch had a gap during the disruption")
def watch_gap(it: Content) -> bool | None:
    since = it.start_ns + it.rng.randrange(S)
    detail = {"from_ns": since, "to_ns": since + 2 * S, "text": "the stream was down"}
    ref = Ref(it.rng.choice(("Pod", "EndpointSlice")), "", it.meta["namespace"])
    it.events.append(Event(since + 2 * S, "watch", ref, "GAP", detail=detail))
    it.events.sort(key=lambda event: event.observed_ns)
    return True


@content("a watch was not proven to be alive at the end")
def watch_unproven(it: Content) -> bool | None:
    it.meta["watched"][it.rng.choice(("Pod", "EndpointSlice"))]["problem"] = "it missed a change of pod/app-x"
    return True


@content("nothing says whether the watches were alive")
def watches_unknown(it: Content) -> bool | None:
    del it.meta["watched"]
    return True


@content("one pod that was terminated is in no watch event, and the counts agree")
def termination_hidden(it: Content) -> bool | None:
    names = it.terminated()
    if not names or it.meta["scenario"] == "node-failure":
        return False  # there the loss of the node is what has to be seen
    name = it.rng.choice(names)
    return it.drop_events(
        lambda e: e.ref.kind == "Pod" and e.ref.name == name and bool(e.detail.get("deletionTimestamp")), counted=True
    )


@content("no event at all is left, and the counts agree")
def no_events(it: Content) -> bool | None:
    return it.drop_events(lambda e: True, counted=True)


@content(
    "the lines of the scenario's own steps are missing", STAYS, "they label the timeline, nothing is judged by them"
)
def stage_hidden(it: Content) -> bool | None:
    if it.meta["scenario"] == "node-failure":
        return False  # there they say when the node was lost
    return it.drop_events(lambda e: e.source == "stage", counted=False)


# Phases, clocks, state --------------------------------------------------------------------------------------------


@content("the disruption is said to begin after all of it was over")
def disruption_moved(it: Content) -> bool | None:
    it.meta["phases"]["disrupt_start_ns"] = it.end_ns - S // 10
    return True


@content("nothing says when the disruption began or settling ended")
def phases_lost(it: Content) -> bool | None:
    for name in it.rng.choice((("disrupt_start_ns",), ("traffic_start_ns",), ("settle_end_ns", "traffic_end_ns"))):
        it.meta["phases"].pop(name)
    return True


@content("a worker's clock moved during the trial")
def worker_clock(it: Content) -> bool | None:
    return _set_worker(it, offset_end_ns=it.rng.choice((-1, 1)) * it.rng.randrange(S // 2, 3 * S))


@content("a host was suspended during the trial")
def suspended(it: Content) -> bool | None:
    if it.rng.random() < 0.5:
        return _set_worker(it, suspended_ns=it.rng.randrange(S, 5 * S))
    it.meta["suspended_ns"] = it.rng.randrange(S, 5 * S)
    return True


@content("the trial did not run to its end")
def not_ended(it: Content) -> bool | None:
    it.meta["state"] = it.rng.choice(("running", "failed", "interrupted", ""))
    return True


@content(
    "the rate in trial.json is another one, the schedule is not", STAYS, "it is a word in reports; the plan judges"
)
def rate_words(it: Content) -> bool | None:
    it.meta["rate"] = 1.0
    return True


@content("the plan is another one than was sent")
def other_plan(it: Content) -> bool | None:
    plan = it.meta["plan"]
    if plan["profile"] == "constant":
        plan["rate"] = plan["rate"] * it.rng.choice((0.5, 0.9, 1.1, 2.0))
    else:
        plan["profile"] = "constant"
    return True


@content("the Service keeps each client on one pod")
def session_affinity(it: Content) -> bool | None:
    it.meta["workload"]["session_affinity"] = "ClientIP"
    return True


@content("an app container was killed")
def app_killed(it: Content) -> bool | None:
    return _ended(it, sidecar=False)


@content("a sidecar's container was killed", STAYS, "the app beside it served on and ended in order")
def sidecar_killed(it: Content) -> bool | None:
    return _ended(it, sidecar=True)


def _ended(it: Content, *, sidecar: bool) -> bool:
    """Give the last events of a terminated pod a container that ended by SIGKILL (137)."""
    names = it.terminated()
    if not names or it.meta["scenario"] == "node-failure" or it.meta.get("options", {}).get("force"):
        return False
    name, done = it.rng.choice(names), False
    for index, event in enumerate(it.events):
        status = event.detail.get("status") or {}
        if event.ref.name != name or event.ref.kind != "Pod" or not status.get("containerStatuses"):
            continue
        ended = {"terminated": {"exitCode": 137, "reason": "Error"}}
        own = [dict(item) for item in status["containerStatuses"]]
        if sidecar:
            if event.detail.get("deletionTimestamp"):
                own, done = [{"name": "a-sidecar", "restartCount": 0, "state": ended}, *own], True
        else:
            for item in own:
                if (item.get("state") or {}).get("terminated"):
                    item["state"], done = ended, True
        detail = {**event.detail, "status": {**status, "containerStatuses": own}}
        it.events[index] = dataclasses.replace(event, detail=detail)
    return done


# Bytes ------------------------------------------------------------------------------------------------------------


def _folder(run: Path) -> Path:
    return next((run / "trials").iterdir())


def _any_file(run: Path, rng: Random) -> Path:
    return rng.choice([run / "run.json", *(_folder(run) / name for name in FILES)])


FILES = ("trial.json", "events.jsonl", "samples.arrow")


@bytes_of("one bit of a file is another one")
def bit_flip(run: Path, rng: Random) -> bool | None:
    path = _any_file(run, rng)
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return True


@bytes_of("a file is cut short")
def cut_short(run: Path, rng: Random) -> bool | None:
    path = _any_file(run, rng)
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size - 2)])
    return True


@bytes_of("a block of a file is overwritten")
def overwritten(run: Path, rng: Random) -> bool | None:
    path = _any_file(run, rng)
    data = bytearray(path.read_bytes())
    at, length = rng.randrange(len(data)), min(512, len(data))
    data[at : at + length] = rng.randbytes(length)
    path.write_bytes(data)
    return True


@bytes_of("a file is missing")
def missing_file(run: Path, rng: Random) -> bool | None:
    _any_file(run, rng).unlink()
    return True


@bytes_of("the trial's folder is missing")
def missing_trial(run: Path, rng: Random) -> bool | None:
    shutil.rmtree(_folder(run))
    return True


@bytes_of("run.json does not name the trial")
def unlisted_trial(run: Path, rng: Random) -> bool | None:
    write_sealed(run / "run.json", json.loads((run / "run.json").read_text()) | {"trials": []})
    return True


@bytes_of("run.json has another trial that was never run")
def further_trial(run: Path, rng: Random) -> bool | None:
    meta = json.loads((run / "run.json").read_text())
    meta["trials"].append({"name": "rollout--never", "scenario": "rollout", "fixes": []})
    write_sealed(run / "run.json", meta)
    return True


@bytes_of("a newer hazd recorded it")
def other_schema(run: Path, rng: Random) -> bool | None:
    path = rng.choice([run / "run.json", _folder(run) / "trial.json"])
    write_sealed(path, json.loads(path.read_text()) | {"schema": rng.randrange(3, 100)})
    return True


@bytes_of("the trial is another run's, or another one of the run")
def other_identity(run: Path, rng: Random) -> bool | None:
    fields = rng.choice(({"name": "other"}, {"run": "yesterday"}, {"scenario": "other"}, {"fixes": ["other"]}))
    seal(_folder(run), json.loads((_folder(run) / "trial.json").read_text()) | fields)
    return True


@bytes_of("nothing vouches for the files")
def no_checksums(run: Path, rng: Random) -> bool | None:
    path = _folder(run) / "trial.json"
    meta = json.loads(path.read_text())
    gone = rng.choice((("sha256",), ("files", "sha256"), ("files",)))
    for name in gone:
        del meta[name]
    if "sha256" in meta:
        write_sealed(path, meta)
    else:
        path.write_text(json.dumps(meta))
    return True


def changed(record: TrialRecord, kind: Kind, seed: int) -> TrialRecord | None:
    """A mutant of a record's content; None when the record has nothing of the kind."""
    assert kind.change is not None
    it = Content(
        json.loads(json.dumps(record.meta)), record.samples.copy(), list(record.events), Random(f"{kind.name}{seed}")
    )
    if not kind.change(it):
        return None
    return dataclasses.replace(record, meta=it.meta, samples=it.samples, events=tuple(it.events))


__all__ = ["FAILS", "KINDS", "NEVER_PASS", "STAYS", "Content", "Kind", "changed"]
