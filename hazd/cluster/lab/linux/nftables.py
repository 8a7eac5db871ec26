"""nftables by netlink: messages for one table, sent as one transaction, with the kernel's reason for what it refuses.

Source of every number: include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h of Linux 6. Attributes are given by
their numbers, in the order of the enum that a comment names.
"""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hazd.cluster.lab.linux.netlink import ACK, APPEND, CREATE, Connection, attribute, message, nested, refusal, string

NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES = 12, 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEWTABLE, NEWCHAIN, DELCHAIN, NEWRULE, DELRULE, NEWSET, NEWSETELEM, DELSETELEM = 0, 3, 5, 6, 8, 9, 12, 14
R0, R1, R2 = 8, 9, 10
"""Registers of 32 bits that follow each other (NFT_REG32_00...): a key of several fields lies in them side by side."""
VERDICT = 0
"""The verdict register."""
DROP, JUMP, GOTO = 0, -3, -4
SET_ANONYMOUS, SET_CONSTANT, SET_MAP = 1, 2, 8
VERDICT_DATA = 0xFFFFFF00
ADDRESS, PROTOCOL, PORT, MARK = 7, 12, 13, 19
"""Types of the fields of keys and data; the kernel only stores them, for whoever lists the rules with nft."""
PREROUTING, FORWARD, OUTPUT, POSTROUTING = 0, 2, 3, 4
NETWORK_HEADER, TRANSPORT_HEADER, META_L4PROTO, CT_STATE, CMP_NOT_EQUAL = 1, 2, 16, 0, 1
CT_NEW, CT_INVALID = 8, 1
RANDOM, ICMP_UNREACHABLE, PORT_UNREACHABLE, DNAT = 1, 0, 3, 1
ELEMENTS_A_MESSAGE = 500
"""An attribute's length has 16 bits; an element with a verdict takes some 80 bytes."""


@dataclass(frozen=True, slots=True)
class Message:
    """One change of a transaction. words: the same as nft would write it, for errors."""

    words: str
    kind: int
    flags: int
    body: bytes


def number(kind: int, value: int) -> bytes:
    """32 bits in network order, as nftables wants all its numbers."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def _data(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))  # NFTA_DATA_VALUE


def _verdict(kind: int, code: int, chain: str = "") -> bytes:
    return nested(kind, nested(2, number(1, code), string(2, chain) if chain else b""))  # NFTA_DATA_VERDICT


# -- expressions ------------------------------------------------------------------------------------------------------
def expression(name: str, *attributes: bytes) -> bytes:
    # nft_list_attributes: ELEM, holding nft_expr_attributes: NAME, DATA
    return nested(1, string(1, name), nested(2, *attributes))


def load_destination(register: int) -> bytes:
    """The packet's IPv4 destination address (16 bytes into the network header)."""
    return _payload(register, NETWORK_HEADER, 16, 4)


def load_source(register: int) -> bytes:
    """The packet's IPv4 source address (12 bytes into the network header)."""
    return _payload(register, NETWORK_HEADER, 12, 4)


def load_protocol(register: int) -> bytes:
    return expression("meta", number(1, register), number(2, META_L4PROTO))  # nft_meta_attributes: DREG, KEY


def load_destination_port(register: int) -> bytes:
    return _payload(register, TRANSPORT_HEADER, 2, 2)


def _payload(register: int, header: int, offset: int, length: int) -> bytes:
    # nft_payload_attributes: DREG, BASE, OFFSET, LEN
    return expression("payload", number(1, register), number(2, header), number(3, offset), number(4, length))


def connection_is(state: int) -> tuple[bytes, ...]:
    """Continue if conntrack has the packet's connection in this state. Overwrites R0."""
    mask, zero = struct.pack("=I", state), bytes(4)
    return (
        expression("ct", number(1, R0), number(2, CT_STATE)),  # nft_ct_attributes: DREG, KEY
        # nft_bitwise_attributes: SREG, DREG, LEN, MASK, XOR
        expression("bitwise", number(1, R0), number(2, R0), number(3, 4), _data(4, mask), _data(5, zero)),
        expression(
            "cmp", number(1, R0), number(2, CMP_NOT_EQUAL), _data(3, zero)
        ),  # nft_cmp_attributes: SREG, OP, DATA
    )


def verdict(code: int, chain: str = "") -> bytes:
    return expression("immediate", number(1, VERDICT), _verdict(2, code, chain))  # nft_immediate_attributes: DREG, DATA


def lookup(name: str, into: int | None = None, number_of_set: int | None = None) -> bytes:
    """Continue if the key from R0 on is in the set; a map's data is loaded `into` that register."""
    # nft_lookup_attributes: SET, SREG, DREG, SET_ID
    found = b"" if into is None else number(3, into)
    return expression(
        "lookup", string(1, name), number(2, R0), found, b"" if number_of_set is None else number(4, number_of_set)
    )


def random_below(modulus: int) -> bytes:
    """A random number from 0 to modulus - 1 into R0, in the host's byte order."""
    # nft_ng_attributes: DREG, MODULUS, TYPE
    return expression("numgen", number(1, R0), number(2, modulus), number(3, RANDOM))


def reject() -> bytes:
    """ICMP port unreachable, which a connecting client sees as ECONNREFUSED."""
    # nft_reject_attributes: TYPE, ICMP_CODE
    return expression("reject", number(1, ICMP_UNREACHABLE), attribute(2, bytes([PORT_UNREACHABLE])))


def dnat() -> bytes:
    """To the address in R0 and the port in R1."""
    # nft_nat_attributes: TYPE, FAMILY, REG_ADDR_MIN, REG_ADDR_MAX, REG_PROTO_MIN
    return expression("nat", number(1, DNAT), number(2, socket.AF_INET), number(3, R0), number(5, R1))


def masquerade() -> bytes:
    return expression("masq")


# -- messages ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Table:
    """Messages about one table of family ip."""

    name: str

    def add(self) -> Message:
        return Message(f"add table ip {self.name}", NEWTABLE, CREATE, string(1, self.name))

    def add_chain(self, name: str, *, kind: str = "", hook: int = 0, priority: int = 0) -> Message:
        """kind: "nat" or "filter" for a chain that the hook enters; without it, one that rules enter."""
        # nft_chain_attributes: TABLE, HANDLE, NAME, HOOK (nft_hook_attributes: HOOKNUM, PRIORITY), ..., 7 TYPE
        base = nested(4, number(1, hook), number(2, priority)) + string(7, kind) if kind else b""
        return Message(
            f"add chain ip {self.name} {name}", NEWCHAIN, CREATE, string(1, self.name) + string(3, name) + base
        )

    def delete_chain(self, name: str) -> Message:
        return Message(f"delete chain ip {self.name} {name}", DELCHAIN, 0, string(1, self.name) + string(3, name))

    def flush_chain(self, name: str) -> Message:
        return Message(f"flush chain ip {self.name} {name}", DELRULE, 0, string(1, self.name) + string(2, name))

    def add_rule(self, chain: str, words: str, *expressions: bytes) -> Message:
        # nft_rule_attributes: TABLE, CHAIN, HANDLE, EXPRESSIONS
        body = string(1, self.name) + string(2, chain) + nested(4, *expressions)
        return Message(f"add rule ip {self.name} {chain} {words}", NEWRULE, CREATE | APPEND, body)

    def add_set(
        self, name: str, number_of_set: int, key: Sequence[int], *, flags: int = 0, data: Sequence[int] = ()
    ) -> Message:
        """A set of keys, of these fields of 4 bytes; with SET_MAP a map to such data, or without data to verdicts.

        number_of_set: how the same transaction refers to it.
        """
        # nft_set_attributes: TABLE, NAME, FLAGS, KEY_TYPE, KEY_LEN, DATA_TYPE, DATA_LEN, ..., 10 ID
        body = string(1, self.name) + string(2, name) + number(3, flags)
        body += number(4, _type_of(key)) + number(5, 4 * len(key))
        if data:
            body += number(6, _type_of(data)) + number(7, 4 * len(data))
        elif flags & SET_MAP:
            body += number(6, VERDICT_DATA)
        return Message(f"add set ip {self.name} {name}", NEWSET, CREATE, body + number(10, number_of_set))

    def flush_set(self, name: str) -> Message:
        return Message(f"flush set ip {self.name} {name}", DELSETELEM, 0, string(1, self.name) + string(2, name))

    def add_elements(self, name: str, elements: Sequence[bytes], number_of_set: int | None = None) -> Iterator[Message]:
        """Elements as `element`, `element_to_data` and `element_to_chain` make them."""
        for at in range(0, len(elements), ELEMENTS_A_MESSAGE):
            # nft_set_elem_list_attributes: TABLE, SET, ELEMENTS, SET_ID
            some = elements[at : at + ELEMENTS_A_MESSAGE]
            body = string(1, self.name) + string(2, name) + nested(3, *some)
            body += b"" if number_of_set is None else number(4, number_of_set)
            yield Message(f"add {len(some)} elements to set ip {self.name} {name}", NEWSETELEM, CREATE, body)


def _type_of(fields: Sequence[int]) -> int:
    """nft's number for a concatenation: 6 bits a field."""
    return functools.reduce(lambda sofar, each: sofar << 6 | each, fields)


# nft_set_elem_attributes: KEY, DATA
def element(key: bytes) -> bytes:
    return nested(1, _data(1, key))


def element_to_data(key: bytes, data: bytes) -> bytes:
    return nested(1, _data(1, key), _data(2, data))


def element_to_chain(key: bytes, chain: str) -> bytes:
    return nested(1, _data(1, key), _verdict(2, GOTO, chain))


# -- the kernel -------------------------------------------------------------------------------------------------------
def _batch(messages: Sequence[Message]) -> bytes:
    """BEGIN, each message with its place (from 1) as its sequence number, END. The last one is acknowledged."""
    bound = struct.pack(">BBH", 0, 0, NFNL_SUBSYS_NFTABLES)
    parts = [message(BATCH_BEGIN, 0, 0, bound)]
    for place, each in enumerate(messages, 1):
        flags = each.flags | (ACK if place == len(messages) else 0)
        body = struct.pack(">BBH", socket.AF_INET, 0, 0) + each.body
        parts.append(message(NFNL_SUBSYS_NFTABLES << 8 | each.kind, flags, place, body))
    parts.append(message(BATCH_END, 0, len(messages) + 1, bound))
    return b"".join(parts)


class Rules:
    """nftables of the network namespace in which this is made."""

    def __init__(self) -> None:
        self._kernel = Connection(NETLINK_NETFILTER)

    def close(self) -> None:
        self._kernel.close()

    def apply(self, changes: Sequence[Message]) -> None:
        """All of them or none. Raises OSError with the kernel's errno, the change it refused and its explanation."""
        replies = self._kernel.exchange(_batch(changes))
        for reply in replies:
            if reply.errno:
                place = reply.sequence
                change = repr(changes[place - 1].words) if 1 <= place <= len(changes) else "the transaction"
                raise refusal(f"nftables refused {change}", reply)
        if not any(reply.sequence == len(changes) for reply in replies):
            raise OSError(0, f"nftables did not acknowledge {changes[-1].words!r}")
