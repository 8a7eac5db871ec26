"""Run in a process of its own: makes a private network namespace, sends one request to each dead address, prints them.

Started by test_wire_routes as: python -m wire.route_child SENDER FOLDER
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

from .harness import send

CLONE_NEWNET = 0x40000000
ROUTES = ("unreachable", "prohibit", "blackhole")


def main() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for number, route in enumerate(ROUTES):
        subprocess.run(["ip", "route", "add", route, f"10.77.{number}.0/24"], check=True)
    out = {}
    for number, name in enumerate((*ROUTES, "none")):
        row = send(sys.argv[1], Path(sys.argv[2]), f"http://10.77.{number}.1:80/")[0]
        out[name] = (row.kind.label, row.phase.label, row.errno)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
