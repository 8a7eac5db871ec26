"""`python -m hazd.cluster.lab.linux.attempt`: whether this machine lets a lab make its namespaces and set its rules.

Ends at once and leaves nothing: what it makes is freed with its namespaces. Prints to stderr what the kernel refused.
"""

from __future__ import annotations

import sys

NO_NAMESPACES, NO_RULES = 3, 4
"""Exit codes."""


def main() -> int:
    from hazd.cluster.lab.linux.launch import isolate
    from hazd.cluster.lab.linux.service_rules import ServiceRules
    from hazd.cluster.lab.service_port import ServicePort

    try:
        isolate()
    except OSError as problem:
        print(problem, file=sys.stderr)
        return NO_NAMESPACES
    try:
        ServiceRules().set([ServicePort("try", "10.96.0.1", "tcp", 80, (("10.244.0.2", 80), ("10.244.0.3", 80)))])
    except OSError as problem:
        print(problem, file=sys.stderr)
        return NO_RULES
    return 0


if __name__ == "__main__":
    sys.exit(main())
