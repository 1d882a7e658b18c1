"""The cases of Autobahn's sections 1 to 7, 9 and 10, made from their descriptions, with `websockets` as a second judge.

A case is what its peer sends; what must be said of it stands beside it. Where the suite allows several ways to end,
the one here is named. Differences from `websockets` are listed, and there are no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from realtime.core.connection.frames import Binary, Broken, Closed, Fragment, Incoming, Ping, Pong, Text
from tests.core.connection.judged import difference, ours
from tests.core.connection.test_frames import masked, read

LIMIT = 16 * 1024 * 1024
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KOSME = "Hello-µ@ßöäüàá-UTF-8!!"
NORMAL = (1000).to_bytes(2)


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, and what must be said of it."""

    name: str
    sent: bytes
    said: list[Incoming]


def text(payload: bytes, *, final: bool = True) -> bytes:
    return masked(TEXT, payload, final=final)


def more(payload: bytes, *, final: bool = False) -> bytes:
    return masked(0, payload, final=final)


END = masked(CLOSE, NORMAL)
ENDED = Closed(1000, NORMAL)


def whole_messages() -> Iterator[Case]:
    """1.1, 1.2: messages of every kind of length, also in many writes."""
    for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536, 65536), 1):
        yield Case(f"1.1.{number}", text(b"*" * size), [Text("*" * size)])
        yield Case(f"1.2.{number}", masked(BINARY, b"\xfe" * size), [Binary(b"\xfe" * size)])


def pings_and_pongs() -> Iterator[Case]:
    """2: pings are answered with what they hold, pongs of nobody's are passed over."""
    yield Case("2.1", masked(PING), [Ping(b"")])
    yield Case("2.2", masked(PING, b"Hello, world!"), [Ping(b"Hello, world!")])
    yield Case("2.3", masked(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), [Ping(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")])
    yield Case("2.4", masked(PING, b"\xfe" * 125), [Ping(b"\xfe" * 125)])
    yield Case("2.5", masked(PING, b"\xfe" * 126), [Broken(1002)])
    yield Case("2.6", masked(PING, b"\xfe" * 125) + END, [Ping(b"\xfe" * 125), ENDED])
    yield Case("2.7", masked(PONG), [Pong(b"")])
    yield Case("2.8", masked(PONG, b"unsolicited"), [Pong(b"unsolicited")])
    yield Case("2.9", masked(PONG, b"unsolicited") + masked(PING, b"p"), [Pong(b"unsolicited"), Ping(b"p")])
    ten = b"".join(masked(PING, b"payload-%d" % n) for n in range(10))
    for name in ("2.10", "2.11"):
        yield Case(name, ten, [Ping(b"payload-%d" % n) for n in range(10)])


def reserved_bits() -> Iterator[Case]:
    """3: none was agreed on."""
    hello, told = text(b"Hello, world!"), Text("Hello, world!")
    for number, bits in enumerate(range(0x10, 0x80, 0x10), 1):
        opcode = {5: BINARY, 6: PING, 7: CLOSE}.get(number, TEXT)
        before = number in {2, 3, 4}
        wrong = masked(opcode, b"" if opcode == CLOSE else b"Hello, world!", reserved=bits)
        said: list[Incoming] = [told] if before else []
        yield Case(f"3.{number}", (hello if before else b"") + wrong + masked(PING), [*said, Broken(1002)])


def reserved_opcodes() -> Iterator[Case]:
    """4: those for data and those for control."""
    hello, told = text(b"Hello, world!"), Text("Hello, world!")
    for section, opcodes in ((1, range(3, 8)), (2, range(11, 16))):
        for number, opcode in enumerate(opcodes, 1):
            payload = b"reserved opcode payload" if number in {2, 4} else b""
            before = number >= 3
            sent = (hello if before else b"") + masked(opcode, payload) + masked(PING)
            said: list[Incoming] = [told] if before else []
            yield Case(f"4.{section}.{number}", sent, [*said, Broken(1002)])


def fragments() -> Iterator[Case]:
    """5: messages in parts, with control frames between them, and parts of nothing."""
    one, two = text(b"fragment1", final=False), more(b"fragment2", final=True)
    both, ping = Text("fragment1fragment2"), masked(PING, b"ping")
    yield Case("5.1", masked(PING, b"fragment1", final=False) + more(b"fragment2", final=True), [Broken(1002)])
    yield Case("5.2", masked(PONG, b"fragment1", final=False) + more(b"fragment2", final=True), [Broken(1002)])
    for name in ("5.3", "5.4", "5.5"):
        yield Case(name, one + two, [Fragment(), both])
    for name in ("5.6", "5.7", "5.8"):
        yield Case(name, one + ping + two, [Fragment(), Ping(b"ping"), both])
    for name in ("5.9", "5.10", "5.11", "5.12", "5.13", "5.14"):
        final = name in {"5.9", "5.10", "5.11"}
        yield Case(name, more(b"non-continuation payload", final=final) + text(b"Hello, world!"), [Broken(1002)])
    yield Case("5.15", one + two + more(b"fragment3") + text(b"fragment4"), [Fragment(), both, Broken(1002)])
    for name, final in (("5.16", False), ("5.17", True)):
        sent = more(b"fragment1", final=final) + text(b"fragment2", final=False) + more(b"fragment3", final=True)
        yield Case(name, sent * 2, [Broken(1002)])
    yield Case("5.18", one + text(b"fragment2"), [Fragment(), Broken(1002)])
    parts = [b"fragment%d" % n for n in range(1, 6)]
    sent = text(parts[0], final=False) + more(parts[1]) + masked(PING, b"1") + more(parts[2]) + more(parts[3])
    sent += masked(PING, b"2") + more(parts[4], final=True)
    whole = Text(b"".join(parts).decode())
    for name in ("5.19", "5.20"):
        said: list[Incoming] = [Fragment(), Fragment(), Ping(b"1"), Fragment(), Fragment(), Ping(b"2"), whole]
        yield Case(name, sent, said)


GOOD = [
    *("", KOSME, "κόσμε", "\u0000", "\u0080", "\u0800", "\U00010000", "\u007f", "\u07ff", "\uffff", "\U0010ffff"),
    *("\ud7ff", "\ue000", "\ufffd", "\ufffe", "\U0001fffe", "\U0001ffff", "\U000ffffe", "\U0010fffe"),
]
BAD = [
    *(b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce"),
    *(b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf"),
    *(b"\xfd\xbf\xbf\xbf\xbf\xbf", b"\xf4\x90\x80\x80", b"\x80", b"\xbf", b"\x80\xbf" * 3, bytes(range(0x80, 0xC0))),
    *(b" ".join(bytes([one]) for one in range(0xC0, 0xE0)), b" ".join(bytes([one]) for one in range(0xE0, 0xF0))),
    *(b" ".join(bytes([one]) for one in range(0xF0, 0xF8)), b" ".join(bytes([one]) for one in range(0xF8, 0xFE))),
    *(
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
    ),
    *(b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"),
    *(b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"),
    *(b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"),
    *(
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xae\x80",
        b"\xed\xaf\xbf",
        b"\xed\xb0\x80",
        b"\xed\xbe\x80",
        b"\xed\xbf\xbf",
    ),
    *(
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xed\xad\xbf\xed\xbf\xbf",
        b"\xed\xae\x80\xed\xb0\x80",
        b"\xed\xaf\xbf\xed\xbf\xbf",
    ),
]
"""6.3 to 6.23, by the tables of Markus Kuhn's that the suite names: what is no UTF-8, in every way not to be it."""


def letters() -> Iterator[Case]:
    """6: text is UTF-8, however it is cut. The suite lets a service say so at a message's end, which this one does."""
    for number, good in enumerate(GOOD):
        data = good.encode()
        letterwise = b"".join(more(data[n : n + 1]) for n in range(len(data)))
        parts = text(b"", final=False) + letterwise + more(b"", final=True)
        yield Case(f"6 good {number}", text(data), [Text(good)])
        yield Case(f"6 good {number}, byte by byte", parts, [*[Fragment()] * (len(data) + 1), Text(good)])
    for number, bad in enumerate(BAD):
        yield Case(f"6 bad {number}", text(bad) + text(b"after"), [Broken(1007)])
        half = len(bad) // 2
        cut = text(bad[:half], final=False) + more(bad[half:], final=True)
        yield Case(f"6 bad {number}, cut", cut, [Fragment(), Broken(1007)])
    empty = text(b"", final=False) + more(b"") + more(b"", final=True)
    yield Case("6.1.2", empty, [Fragment(), Fragment(), Text("")])
    middle = text(b"", final=False) + more(b"middle") + more(b"", final=True)
    yield Case("6.1.3", middle, [Fragment(), Fragment(), Text("middle")])


def closes() -> Iterator[Case]:
    """7: how it ends."""
    hello = text(b"Hello World!")
    yield Case("7.1.1", hello + END, [Text("Hello World!"), ENDED])
    yield Case("7.1.2", END + END, [ENDED])
    yield Case("7.1.3", END + masked(PING), [ENDED])
    yield Case("7.1.4", END + hello, [ENDED])
    sent = text(b"fragment1", final=False) + END + more(b"fragment2", final=True)
    yield Case("7.1.5", sent, [Fragment(), ENDED])
    yield Case("7.1.6", text(b"BAsd7&jh23" * 26_000) + END + masked(PING), [Text("BAsd7&jh23" * 26_000), ENDED])
    yield Case("7.3.1", masked(CLOSE), [Closed(1005, b"")])
    yield Case("7.3.2", masked(CLOSE, b"a"), [Broken(1002)])
    yield Case("7.3.3", END, [ENDED])
    for name, reason in (("7.3.4", b"Hello World!"), ("7.3.5", b"*" * 123)):
        yield Case(name, masked(CLOSE, NORMAL + reason), [Closed(1000, NORMAL + reason)])
    yield Case("7.3.6", masked(CLOSE, NORMAL + b"*" * 124), [Broken(1002)])
    yield Case("7.5.1", masked(CLOSE, NORMAL + BAD[0]), [Broken(1007)])
    # Autobahn's older editions count 1012 to 1014 among the wrong ones; IANA has registered them since.
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    for number, code in enumerate(good, 1):
        yield Case(f"7.7.{number}", masked(CLOSE, code.to_bytes(2)), [Closed(code, code.to_bytes(2))])
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999), 1):
        yield Case(f"7.9.{number}", masked(CLOSE, code.to_bytes(2)), [Broken(1002)])
    for number, code in enumerate((5000, 65535), 1):
        yield Case(f"7.13.{number}", masked(CLOSE, code.to_bytes(2)), [Broken(1002)])


def sizes() -> Iterator[Case]:
    """9: large messages, in frames of many sizes. 10: cut otherwise than they were sent (below, for all)."""
    for number, size in enumerate((1 << 16, 1 << 18, 1 << 20, 1 << 22), 1):
        yield Case(f"9.1.{number}", text(b"*" * size), [Text("*" * size)])
        yield Case(f"9.2.{number}", masked(BINARY, b"\xfe" * size), [Binary(b"\xfe" * size)])
    size = 1 << 20
    for number, part in enumerate((64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20), 1):
        count = size // part
        for section, opcode, byte in ((3, TEXT, b"*"), (4, BINARY, b"\xfe")):
            sent = masked(opcode, byte * part, final=False) + more(byte * part) * (count - 1) + more(b"", final=True)
            whole = Text("*" * size) if opcode == TEXT else Binary(b"\xfe" * size)
            yield Case(f"9.{section}.{number}", sent, [*[Fragment()] * count, whole])
    yield Case("10.1.1", text(b"*" * 65536), [Text("*" * 65536)])


MAKERS = (whole_messages, pings_and_pongs, reserved_bits, reserved_opcodes, fragments, letters, closes, sizes)
CASES = [case for make in MAKERS for case in make()]
DIFFERENCES = {
    "7.1.5": "a close frame may come amid the fragments of a message",
}


def test_there_is_every_section_and_every_case_once() -> None:
    sections = {case.name.split(".")[0].split()[0] for case in CASES}
    assert sections == {"1", "2", "3", "4", "5", "6", "7", "9", "10"}
    assert len({case.name for case in CASES}) == len(CASES) > 250


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_case_is_said_to_be_what_it_is(case: Case) -> None:
    assert ours(case.sent, LIMIT) == case.said
    if len(case.sent) > 100_000:
        parts = (case.sent[n : n + 1300] for n in range(0, len(case.sent), 1300))
    else:
        parts = (case.sent[n : n + 7] for n in range(0, len(case.sent), 7))
    assert read(*parts, limit=LIMIT) == case.said


def test_websockets_says_the_same_but_for_what_is_listed() -> None:
    found = {case.name: difference(case.sent, LIMIT) for case in CASES}
    assert {name: how for name, how in found.items() if how is not None} == DIFFERENCES
