"""Bytes that are nearly frames: nothing is raised, and `websockets` says the same but for what is listed.

`REALTIME_TEST_STREAMS` says how many (a million takes two minutes of a core: `--timeout 3000`), `REALTIME_TEST_SEED`
repeats a run.
"""

from __future__ import annotations

import os
import random
from collections import Counter

from realtime.core.connection.frames import MOST_FRAGMENTS
from tests.chance import share
from tests.core.connection.judged import difference, ours
from tests.core.connection.test_frames import masked, read

STREAMS = int(os.environ.get("REALTIME_TEST_STREAMS") or share(20_000))
SEED = int(os.environ.get("REALTIME_TEST_SEED", "15"))
LIMIT = 300
OPCODES = (0, 0, 1, 1, 1, 2, 8, 9, 10, 3, 11)
KNOWN = {
    "a head that breaks a rule is refused at once",
    "a close frame may come amid the fragments of a message",
    "a control frame takes no room of the message that it comes amid",
}


def stream(dice: random.Random) -> bytes:
    """Some frames, most of them allowed, and then some bytes of them changed, gone or new."""
    parts = []
    for _ in range(dice.randint(1, 6)):
        opcode = dice.choice(OPCODES)
        size = dice.choice((0, 1, 2, 5, 20, 125, 126, 200, 290, 310))
        payload = dice.choice((b"x", "é€".encode(), b"\x03\xe8", dice.randbytes(3))) * size
        final = opcode >= 8 or dice.random() < 0.6
        parts.append(masked(opcode, payload[:size], final=final, key=dice.randbytes(4)))
    data = bytearray(b"".join(parts))
    for _ in range(dice.choice((0, 0, 1, 1, 2, 8))):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(4):
            case 0:
                data[at : at + 1] = dice.randbytes(1)
            case 1:
                del data[at : at + dice.randint(1, 4)]
            case 2:
                data[at:at] = dice.randbytes(dice.randint(1, 4))
            case _ if data:
                data[at % len(data)] ^= 1 << dice.randrange(8)
    return bytes(data)


def test_mutated_streams_are_read_as_websockets_reads_them_and_however_they_are_cut() -> None:
    dice, found, kinds = random.Random(SEED), Counter[str | None](), Counter[str]()
    for number in range(STREAMS):
        data = stream(dice)
        found[difference(data, LIMIT)] += 1
        said = ours(data, LIMIT)
        kinds.update(type(one).__name__ for one in said)
        if number % 10 == 0:
            cut = dice.randrange(len(data) + 1)
            assert read(data[:cut], data[cut:], limit=LIMIT) == said
    assert found.keys() <= KNOWN | {None}, found
    assert found[None] > STREAMS * 0.6
    assert set(kinds) == {"Text", "Binary", "Fragment", "Ping", "Pong", "Closed", "Broken"}
    assert min(kinds.values()) > STREAMS / 100, kinds
    assert MOST_FRAGMENTS > LIMIT  # which only this reader bounds
