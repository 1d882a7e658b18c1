"""One connection to NATS: made by TLS and as somebody where that is said, worded where it fails, never made again.

nats-py would connect again by itself, keep what was published meanwhile, and send it then: a publish that had failed
would be stored after all. So a connection that breaks is over, whoever holds it is told, and makes a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nats import errors
from nats.aio.client import Client, RawCredentials
from nats.aio.msg import Msg

from realtime.errors import ConfigurationError, RealtimeError
from realtime.nats.access import Access, Server, credentials
from realtime.nats.staggered import first

CONNECT_SECONDS = 4.0
"""For each server: name, TCP, TLS, its greeting and the first answer."""
NEXT_SECONDS = 0.75
"""One that says nothing for so long may be frozen: the next is tried beside it."""
PING_SECONDS, PINGS = 2, 2
"""A server that answers nothing is given up after 4 to 6 s; who asks something has limits of its own."""
FLUSH_SECONDS = 4.0
_FLUSH_SECONDS = 10
"""nats-py's own for an answer."""
CLOSE_SECONDS = 1.0
OLDEST = (2, 12)
"""JetStream's atomic batches are there from then on."""

_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')

log = logging.getLogger("realtime.nats")


class AwayError(RealtimeError):
    """No server answers, or none as a NATS server does. It may be there later. `why`: without the mend."""

    def __init__(self, why: str, mend: str = "") -> None:
        super().__init__(f"{why}; {mend}" if mend else why)
        self.why = why


class RefusedError(ConfigurationError):
    """A server is there and does not let us in, or we do not trust it; or it is too old."""


class DeniedError(RefusedError):
    """The user may not publish on a subject, or not subscribe to it. `subject`: as it was said, in lower case."""

    def __init__(self, text: str, subject: str) -> None:
        super().__init__(text)
        self.subject = subject


@dataclass(eq=False, slots=True)
class _Asked:
    """One question that waits for its answer."""

    subject: str
    within: asyncio.Timeout
    denied: DeniedError | None = None


class Connection(Client):
    """nats-py's client for one server, which sends no name and no secret but by TLS where that is said.

    nats-py takes the server's word for whether TLS is spoken: a server, or whoever stands in for it, that does not ask
    for it is told user and password as they are. And to nats-py a question that the user may not ask is one without an
    answer.
    """

    def __init__(self, server: Server, user: str | None) -> None:
        """`user`: as whom, where that is no secret."""
        super().__init__()
        self.server, self.user = server, user
        self._asked: set[_Asked] = set()
        self._unheard: dict[str, DeniedError] = {}

    def _connect_command(self) -> bytes:
        if self.server.encrypted and not self._server_info.get("tls_required"):
            raise errors.SecureConnWantedError
        return super()._connect_command()

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = CONNECT_SECONDS,  # noqa: ASYNC109 - as nats-py has it
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """The answer; `TimeoutError` after so many seconds, `DeniedError` at once where the user may not ask it.

        nats-py waits by `asyncio.wait_for`, which until Python 3.12 forgets that it is cancelled where that comes
        together with the answer: a task that was told to end would go on.
        """
        self._let_answers_come()
        asked = _Asked(subject, asyncio.timeout(timeout))
        self._asked.add(asked)
        try:
            async with asked.within:
                no_limit: Any = None
                return await super().request(subject, payload, no_limit, old_style, headers)
        except TimeoutError:
            if asked.denied is not None:
                raise asked.denied from None
            raise
        finally:
            self._asked.discard(asked)

    async def hear(self, subject: str, heard: Callable[[Msg], Awaitable[None]]) -> None:
        """Subscribe, and return when the server has taken it. Raises `DeniedError`, or what nats-py does."""
        await self.subscribe(subject, cb=heard)
        await self.flush()
        if (denied := self._unheard.get(subject.lower())) is not None:
            raise denied

    async def flush(self, timeout: int = _FLUSH_SECONDS) -> None:  # noqa: ASYNC109 - as nats-py has it
        """Return when the server has taken all that was sent, and said what it has against it.

        nats-py 2.16 writes the PING that asks for this before what waits to be written, which is out by the time of the
        answer: the second one is behind it.
        """
        await super().flush(timeout)
        await super().flush(timeout)

    def _let_answers_come(self) -> None:
        """All of them come to one subject."""
        for subject, denied in self._unheard.items():
            if subject.startswith(self._inbox):
                raise denied

    async def _process_err(self, err_msg: str) -> None:
        """The server says that a subject is not for this user, and nothing more of what was sent there."""
        if (found := _DENIED.search(err_msg)) is None:
            await super()._process_err(err_msg)
            return
        subscribing, subject = found[1] == "subscription", found[2]
        denied = self._denied(subscribing, subject)
        if subscribing:
            self._unheard[subject] = denied
        for asked in self._asked:
            concerns = subject.startswith(self._inbox) if subscribing else asked.subject.lower() == subject
            if concerns and not asked.within.expired():
                asked.denied = denied = denied if subscribing else self._denied(subscribing, asked.subject)
                asked.within.reschedule(asyncio.get_running_loop().time())
        await self._error_cb(denied)

    @property
    def _inbox(self) -> str:
        """How every subject begins to which answers come."""
        return f"{bytes(self._inbox_prefix).decode().lower()}."

    def _denied(self, subscribing: bool, subject: str) -> DeniedError:
        who = "this user" if self.user is None else f"user {self.user!r}"
        what = "subscribe to" if subscribing else "publish on"
        return DeniedError(
            f"NATS at {self.server.url} does not let {who} {what} {subject}: is it the relay's user where a node's "
            "is asked for, or the other way round, or one of another database or epoch? Both and what they may are in "
            "docs/scaling.md#two-users; realtime doctor --nats … tries a node's, with --relay the relay's",
            subject.lower(),
        )

    async def _process_op_err(self, e: Exception) -> None:
        """It broke, or the server is silent: over at once. nats-py would first wait until that took what is left."""
        self.let_go()
        await super()._process_op_err(e)

    def let_go(self) -> None:
        """Nothing more is sent and nothing is waited for, and no socket stays open."""
        self._pending, self._pending_data_size = [], 0
        transport: Any = self._transport
        for writer in (getattr(transport, "_io_writer", None), getattr(transport, "_bare_io_writer", None)):
            if writer is not None:
                with contextlib.suppress(Exception):
                    writer.transport.abort()


async def connect(
    access: Access,
    name: str,
    *,
    on_closed: Callable[[], None] | None = None,
    on_error: Callable[[Exception], None] | None = None,
    inbox: str = "_INBOX",
) -> Connection:
    """A connection to one of the servers, by chance: the first that answers.

    Raises `RefusedError`, or `AwayError` where none does.

    `name` is what NATS's own monitoring shows; `on_closed` is called when it is over, whoever ended it; `on_error`
    with what the server says against what was sent: `DeniedError` for a subject that is not for this user. Both on the
    loop.
    """
    tries = [
        partial(_connected, access, server, name, on_closed, on_error, inbox)
        for server in random.sample(access.servers, len(access.servers))
    ]
    try:
        return await first(tries, NEXT_SECONDS, (AwayError,), _drop)
    except ExceptionGroup as group:
        away = "; ".join(map(str, group.exceptions))
        raise AwayError(f"no NATS server answers: {away}", "check REALTIME_NATS, and that nats-server runs") from None


async def close(connection: Connection) -> None:
    """End it, and wait for no server, which may be frozen. What waits to be sent is lost: `flush` it before."""
    connection.let_go()
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()
    except (TimeoutError, errors.Error, OSError) as error:
        log.debug("closing a connection to %s: %s", connection.server.url, error)


async def _connected(
    access: Access,
    server: Server,
    name: str,
    on_closed: Callable[[], None] | None,
    on_error: Callable[[Exception], None] | None,
    inbox: str,
) -> Connection:
    connection = Connection(server, None if access.password is None else access.user)
    met: list[Exception] = []
    opened = False

    async def erred(error: Exception) -> None:
        if not opened:
            met.append(error)
            return
        log.debug("NATS at %s: %s", server.url, error)
        if on_error is not None:
            on_error(error)

    async def closed() -> None:
        if opened and on_closed is not None:
            on_closed()

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.connect(
                [server.url],
                name=name,
                error_cb=erred,
                closed_cb=closed,
                allow_reconnect=False,
                # Two tries at one server, at once; zero would be without end.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=int(CONNECT_SECONDS),
                ping_interval=PING_SECONDS,
                max_outstanding_pings=PINGS,
                tls=access.tls if server.encrypted else None,
                user_credentials=None if access.creds is None else RawCredentials(credentials(access.creds)),
                inbox_prefix=inbox,
                # Whoever publishes more than a frozen server takes would wait for it without an end.
                flush_timeout=FLUSH_SECONDS,
                **_known(access),
            )
    except (asyncio.CancelledError, ConfigurationError):
        _drop(connection)
        raise
    except Exception as error:
        _drop(connection)
        # "No servers" is all that nats-py says in the end; before that it said why.
        raise _worded(server, met[-1] if isinstance(error, errors.NoServersError) and met else error) from None
    try:
        _check_version(connection)
    except RefusedError:
        await close(connection)
        raise
    opened = True
    return connection


def _known(access: Access) -> dict[str, Any]:
    """As nats-py takes it, which has another name for a user without a password."""
    if access.password is None:
        return {"token": access.user}
    return {"user": access.user, "password": access.password}


def _check_version(connection: Connection) -> None:
    version, url = connection.connected_server_version, connection.server.url
    if (version.major, version.minor) < OLDEST:
        raise RefusedError(
            f"NATS at {url} is {version.major}.{version.minor}.{version.patch}: update it, "
            f"{OLDEST[0]}.{OLDEST[1]} or newer is needed"
        )
    log.debug("connected to NATS %d.%d.%d at %s", version.major, version.minor, version.patch, url)


def _drop(connection: Connection) -> None:
    """One that was not made. nats-py leaves its socket and its tasks to chance."""
    for task in (connection._reading_task, connection._ping_interval_task, connection._flusher_task):
        if task is not None:
            task.cancel()
    connection.let_go()


def _worded(server: Server, error: Exception) -> RealtimeError:
    """What went wrong, and the mend."""
    where, said = f"NATS at {server.url}", str(error) or type(error).__name__
    if isinstance(error, errors.SecureConnWantedError):
        return RefusedError(
            f"{where} does not speak TLS, so nothing was said to it: give the server a certificate (tls {{…}}), or "
            "write nats:// in front of a server on this machine"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return RefusedError(
            f"{where} is not trusted ({error.verify_message}): name the CA of its certificate with --nats-ca "
            "(REALTIME_NATS_CA), and the server as the certificate does"
        )
    if isinstance(error, ssl.SSLError):
        return RefusedError(
            f"{where}: TLS fails ({said}): where the server asks for a client certificate, name it with --nats-cert "
            "and --nats-key"
        )
    if "authorization" in said.lower() or "authentication" in said.lower():
        return RefusedError(
            f"{where} does not let us in: check user and password in REALTIME_NATS, or --nats-creds, or the client "
            "certificate"
        )
    if type(error).__module__.partition(".")[0] == "nkeys":
        # nats-py imports that where it needs it, and gives its errors on.
        return RefusedError(f"the seed in the file of REALTIME_NATS_CREDS is none ({said}): have nsc write it anew")
    if isinstance(error, OSError | errors.Error | TimeoutError):
        hung_up = (
            server.encrypted and isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError)
        )
        hint = ", as a server does that asks for a client certificate (--nats-cert)" if hung_up else ""
        return AwayError(f"{server.url}: {said}{hint}")
    return RefusedError(f"{where} cannot be used ({type(error).__name__}: {said})")
