"""The sample app's environment: defaults, and every bad value named."""

from __future__ import annotations

import socket

import pytest

from hazd.sample_app.knobs import Knobs


def test_defaults() -> None:
    """Without any variable it is the baseline: port 8080, at once, exit on SIGTERM; empty variables are as none."""
    knobs = Knobs.read({"HAZD_PORT": "", "HAZD_ON_SIGTERM": ""})
    assert knobs == Knobs(8080, 0.0, "exit", 0.0, 0.0, 0, 10.0, "", socket.gethostname())


def test_units() -> None:
    """Milliseconds become seconds inside; the names carry the unit."""
    knobs = Knobs.read({"HAZD_LATENCY_MS": "20", "HAZD_CPU_MS": "1.5", "HAZD_STARTUP_DELAY_S": "2", "POD_NAME": "p"})
    assert (knobs.latency_s, knobs.cpu_s, knobs.startup_delay_s, knobs.pod) == (0.02, 0.0015, 2.0, "p")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HAZD_PORT", "65536"),
        ("HAZD_PORT", "-1"),
        ("HAZD_PORT", "80.5"),
        ("HAZD_PORT", "٣"),
        ("HAZD_RECYCLE_AFTER", "many"),
        ("HAZD_STARTUP_DELAY_S", "nan"),
        ("HAZD_STARTUP_DELAY_S", "2s"),
        ("HAZD_LATENCY_MS", "-0.1"),
        ("HAZD_CPU_MS", "inf"),
        ("HAZD_SHUTDOWN_TIMEOUT_S", "soon"),
        ("HAZD_ON_SIGTERM", "Exit"),
        ("POD_NAME", "a\r\nb"),
    ],
)
def test_bad_values_are_named(name: str, value: str) -> None:
    """The error carries variable, value and what would be right."""
    with pytest.raises(ValueError, match="must be") as caught:
        Knobs.read({name: value})
    assert str(caught.value).startswith(f"{name}={value!r}: ")
