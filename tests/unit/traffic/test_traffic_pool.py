"""The pool keeps the connections it was filled with; what a burst opens beside them goes again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hazd.model import Stream
from hazd.traffic.senders.pool import Pool


class Fake:
    """A connection that is always usable and notes its end."""

    def __init__(self) -> None:
        self.uses = 0
        self.opened_ns = 0
        self.closed = False

    def usable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def opened(pool: Pool[Fake]) -> Fake:
    found = pool.take()
    if found is None:
        pool.opened()
        return Fake()
    return found


def test_a_burst_takes_no_members_place() -> None:
    """Three kept connections, all busy, two more opened: the three stay whoever comes back first."""
    pool: Pool[Fake] = Pool(Stream("r", "reused", pool=3))
    first = [opened(pool) for _ in range(3)]
    for item in first:
        pool.give_back(item)
    busy = [opened(pool) for _ in range(5)]
    assert busy[:3] == first
    for item in busy:
        pool.give_back(item)
    assert [item.closed for item in busy] == [False, False, False, True, True]
    assert [opened(pool) for _ in range(3)] == first


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 4))
def test_never_more_idle_than_its_size(choices: list[int], size: int) -> None:
    """Whatever the order of use, answers and last uses, at most `size` connections are kept."""
    pool: Pool[Fake] = Pool(Stream("r", "reused", pool=size))
    out: list[Fake] = []
    kept: set[int] = set()
    for choice in choices:
        if choice < 5 or not out:
            item = opened(pool)
            kept.discard(id(item))
            out.append(item)
            continue
        item = out.pop(choice % len(out))
        if choice == 9:
            pool.left(item)
        else:
            pool.give_back(item)
            if not item.closed:
                kept.add(id(item))
        assert len(kept) <= size
