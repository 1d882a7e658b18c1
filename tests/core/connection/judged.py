"""`websockets` as the judge of what a peer sends after its handshake, in the words of `core.connection.frames`."""

from __future__ import annotations

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from realtime.core.connection.frames import Binary, Broken, Closed, Fragment, FrameReader, Incoming, Ping, Pong, Text

MOST_OF_CONTROL = 4 + 125
"""Bytes of a control frame behind the first two: with so many more it is whole."""


def ours(data: bytes, limit: int) -> list[Incoming]:
    """What our reader says of all of it."""
    reader, said = FrameReader(limit), []
    reader.feed(data)
    while (incoming := reader.pull()) is not None:
        said.append(incoming)
    return said


def theirs(data: bytes, limit: int) -> list[Incoming]:
    """What `websockets` says of all of it; that text is UTF-8 it leaves to who uses it, as uvicorn does."""
    judge = ServerProtocol(state=OPEN, max_size=limit)
    judge.receive_data(data)
    said: list[Incoming] = []
    parts: list[bytes] = []
    opcode = Opcode.TEXT
    for frame in judge.events_received():
        assert isinstance(frame, Frame)
        payload = bytes(frame.data)
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            if frame.opcode is not Opcode.CONT:
                opcode, parts = frame.opcode, []
            parts.append(payload)
            said.append(_message(opcode, b"".join(parts)) if frame.fin else Fragment())
        elif frame.opcode is Opcode.CLOSE:
            assert judge.close_rcvd is not None
            said.append(Closed(int(judge.close_rcvd.code), payload))
        else:
            said.append(Ping(payload) if frame.opcode is Opcode.PING else Pong(payload))
        if isinstance(said[-1], Broken):
            return said
    if judge.parser_exc is not None and judge.close_sent is not None:
        said.append(Broken(int(judge.close_sent.code)))
    return said


def _message(opcode: Opcode, data: bytes) -> Incoming:
    if opcode is Opcode.BINARY:
        return Binary(data)
    try:
        return Text(data.decode())
    except UnicodeDecodeError:
        return Broken(1007)


def difference(data: bytes, limit: int) -> str | None:
    """In which of the known ways the two differ; None where they say the same. Any other difference raises."""
    one, other = ours(data, limit), theirs(data, limit)
    if one == other:
        return None
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    mine, judges = one[same : same + 1], other[same : same + 1]
    # It looks at what a head says when it has the payload: until then it waits, or the size comes first.
    if mine == [Broken(1002)] and judges in ([], [Broken(1009)]):
        return "a head that breaks a rule is refused at once"
    if (
        mine
        and isinstance(mine[0], Closed)
        and judges == [Broken(1002)]
        and isinstance(one[same - 1], Fragment | Ping | Pong)
    ):
        return "a close frame may come amid the fragments of a message"
    # Of what is too large in a message both say so. A control frame that is not whole yet is seen when it is.
    if not mine and judges == [Broken(1009)]:
        later = ours(data + bytes(MOST_OF_CONTROL), limit)[same : same + 1]
        mine = [one for one in later if isinstance(one, Ping | Pong | Closed) or one in (Broken(1002), Broken(1007))]
    if mine and judges == [Broken(1009)] and Fragment() in one[:same]:
        return "a control frame takes no room of the message that it comes amid"
    raise AssertionError(f"{str(mine)[:200]} here, {str(judges)[:200]} there, after {same}: {data!r}")
