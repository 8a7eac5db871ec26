"""Turn a trial's folder into a golden case: a journal kept for good, and what analysis must find in it.

    python -m tests.golden.record reports/<run>/trials/<trial> <case>    keep a recorded trial (a bug report, say)
    python -m tests.golden.record --simulated                            write the simulated cases anew
    python -m tests.golden.record --seal                                 after a change by hand: checksums anew
    python -m tests.golden.record --findings                             write every findings.json anew; read the diff!

Events that no rule reads are left out and samples are compressed, so that a case stays small.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hazd.analysis import analyse, summarise
from hazd.journal import read_trial, seal
from hazd.journal.flows import FLOWS_FILE
from hazd.journal.schema import EVENTS_FILE, SAMPLES_FILE, SCHEMA, TRIAL_FILE
from tests.golden import worlds

HERE = Path(__file__).parent
FINDINGS = "findings.json"
PINNED = ("requests", "least", "most", "how")
SIMULATED = {
    "simulated-drain-of-all": worlds.drain_of_all,
    "simulated-network-cut": worlds.network_cut,
    "simulated-node-loss": worlds.node_loss,
    "simulated-rollout": worlds.rollout,
    "simulated-stale-conntrack": worlds.stale_entries,
}
WHOLE = ("Pod", "EndpointSlice", "Node")
"""Kinds of which every event is kept."""
_DROPPED = {"uid", "resourceVersion", "generation", "labels", "images", "ownerReferences", "creationTimestamp"}


def cases() -> list[Path]:
    """Every folder with a journal in it."""
    return sorted(folder.parent for folder in HERE.glob(f"*/{TRIAL_FILE}"))


def findings(folder: Path) -> dict[str, Any]:
    """What a case pins: verdict, counts, causes and lags, without the words."""
    trial = summarise({}, [analyse(read_trial(folder))])["trials"][0]
    return {
        "verdict": trial["verdict"],
        "requests": trial["requests"],
        "failures": {kind: count for kind, count in trial["failures"].items() if count},
        "attributed": trial["attributed"],
        "causes": {
            cause["rule"]: {name: cause[name] for name in ("requests", "least", "most", "how")}
            | {"pods": len(cause["pods"])}
            for cause in trial["causes"]
        },
        "terminations": trial["terminations"],
        "removal_ms": trial["propagation_ms"]["removal"],
        "addition_ms": trial["propagation_ms"]["addition"],
        "outages": trial["outages"]["n"],
        "complete": trial["accounting"]["complete"],
        "reconciled": trial["accounting"]["reconciled"],
        **({"control": trial["control"]} if trial["control"] else {}),
    }


def keep(source: Path, target: Path) -> None:
    """Copy a trial's journal, slimmed; the target's files are written over."""
    import pyarrow as pa

    target.mkdir(exist_ok=True)
    _keep_flows(source, target)
    meta = json.loads((source / TRIAL_FILE).read_text())
    meta.pop("patch", None)
    if "watched" in meta:
        meta["watched"] = {kind: item for kind, item in meta["watched"].items() if kind in WHOLE}
    meta["schema"] = SCHEMA
    lines = [json.loads(line) for line in (source / EVENTS_FILE).read_text().splitlines()]
    kept = [_slim(line) for line in lines if _is_read(line)]
    (target / EVENTS_FILE).write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in kept))
    with pa.OSFile(str(source / SAMPLES_FILE), "rb") as file:
        table = pa.ipc.open_file(file).read_all().combine_chunks()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(target / SAMPLES_FILE), "wb") as sink,
        pa.ipc.new_file(sink, table.schema, options=options) as out,
    ):
        out.write_table(table)
    seal(target, meta)


def _keep_flows(source: Path, target: Path) -> None:
    if (source / FLOWS_FILE).exists():
        (target / FLOWS_FILE).write_bytes((source / FLOWS_FILE).read_bytes())


def _is_read(line: dict[str, Any]) -> bool:
    kind = line["ref"]["kind"]
    if line["source"] != "watch" or line["reason"] == "GAP":
        return True
    return kind in WHOLE or (kind == "Event" and line["detail"].get("type") == "Warning")


def _slim(line: dict[str, Any]) -> dict[str, Any]:
    detail = {name: value for name, value in line["detail"].items() if name not in _DROPPED}
    labels = line["detail"].get("labels") or {}
    if line["source"] == "watch" and labels.get("app"):
        detail["labels"] = {"app": labels["app"]}
    return {**line, "detail": detail}


def main(words: list[str]) -> None:
    if words == ["--simulated"]:
        import tempfile

        for name, make in SIMULATED.items():
            with tempfile.TemporaryDirectory() as folder:
                world = make()
                world.rate = 120.0
                keep(world.write(Path(folder) / name), HERE / name)
    elif len(words) == 2:
        keep(Path(words[0]), HERE / words[1])
    elif words == ["--seal"]:
        for case in cases():
            seal(case, json.loads((case / TRIAL_FILE).read_text()) | {"schema": SCHEMA})
        return
    elif words != ["--findings"]:
        raise SystemExit(__doc__)
    for case in cases():
        (case / FINDINGS).write_text(json.dumps(findings(case), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
