"""The run as JUnit XML, which every CI system shows: one test case a trial.

FAIL becomes a failure; INCONCLUSIVE an error, since the test itself did not work; a trial that was not run is skipped.
A comparison is one more test case, with its verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hazd.report.compare import lines
from hazd.report.console import sentence


def render(summary: Mapping[str, Any], differences: Mapping[str, Any] | None = None) -> str:
    """The XML text. differences: what `compare` said, if it was asked; its regressions are failures too."""
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    differences = differences or {}
    regressions = {item["name"]: item["regressions"] for item in differences.get("trials", ())}
    known = differences.get("known_failures", ())
    suite = TestSuite(f"hazd.{summary['scenario']}")
    suite.add_property("run", str(summary["run"]))
    for trial in summary["trials"]:
        case = TestCase(trial["name"], classname=f"hazd.{trial['scenario']}")
        results: list[Any] = []
        decides = trial["name"] in summary["decided_by"]
        if trial["verdict"] == "FAIL" and decides and trial["name"] not in known:
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
    if verdict := differences.get("verdict"):
        case = TestCase("comparison", classname=f"hazd.{summary['scenario']}")
        words = "\n".join(lines(differences))
        _set(case, [] if verdict == "PASS" else [(Failure if verdict == "FAIL" else Error)(words, verdict)])
        case.system_out = words
        suite.add_testcase(case)
    report = JUnitXml()
    report.add_testsuite(suite)
    text: Any = cast(Any, report).tostring()
    return text.decode() if isinstance(text, bytes) else str(text)


def _set(case: Any, results: list[Any]) -> None:
    """The library takes a list of mixed results, and its types say otherwise."""
    case.result = results


__all__ = ["render"]
