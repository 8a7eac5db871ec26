"""From a trial's journal to outages, causes, propagation and a verdict.

Pure: no clock, no network, no disk, so it can be run again on any old or interrupted run. Reports build on TrialResult
and on the summary, and never reach into the journal themselves.
"""

from __future__ import annotations

from hazd.analysis.result import TrialResult, analyse
from hazd.analysis.summary import deciding, summarise

__all__ = ["TrialResult", "analyse", "deciding", "summarise"]
