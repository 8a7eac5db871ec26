"""The run as JUnit XML, which every CI system shows: one test case a trial.

FAIL becomes a failure; INCONCLUSIVE an error, since the test itself did not work; a trial that never ran is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hazd.report.console import sentence


def render(summary: Mapping[str, Any], differences: Mapping[str, Any] | None = None) -> str:
    """The XML text. differences: what `compare` said, if there was a baseline; its regressions are failures too."""
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    regressions: dict[str, list[str]] = {}
    for item in (differences or {}).get("trials", ()):
        regressions[item["name"]] = list(item["regressions"])
    suite = TestSuite(f"hazd.{summary['scenario']}")
    suite.add_property("run", str(summary["run"]))
    for trial in summary["trials"]:
        case = TestCase(trial["name"], classname=f"hazd.{trial['scenario']}")
        results: list[Any] = []
        decides = trial["name"] in summary["decided_by"]
        if trial["verdict"] == "FAIL" and decides:
            results.append(Failure(sentence(trial), "FAIL"))
        if trial["verdict"] == "INCONCLUSIVE":
            results.append(Error("; ".join(trial["reasons"]), "INCONCLUSIVE"))
        results += [Failure(text, "regression") for text in regressions.get(trial["name"], ())]
        _set(case, results)
        case.system_out = "\n".join([sentence(trial), *trial["reasons"]])
        suite.add_testcase(case)
    for name in summary.get("not_run") or ():
        case = TestCase(name, classname=f"hazd.{summary['scenario']}")
        _set(case, [Skipped("the run ended before this trial began")])
        suite.add_testcase(case)
    report = JUnitXml()
    report.add_testsuite(suite)
    text: Any = cast(Any, report).tostring()
    return text.decode() if isinstance(text, bytes) else str(text)


def _set(case: Any, results: list[Any]) -> None:
    """The library takes a list of mixed results, and its types say otherwise."""
    case.result = results


__all__ = ["render"]
