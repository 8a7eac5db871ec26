"""The order of a trial, and nothing else: set up, wait, warm up, disrupt under traffic, settle, take down.

Every step here is a call into one of the layers below. Teardown is shielded from cancellation, bounded in time and
does everything it can even when one thing fails; what it could not do is written into the trial and said aloud.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import yaml

from hazd import __version__
from hazd.clock import suspended_ns, unix_ns
from hazd.cluster.port import MANAGED_BY, RUN_LABEL, Cluster, Images
from hazd.errors import AlreadyExists, HazdError, TimedOut, UsageError
from hazd.journal import TrialWriter, identity_of
from hazd.journal.flows import FlowWriter
from hazd.manifests import find_workload, placed, without_secrets
from hazd.model import Manifest, Observer, Progress, Ref, Trial
from hazd.observe.pod import observer_pod
from hazd.sample_app.control_target import control_target
from hazd.sample_app.manifests import namespace_manifest
from hazd.scenario import Scenario
from hazd.stage import Stage
from hazd.traffic.job import worker_job
from hazd.trial.evidence import keep_evidence, watch_containers
from hazd.trial.failure import naming_full_disk, why_failed
from hazd.trial.fleet import Fleet, Worker
from hazd.trial.lease import hold_lease, release_lease
from hazd.trial.namespace import remove_namespace
from hazd.trial.observers import Observers
from hazd.trial.recorder import Recorder
from hazd.trial.target import about_target, aim, deploy_control
from hazd.trial.vantage import vantage_nodes
from hazd.trial.worker import count_requests

TEARDOWN_S = 90.0
NAMESPACE_S = 30.0
"""What the namespace gets in any case of it, also when putting back took all the time."""


def namespace_of(run: str, index: int) -> str:
    """A trial's namespace: DNS label rules (RFC 1123), at most 63 characters."""
    return re.sub(r"[^a-z0-9-]+", "-", f"hazd-{run}".lower())[:58].strip("-") + f"-{index}"


class OneTrial:
    """One trial under way; run() is the order of things.

    keep: leave its namespace, with everything in it. now_ns: the clock of everything it writes down.
    """

    def __init__(
        self,
        cluster: Cluster,
        scenario: Scenario,
        trial: Trial,
        images: Images,
        folder: Path,
        index: int,
        observer: Observer,
        *,
        keep: bool = False,
        now_ns: Callable[[], int] = unix_ns,
    ) -> None:
        self.cluster = cluster
        self.scenario = scenario
        self.trial = trial
        self.images = images
        self.run_name = folder.name
        self.namespace = namespace_of(folder.name, index)
        self.observer = observer
        self.keep = keep
        self.now_ns = now_ns
        self.folder = folder / "trials" / trial.name
        self.labels = {**MANAGED_BY, RUN_LABEL: folder.name}
        self.phases: dict[str, int] = {}
        self.flows = FlowWriter(self.folder)
        self.observers = Observers(cluster, self.flows)
        self.problems: list[str] = []
        self.owns_namespace = False
        self.suspended_before_ns = suspended_ns()
        self.stage: Stage | None = None
        self.recorder: Recorder | None = None
        with naming_full_disk(self.folder):
            self.writer = TrialWriter(self.folder, self._meta())
        self.fleet = Fleet(cluster, self.writer, now_ns)

    def _meta(self) -> dict[str, Any]:
        trial = self.trial
        kept = ("name", "scenario", "fixes", "rate", "warmup_s", "settle_s", "replicas", "timeout_s")
        return {name: getattr(trial, name) for name in kept} | {
            "run": self.run_name,
            "hazd": __version__,
            "identity": identity_of(trial, self.cluster.info, asdict(self.images), __version__),
            "options": dict(trial.options),
            "app": asdict(trial.app) if trial.app else None,
            "criteria": asdict(trial.criteria),
            "fix_settings": dict(trial.fix_settings),
            "applied": {name: asdict(item) for name, item in trial.applied.items()},
            "patch": trial.patch,
            "expect": list(trial.traffic.expect),
            "streams": [asdict(stream) for stream in trial.traffic.streams],
            "plan": {name: getattr(trial.traffic, name) for name in ("profile", "rate", "seed")},
            "cluster": asdict(self.cluster.info),
            "namespace": self.namespace,
            "started_ns": self.now_ns(),
            "phases": {},
            "workers": [],
            "served": {},
            "notes": [],
            "error": "",
        }

    def step(self, text: str) -> None:
        self.observer(Progress("step", {"text": text}))

    def _note(self, text: str) -> None:
        self.problems.append(text)
        self.observer(Progress("note", {"text": text}))

    async def run(self) -> None:
        """Raises HazdError when it failed, for whatever reason; a cancelled one ends with its cancellation."""
        state, failure = "interrupted", None
        try:
            try:
                async with anyio.create_task_group() as tasks:
                    await self._whole(tasks)
                    tasks.cancel_scope.cancel()
                state = "complete"
            except (Exception, BaseExceptionGroup) as error:
                if isinstance(error, BaseExceptionGroup) and error.subgroup(Exception) is None:
                    raise  # a cancellation, of however many tasks
                state, failure = "failed", why_failed(error, self.folder)
                raise failure from error
        finally:
            with anyio.CancelScope(shield=True):
                if failure is not None and self.owns_namespace:
                    await keep_evidence(self.cluster, self.namespace, self.folder)
                await self._take_down()
            self._close(state, failure)

    def _close(self, state: str, failure: HazdError | None) -> None:
        """Complete the journal. Raises HazdError when that fails; `failure` stays the trial's error then."""
        try:
            self.writer.update(
                phases=self.phases,
                workers=self.fleet.accounts(),
                observers=self.observers.accounts(),
                served=self.recorder.served if self.recorder else {},
                watched=self.recorder.watches.account() if self.recorder else {},
                suspended_ns=suspended_ns() - self.suspended_before_ns,
                notes=self.problems,
                ended_ns=self.now_ns(),
                error=failure.message if failure else "",
            )
            self.flows.close()
            self.writer.close(state)
        except Exception as error:
            raise failure or why_failed(error, self.folder) from error

    async def _whole(self, tasks: anyio.abc.TaskGroup) -> None:
        workload, service = find_workload(self.trial.setup.documents, self.trial.setup.workload)
        about = about_target(self.trial, workload, service)
        self.writer.update(workload=about)
        self.step("namespace")
        await self._make_namespace()
        tasks.start_soon(hold_lease, self.cluster, self.namespace, self.run_name, self._note)
        self.recorder = Recorder(
            self.cluster,
            self.namespace,
            self.writer,
            self.observer,
            about["labels"],
            sample=about["sample"],
            now_ns=self.now_ns,
            container=about["container"],
        )
        await self.recorder.open(tasks)
        await self._deploy()
        ref = Ref(workload["kind"], workload["metadata"]["name"], self.namespace)
        next_image = self.images.app_next if self.trial.next_image is None else self.trial.next_image
        self.stage = Stage(self.cluster, self.trial, ref, next_image, self.recorder.add, self.now_ns)
        async with anyio.create_task_group() as watching:
            watching.start_soon(watch_containers, self.cluster, self.namespace)
            await self._make_ready(service, tasks)
            watching.cancel_scope.cancel()
        await self._under_traffic()

    async def _make_ready(self, service: Manifest, tasks: anyio.abc.TaskGroup) -> None:
        """Everything stands and answers; what listens until the trial ends is started in `tasks`."""
        assert self.stage is not None
        self.step("workload becomes ready")
        await self.stage.rollout_status()
        nodes = await self._vantages()
        plan, image = self.trial.traffic, self.images.app
        control = control_target(
            image=image, namespace=self.namespace, node=nodes[0], labels=self.labels, http2=plan.http2
        )
        await deploy_control(self.cluster, plan, control)
        self.step("traffic workers")
        await self.fleet.launch(self._worker_job(nodes))
        aimed = await aim(self.cluster, self.trial, self.namespace, service)
        await self._observe(nodes, urlsplit(aimed.url).netloc, tasks)
        self.step("first responses")
        await self.fleet.prepare(aimed)

    async def _observe(self, nodes: list[str], service: str, tasks: anyio.abc.TaskGroup) -> None:
        if not self.trial.observe:
            return
        self.step("observers")
        plan, image = self.trial.traffic, self.images.worker
        pods = [
            observer_pod(
                number,
                namespace=self.namespace,
                node=node,
                image=image,
                labels=self.labels,
                service=service,
                most_s=plan.max_duration_s + 60,
            )
            for number, node in enumerate(dict.fromkeys(nodes))
        ]
        offsets = {worker.node: worker.offset_ns for worker in self.fleet.workers}
        await self.observers.launch(pods, offsets, tasks)

    async def _under_traffic(self) -> None:
        assert self.stage is not None
        assert self.recorder is not None
        self.phases["traffic_start_ns"] = await self.fleet.start()
        self.step("warm-up")
        try:
            async with anyio.create_task_group() as polling:
                polling.start_soon(self.fleet.poll, self._tell)
                await self._disrupt()
                polling.cancel_scope.cancel()
        finally:
            # Also on an error or Ctrl-C: what was sent is finished, recorded and fetched, within one timeout.
            with anyio.move_on_after(self.trial.traffic.timeout_s + 15, shield=True) as scope:
                self.phases["traffic_end_ns"] = await self.fleet.stop()
                await self.fleet.poll(self._tell)
                await self.observers.finish(self.phases["traffic_end_ns"])
                await self.fleet.measure_clocks_again()
            if scope.cancelled_caught:
                self.problems.append("not every record could be fetched from the workers in time")
        await self.recorder.watches.prove(self.cluster)
        if self.recorder.sample:
            self.step("the app's own counts")
            await self.recorder.finish_logs()

    async def _disrupt(self) -> None:
        assert self.stage is not None
        await anyio.sleep(self.trial.warmup_s)
        self.step(f"disruption: {self.scenario.name}")
        self.phases["disrupt_start_ns"] = self.now_ns()
        with anyio.move_on_after(self.trial.timeout_s) as scope:
            await self.scenario.disrupt(self.stage)
        self.phases["disrupt_end_ns"] = self.now_ns()
        if scope.cancelled_caught:
            raise TimedOut(f"{self.scenario.name} did not end in {self.trial.timeout_s:g} s", "raise --timeout")
        self.step("settling")
        await self._settle()

    async def _settle(self) -> None:
        """Terminating pods belong to the disruption: settling begins when the last of them is gone."""
        assert self.recorder is not None
        with anyio.move_on_after(self.trial.timeout_s):
            while self.recorder.terminating:
                await anyio.sleep(0.1)
        await anyio.sleep(self.trial.settle_s)
        self.phases["settle_end_ns"] = self.now_ns()

    async def _make_namespace(self) -> None:
        try:
            await self.cluster.create(namespace_manifest(self.namespace, self.labels))
        except AlreadyExists:
            raise UsageError(
                f"namespace {self.namespace} exists already and is not this run's",
                "choose another --out, or `hazd clean` if a killed run left it",
            ) from None
        self.owns_namespace = True

    async def _deploy(self) -> None:
        self.step("workload")
        documents = [placed(doc, self.namespace, self.labels) for doc in self.trial.setup.documents]
        (self.folder / "manifests.yaml").write_text(yaml.safe_dump_all(without_secrets(documents), sort_keys=False))
        for doc in documents:
            await self.cluster.create(doc)

    async def _vantages(self) -> list[str]:
        assert self.stage is not None
        taken = (await self.stage.nodes_of_pods())[: self.scenario.nodes_taken(self.trial.options)]
        return await vantage_nodes(self.cluster, self.trial.vantage, avoid=taken)

    def _worker_job(self, nodes: list[str]) -> Manifest:
        count, image = max(self.trial.workers, len(nodes)), self.images.worker
        return worker_job(namespace=self.namespace, nodes=nodes, count=count, image=image, labels=self.labels)

    def _tell(self, workers: list[Worker]) -> None:
        counts = count_requests(workers, self.trial.traffic.streams)
        self.observer(Progress("counts", counts | {"rate": self.trial.rate}))

    async def _take_down(self) -> None:
        """Bounded, idempotent, complete: undo what left the namespace, then remove the namespace and wait for it.

        Both outlast an API server that is away for a while; what could not be done in time is named with its remedy.
        """
        self.step("taking down")
        deadline = anyio.current_time() + TEARDOWN_S
        if self.stage is not None:
            for problem in await self.stage.put_back(TEARDOWN_S):
                self._note(problem)
        if not self.owns_namespace:
            return
        left_s = max(NAMESPACE_S, deadline - anyio.current_time())
        with anyio.move_on_after(left_s) as scope:
            try:
                if self.keep:
                    await release_lease(self.cluster, self.namespace)
                    self._note(
                        f"namespace {self.namespace} is kept; `kubectl delete namespace {self.namespace}` or "
                        "`hazd clean` removes it"
                    )
                else:
                    await remove_namespace(self.cluster, self.namespace)
            except HazdError as error:
                self._note(f"namespace {self.namespace} may be left: {error.message}")
            except Exception as error:
                self._note(f"namespace {self.namespace} may be left: {type(error).__name__}: {error}")
        if scope.cancelled_caught:
            self._note(f"namespace {self.namespace} was still there after {left_s:.0f} s; see `hazd clean`")


__all__ = ["OneTrial", "namespace_of"]
