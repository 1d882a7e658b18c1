"""The ports of the service: one for clients, one for operators; TLS; and whose word for an address counts."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from realtime.app import create_app
from realtime.client import connect as subscribed
from realtime.errors import ConfigurationError, UnavailableError
from realtime.settings import Settings, load
from realtime.web.server import bind_doors, make_server
from tests.access.issuer import SECRET, signer
from tests.replica_set import ReplicaSet

SIGNER = signer("HS256")
ASKS: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, "jwt_audience": "shop"}
PUBLIC = {"/v1/collections": 401, "/realtime.js": 200, "/healthz": 200, "/readyz": 200, "/v1/ws": 204}
OPERATORS = ("/", "/docs", "/openapi.json", "/asyncapi.json", "/metrics", "/static/page.js")


@dataclass(frozen=True, slots=True)
class Ports:
    """The addresses of a running service."""

    public: str
    admin: str | None


@asynccontextmanager
async def running(replica_set: ReplicaSet, **settings: Any) -> AsyncIterator[Ports]:
    """The service as `realtime serve` runs it, on free ports."""
    chosen = load(mongodb_uri=replica_set.uri, database="t_ports", port=0, feed_await_ms=100, **settings)
    app = create_app(chosen)
    sockets = bind_doors(chosen)
    scheme = "http" if chosen.tls_cert is None else "https"
    ports = [f"{scheme}://127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    async with app.state.realtime.started():
        listens = asyncio.Event()

        async def started() -> None:
            listens.set()

        server = make_server(app, chosen, started, admin=sockets[1] if len(sockets) > 1 else None)
        serve = asyncio.create_task(server.serve(sockets=sockets))
        await listens.wait()
        try:
            yield Ports(ports[0], ports[1] if len(ports) > 1 else None)
        finally:
            server.should_exit = True
            await serve


async def test_with_a_port_for_operators_the_other_one_has_what_clients_need_and_no_more(
    replica_set: ReplicaSet,
) -> None:
    async with running(replica_set, admin_port=0, **ASKS) as ports, httpx.AsyncClient() as http:
        assert ports.admin is not None
        for path, status in PUBLIC.items():
            assert (await http.get(ports.public + path)).status_code == status, path
            assert (await http.get(ports.admin + path)).status_code == status, path
        for path in OPERATORS:
            assert (await http.get(ports.public + path)).status_code == 404, path
            assert (await http.get(ports.admin + path)).status_code == 200, path
        preflight = {"Access-Control-Request-Method": "GET"}
        for door, place in ((ports.public, "/docs at the operators' port"), (ports.admin, "/docs")):
            told = (await http.get(door + "/v1/nothing")).json()["detail"]
            assert told == f"no path /v1/nothing; {place} lists them"
            told = (await http.options(door + "/v1/nothing", headers=preflight)).json()["detail"]
            assert told == f"no path /v1/nothing; {place} lists them"
        assert (await http.get(ports.public + "/readyz")).json() == {"status": "ready"}
        assert {"position", "reason", "lag_seconds"} <= (await http.get(ports.admin + "/readyz")).json().keys()
        # The port is the socket's; no header moves a request to the other one.
        spoofed = {"Host": ports.admin.removeprefix("http://"), "X-Forwarded-Port": ports.admin.rpartition(":")[2]}
        assert (await http.get(ports.public + "/metrics", headers=spoofed)).status_code == 404
        bearer = {"Authorization": f"Bearer {SIGNER.token()}"}
        for address in (ports.public, ports.admin):
            assert (await http.get(address + "/v1/collections", headers=bearer)).status_code == 200
            async with connect(address.replace("http", "ws") + "/v1/ws", additional_headers=bearer) as socket:
                assert '"principal":"ann"' in str(await socket.recv())


async def test_without_one_everything_is_at_the_one_port(replica_set: ReplicaSet) -> None:
    async with running(replica_set) as ports, httpx.AsyncClient() as http:
        assert ports.admin is None
        for path in OPERATORS:
            assert (await http.get(ports.public + path)).status_code == 200, path
        assert "position" in (await http.get(ports.public + "/readyz")).json()


# --------------------------------------------------------------------------------------------------------------- TLS


def certificate(folder: Path, *, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return chain, private


async def test_tls_serves_http_sockets_and_their_ends(replica_set: ReplicaSet, tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(chain))
    async with running(replica_set, tls_cert=chain, tls_key=key, admin_port=0, **ASKS) as ports:
        assert ports.admin is not None
        bearer = {"Authorization": f"Bearer {SIGNER.token()}"}
        for address in (ports.public, ports.admin):
            port = address.rpartition(":")[2]
            async with httpx.AsyncClient(verify=trusted) as http:
                answer = await http.get(f"https://localhost:{port}/v1/collections", headers=bearer)
                assert answer.status_code == 200
            async with connect(f"wss://localhost:{port}/v1/ws", ssl=trusted, additional_headers=bearer) as socket:
                assert '"principal":"ann"' in str(await socket.recv())


async def test_the_client_trusts_an_authority_that_the_environment_names(
    replica_set: ReplicaSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/clients.md says; without the variable it does not get through."""
    chain, key = certificate(tmp_path)
    async with running(replica_set, tls_cert=chain, tls_key=key, **ASKS) as ports:
        address = f"https://localhost:{ports.public.rpartition(':')[2]}"
        with pytest.raises(UnavailableError, match="certificate"):
            async with subscribed(address, token=SIGNER.token(), connect_timeout=2):
                pass
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        async with subscribed(address, token=SIGNER.token()) as rt:
            assert rt.status.principal == "ann"


@pytest.mark.parametrize("what", ["no key", "no such file", "another's key", "encrypted", "no certificate"])
def test_a_certificate_that_cannot_be_used_ends_the_start_with_why(tmp_path: Path, what: str) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    chain, key = certificate(one, password=b"secret" if what == "encrypted" else None)
    if what == "no key":
        with pytest.raises(ConfigurationError, match="REALTIME_TLS_KEY"):
            load(tls_cert=chain)
        return
    if what == "no such file":
        chain = tmp_path / "nothing"
    elif what == "another's key":
        _, key = certificate(other)
    elif what == "no certificate":
        chain.write_text("hello")
    settings = load(tls_cert=chain, tls_key=key)
    with pytest.raises(ConfigurationError, match="tls-cert"):
        make_server(create_app(settings), settings)


# ------------------------------------------------------------------------------------------------------------ proxies


@pytest.mark.parametrize(("trusted", "believed"), [((), False), (("127.0.0.1",), True), (("10.0.0.0/8",), False)])
def test_only_proxies_that_were_named_say_where_somebody_comes_from(trusted: tuple[str, ...], believed: bool) -> None:
    settings: Settings = load(trusted_proxies=trusted)
    server = make_server(create_app(settings), settings)
    server.config.load()
    seen: list[Any] = []

    async def inner(scope: Any, *_: Any) -> None:
        seen.append(scope["client"][0])

    application: Any = server.config.loaded_app
    while hasattr(application, "app") and not hasattr(application, "trusted_hosts"):
        application = application.app
    if believed or trusted:
        application.app = inner
    else:
        assert not hasattr(application, "trusted_hosts")
        application = inner
    scope = {
        "type": "http",
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "headers": [(b"x-forwarded-for", b"203.0.113.7")],
    }
    asyncio.run(application(scope, None, None))
    assert seen == ["203.0.113.7" if believed else "127.0.0.1"]


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.1/8", "*"])
def test_what_is_no_address_of_a_proxy_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="TRUSTED_PROXIES"):
        load(trusted_proxies=wrong)


@pytest.mark.parametrize("wrong", ["app.example", "https://app.example/", "https://app.example/path", "*", "https://"])
def test_what_is_no_origin_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="ALLOWED_ORIGINS"):
        load(allowed_origins=wrong)
