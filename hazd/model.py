"""The nouns of hazd: frozen, slotted, without clock, network or disk.

Times are integers in nanoseconds since the Unix epoch (`_ns`), read from a monotonic clock with one anchor per
process, so that a step of the wall clock in the middle of a run moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, Any]
"""One Kubernetes object as its JSON says it."""


class FailureKind(IntEnum):
    """How a request ended; the value is what records carry, the lower-case name is what reports show."""

    OK = 0
    REFUSED = 1  # ECONNREFUSED while connecting: nobody listens, or a REJECT rule
    NO_ROUTE = 2  # EHOSTUNREACH, ENETUNREACH, EACCES, EINVAL while connecting: the address leads nowhere
    TIMEOUT = 3  # no answer in time, in any phase, or ETIMEDOUT
    RESET = 4  # ECONNRESET or EPIPE after the connection stood
    EOF = 5  # the peer closed before or within the answer; phase tells which
    BAD_STATUS = 6  # a whole answer with a status that was not expected
    OTHER = 7  # anything else; errno and phase say what is known

    @property
    def label(self) -> str:
        return self.name.lower()


class Phase(IntEnum):
    """The part of a request that failed (httpcore's trace events, in five words)."""

    NONE = 0
    CONNECT = 1
    TLS = 2
    SEND = 3
    WAIT = 4
    RECEIVE = 5

    @property
    def label(self) -> str:
        return self.name.lower()


class Connection(IntEnum):
    """Whether the request was the first on its connection."""

    NEW = 0
    REUSED = 1

    @property
    def label(self) -> str:
        return self.name.lower()


class Outcome(StrEnum):
    """A verdict's one word; INCONCLUSIVE wins over FAIL only when the numbers themselves cannot be trusted."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Ref:
    """Names one object: kind as in its manifest ("Pod"), name, and namespace ("" for cluster-wide kinds)."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something seen while a trial ran.

    observed_ns: our clock when it was seen. stated_ns: the object's own time (whole seconds in the API), if any.
    source: "watch" (the API server said so), "app" (the app's log), "stage" (the scenario did it), "hazd" (the runner).
    reason: for watches ADDED, MODIFIED, DELETED, GAP or BOOKMARK; for the others a short word such as "sigterm".
    detail: what `digest` kept of the object, or the line of the log; JSON types only.
    """

    observed_ns: int
    source: str
    ref: Ref
    reason: str
    stated_ns: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """What the report says of the cluster. kind: "kind", "lab" or "context".

    uid: which cluster it is: that of its kube-system namespace, for a lab a digest of its options; "" = unknown.
    """

    kind: str
    name: str
    version: str
    nodes: int
    proxy_mode: str
    note: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """One schedule of requests beside others: its connections, and its share of the rate.

    connection "new" opens one per request; "reused" keeps `pool` connections, each closed after `recycle_after`
    requests (0: never) or `recycle_s` seconds (0: never). url: a target of its own ("": the plan's), such as a control
    pod that is never disrupted, beside the real one.
    """

    name: str
    connection: str = "new"
    share: float = 1.0
    pool: int = 8
    recycle_after: int = 0
    recycle_s: float = 0.0
    url: str = ""


CONTROL_STREAM = "control"
"""The name of the stream whose target nothing disturbs; analysis keeps it apart from the service's."""


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """What one worker gets. rate: per second over all workers; this one sends every `shards`-th due time.

    profile: "constant", "poisson", "ramp:FROM:TO:SECONDS" or "steps:RATE@SECONDS,...". url: http(s)://HOST[:PORT]/PATH.
    expect: statuses that count as ok.
    max_duration_s bounds the load even when nobody says stop.
    """

    url: str
    rate: float
    streams: tuple[Stream, ...]
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    expect: tuple[int, ...] = (200,)
    timeout_s: float = 5.0
    max_in_flight: int = 2000
    max_duration_s: float = 900.0
    sender: str = "httpx"
    profile: str = "constant"
    shard: int = 0
    shards: int = 1
    seed: int = 1
    preflight_pods: int = 0
    preflight_s: float = 60.0
    verify_tls: bool = True
    ca_pem: str = ""
    sni: str = ""
    http2: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """What a fix transforms: the manifests under test, for the API server that will get them.

    workload: name of the workload under test among them; "" = the only one that a Service selects. native_sleep:
    the API server accepts preStop.sleep (KEP-3960: on by default from Kubernetes 1.30).
    """

    documents: tuple[Manifest, ...]
    workload: str = ""
    native_sleep: bool = True


@dataclass(frozen=True, slots=True)
class Applied:
    """What a fix left in the manifests, whether it set it or found it there.

    words: for titles and tables, "preStop 20 s". values: by name, with the unit in the name; JSON types.
    """

    words: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """How the sample app behaves and is rolled, before any fix.

    startup_delay_s: until it listens. latency_ms, cpu_ms: per request. max_surge, max_unavailable: as a Deployment
    takes them, a number or a percentage.
    """

    startup_delay_s: float = 0.0
    latency_ms: float = 0.0
    cpu_ms: float = 0.0
    max_surge: str = "25%"
    max_unavailable: str = "25%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What the verdict judges by.

    max_failed: failed requests that still count as PASS. max_late_ms: p99 lateness above which the traffic was not the
    one that was planned. expects: how many of each transition must have been seen for the trial to count, named as in
    analysis.verdict.count_transitions; None: anything at all. even_shares: pods that were added must get their share.
    """

    max_failed: int = 0
    max_late_ms: float = 20.0
    expects: Mapping[str, int] | None = None
    even_shares: bool = False

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Criteria:
        """Those that trial.json holds; what it does not say is as it is by default."""
        found = dict(meta.get("criteria") or {})
        expects = found.get("expects")
        if isinstance(expects, list | tuple):  # one at least of each, in journals of before 2026-11-24
            expects = dict.fromkeys(map(str, expects), 1)
        return cls(**found | {"expects": expects})


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one scenario with one set of fixes; all of it is written into the journal.

    name: unique in its run, "rollout--prestop+readiness". fixes: names, in the order they are applied.
    options: the scenario's own (restart, replicas to scale to, force, ...). app: how the sample app behaves; None: the
    workload under test is the user's own. next_image: what a rolling update changes to; "" = a restart, None = the
    cluster's own second image. fix_settings: what the trial's fixes were asked for, by the fields of fixes.FixSettings;
    applied: what each of them left in the manifests. patch: what they changed, as a unified diff.
    Durations in seconds.
    """

    name: str
    scenario: str
    fixes: tuple[str, ...]
    rate: float
    warmup_s: float
    settle_s: float
    replicas: int
    setup: Setup
    traffic: TrafficPlan
    vantage: tuple[str, ...] = ()
    observe: bool = False
    workers: int = 1
    timeout_s: float = 300.0
    options: Mapping[str, Any] = field(default_factory=dict)
    app: AppSettings | None = AppSettings()
    next_image: str | None = None
    criteria: Criteria = Criteria()
    fix_settings: Mapping[str, Any] = field(default_factory=dict)
    applied: Mapping[str, Applied] = field(default_factory=dict)
    patch: str = ""

    @property
    def sample(self) -> bool:
        """The workload under test is hazd's sample app, which logs, counts and names itself."""
        return self.app is not None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What the journal gives back of a trial: `meta` (trial.json), samples (a pandas DataFrame), events in order.

    `problems` says what the reader had to skip (a torn last batch, a missing file). flows: a DataFrame of the
    connection tracking events that observers saw (columns of `journal.flows.flow_schema`), None where nothing observed.
    verified: all of it is as it was written; what is not may hold anything.
    """

    name: str
    meta: Mapping[str, Any]
    samples: Any
    events: Sequence[Event]
    problems: tuple[str, ...] = ()
    flows: Any = None
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Outage:
    """A run of failures as one client saw it: from its last good to its next good sample, on one vantage and stream."""

    vantage: str
    stream: str
    last_good_ns: int | None
    first_failed_ns: int
    last_failed_ns: int
    first_good_ns: int | None
    requests: int
    failures: Mapping[str, int]

    @property
    def length_ms(self) -> float:
        start = self.last_good_ns if self.last_good_ns is not None else self.first_failed_ns
        end = self.first_good_ns if self.first_good_ns is not None else self.last_failed_ns
        return (end - start) / 1e6


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a group of requests failed. rule: the analysis rule's name; pod: "" when no pod can be named.

    confidence is between 0 and 1: the share of the group for which no other candidate fits as well.
    """

    rule: str
    pod: str
    kinds: Mapping[str, int]
    confidence: float
    summary: str
    evidence: tuple[str, ...] = ()
    cured_by: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        return sum(self.kinds.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a trial with its reasons, most important first."""

    outcome: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running trial tells whoever shows it. `data` holds JSON types only, by `what`:

    run: trials. trial: name, fixes, scenario. step: text. counts: ok, failed, due, by kind.
    pods: counts by state. event: text. trial-done: name, path. note: text.
    trial: name of the trial that says it, as several may be under way; "" for the run.
    """

    what: str
    data: Mapping[str, Any] = field(default_factory=dict)
    trial: str = ""


Observer: TypeAlias = Callable[[Progress], None]
