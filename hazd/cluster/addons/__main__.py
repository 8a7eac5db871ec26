"""python -m hazd.cluster.addons: metrics-server and the vertical-pod-autoscaler, built and installed ahead of time.

For test lanes and CI: the first build of each takes minutes, which a single test's time limit does not foresee.
"""

from __future__ import annotations

import sys

import anyio

from hazd.cluster.kind.cluster import KindCluster
from hazd.errors import EXIT_INCONCLUSIVE, HazdError


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def install() -> list[str]:
    """What could not be had, a line each."""
    async with KindCluster(progress=say) as cluster:
        return [f"{need}: {lacking}" for need in ("metrics", "vpa") if (lacking := await cluster.provide(need))]


def main() -> int:
    try:
        problems = anyio.run(install)
    except HazdError as error:
        problems = [str(error)]
    for problem in problems:
        say(problem)
    return EXIT_INCONCLUSIVE if problems else 0


if __name__ == "__main__":
    sys.exit(main())
