"""Netlink messages as bytes: what is sent, how the kernel's replies are read. The kernel's side is tests/e2e/lab's."""

from __future__ import annotations

import errno
import struct
import subprocess
import sys

import pytest

from hazd.cluster.lab.linux import nftables as nft
from hazd.cluster.lab.linux.netlink import (
    ACK_TLVS,
    CAPPED,
    NLMSG_ERROR,
    Reply,
    attribute,
    message,
    nested,
    refusal,
    replies,
    string,
)
from hazd.cluster.lab.options import PRELOAD


def test_attributes_are_padded_and_their_length_is_not() -> None:
    """The length counts header and value; the next attribute begins at a multiple of four bytes."""
    assert string(3, "eth0") == struct.pack("=HH", 9, 3) + b"eth0\0" + bytes(3)
    assert nested(2, attribute(1, b"ab")) == struct.pack("=HH", 12, 2 | 0x8000) + struct.pack("=HH", 6, 1) + b"ab\0\0"


def _error(code: int, sequence: int, *, flags: int = 0, original: bytes = b"", attributes: bytes = b"") -> bytes:
    body = struct.pack("=i", -code) + message(16, 0, sequence, original)[:16] + original + attributes
    return struct.pack("=IHHII", 16 + len(body), NLMSG_ERROR, flags, sequence, 0) + body


@pytest.mark.parametrize(("flags", "original"), [(CAPPED | ACK_TLVS, b""), (ACK_TLVS, b"12345678")])
def test_the_kernels_explanation_is_read(flags: int, original: bytes) -> None:
    """NLMSGERR_ATTR_MSG, behind the header alone or behind the whole message that was refused; then the next reply."""
    said = attribute(2, struct.pack("=I", 20)) + string(1, "no such chain")
    body = struct.pack("=i", -errno.ENOENT) + message(16, 0, 3, original) + said
    refused = struct.pack("=IHHII", 16 + len(body), NLMSG_ERROR, flags, 3, 0) + body
    assert list(replies(refused + _error(0, 4))) == [
        Reply(NLMSG_ERROR, 3, errno.ENOENT, "no such chain"),
        Reply(NLMSG_ERROR, 4),
    ]
    problem = refusal("add rule", next(replies(refused)))
    assert (problem.errno, problem.strerror) == (errno.ENOENT, "add rule: No such file or directory (no such chain)")


def test_replies_that_are_cut_off_end_the_reading() -> None:
    """A length that cannot be is no endless loop, and a message beside the acknowledgement keeps its payload."""
    data = struct.pack("=IHHII", 20, 16, 0, 1, 0) + b"link"
    assert list(replies(data + struct.pack("=IHHII", 4, 16, 0, 1, 0))) == [Reply(16, 1, payload=b"link")]


def test_elements_are_split_into_messages_that_fit() -> None:
    """An attribute has at most 65,535 bytes, however many endpoints there are."""
    elements = [nft.element_to_chain(struct.pack(">III", n, 6, 80), "svc-0123456789ab") for n in range(1201)]
    some = list(nft.Table("hazd").add_elements("services", elements))
    assert [each.words.split()[1] for each in some] == ["500", "500", "201"]
    assert max(len(each.body) for each in some) < 65_535


def test_the_labs_own_processes_import_nothing_heavy() -> None:
    """What every container is forked from, and the server beside it, has no library that only hazd itself needs."""
    heavy = {"pandas", "matplotlib", "pyarrow", "scipy", "kubernetes", "pyroute2", "jinja2"}
    modules = ("hazd.cluster.lab.linux.launch", "hazd.cluster.lab.linux.server", "hazd.cluster.lab.linux.zygote")
    code = f"import sys, {', '.join((*modules, *PRELOAD))}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
