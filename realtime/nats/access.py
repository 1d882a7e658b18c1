"""Where NATS is and as whom it is asked: read from the settings, and refused where others could listen."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from realtime.errors import ConfigurationError
from realtime.settings import Settings, is_loopback

PORT = 4222
SCHEMES = frozenset({"nats", "tls"})
LOOKS = (
    "it looks like tls://nats1:4222,tls://nats2:4222, a user in front as tls://node:secret@nats1:4222, percent-encoded"
)
_PARTS = re.compile(
    rb"(?s).*-BEGIN NATS USER JWT-+\s+([\w.-]+)\s+-.*-BEGIN USER NKEY SEED-+\s+([A-Z2-7]+)\s+-.*", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Server:
    """One address; `encrypted`: nothing goes there but by TLS."""

    host: str
    port: int
    encrypted: bool

    @property
    def url(self) -> str:
        """Without a user, so that it may be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.encrypted else 'nats'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """All that a connection is made with. `user` alone, without a password, is a token.

    `certified`: `tls` has a certificate of ours.
    """

    servers: tuple[Server, ...]
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    creds: Path | None = None
    certified: bool = False
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The servers, for people."""
        return ", ".join(server.url for server in self.servers)


def access_of(settings: Settings) -> Access:
    """What the settings name. `ConfigurationError` for what cannot be used, or what others could read or take part in.

    Where a CA or a client certificate is named, every server is spoken to by TLS, whatever its address says.
    """
    if settings.nats is None:
        raise ConfigurationError("which NATS? Name it with --nats or REALTIME_NATS: tls://nats1:4222")
    parts = [_parsed(one.strip()) for one in settings.nats.get_secret_value().split(",") if one.strip()]
    if not parts:
        raise _unusable("it names no server")
    told = settings.nats_ca is not None or settings.nats_cert is not None
    servers = tuple(_server(one, told=told) for one in parts)
    user, password = next(((one.username, one.password) for one in parts if one.username), (None, None))
    if settings.nats_creds is not None:
        credentials(settings.nats_creds)
        if user is not None:
            raise ConfigurationError(
                "REALTIME_NATS names a user and REALTIME_NATS_CREDS a file with one: leave one of them out"
            )
    known = user is not None or settings.nats_creds is not None or settings.nats_cert is not None
    if not settings.insecure:
        _guarded(servers, known=known)
    return Access(
        servers,
        None if user is None else unquote(user),
        None if password is None else unquote(password),
        settings.nats_creds,
        settings.nats_cert is not None,
        _context(settings) if any(server.encrypted for server in servers) else None,
    )


def _guarded(servers: tuple[Server, ...], *, known: bool) -> None:
    """Beyond loopback by TLS and as somebody: what goes there is a copy of the database."""
    for server in servers:
        if is_loopback(server.host) or (server.encrypted and known):
            continue
        wrong = "nobody says who asks" if server.encrypted else "what goes there is not encrypted"
        mend = "name a user (docs/scaling.md#two-users)" if server.encrypted else "write tls:// in front of it"
        raise ConfigurationError(
            f"NATS at {server.url} can be reached from other machines and {wrong}: {mend}, or say --insecure "
            "(REALTIME_INSECURE=true) where the network protects it"
        )


def _parsed(url: str) -> SplitResult:
    """One server's address. Its text is in no message: a password may stand in it."""
    whole = url if "://" in url else f"nats://{url}"
    try:
        parts = urlsplit(whole)
        named = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        raise _unusable("an address in it is none") from None
    if parts.scheme not in SCHEMES:
        raise _unusable("an address in it begins with neither nats:// nor tls://")
    if not named or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _unusable("an address in it is none")
    return parts


def _server(parts: SplitResult, *, told: bool) -> Server:
    return Server(parts.hostname or "", parts.port or PORT, told or parts.scheme == "tls")


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError(f"--nats (REALTIME_NATS) cannot be used, {why}: {LOOKS}")


def _readable(path: Path, name: str) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"REALTIME_{name} cannot be read ({error}): correct or unset it") from None


def credentials(path: Path) -> str:
    """A file of credentials as it is now, in the form that nats-py reads. `ConfigurationError` for what is none.

    It is read here for each connection, since it may be exchanged while this runs: nats-py 2.16 looks for a JWT that is
    not there without an end, takes the end of a line of Windows for a part of the seed, and names no file.
    """
    _readable(path, "NATS_CREDS")
    parts = _PARTS.fullmatch(path.read_bytes())
    if parts is None:
        raise ConfigurationError(
            f"REALTIME_NATS_CREDS: {path} holds not both a user's JWT and its seed: name the file that nsc wrote "
            "(nsc generate creds)"
        )
    token, seed = (part.decode() for part in parts.groups())
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


def _context(settings: Settings) -> ssl.SSLContext:
    """The server's certificate is checked, its name too; ours goes along where there is one."""
    for name in ("nats_ca", "nats_cert", "nats_key"):
        if (path := getattr(settings, name)) is not None:
            _readable(path, name.upper())
    try:
        context = ssl.create_default_context(cafile=settings.nats_ca)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"REALTIME_NATS_CA: no certificates in PEM in {settings.nats_ca} ({error})") from None
    if settings.nats_cert is None:
        return context
    try:
        # An empty password: OpenSSL would ask the terminal for it otherwise.
        context.load_cert_chain(settings.nats_cert, settings.nats_key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"REALTIME_NATS_CERT and REALTIME_NATS_KEY do not go together, or are no PEM, or the key is encrypted "
            f"({error}): name a certificate and its own key, not encrypted"
        ) from None
    return context
