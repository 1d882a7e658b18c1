"""Where NATS is: read from the settings, with no secret shown, and by TLS and as somebody where others could listen."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from realtime.app import Realtime
from realtime.errors import ConfigurationError
from realtime.nats.access import Access, Server, access_of
from realtime.settings import load
from tests.nats.certificates import Authority


def access(**given: Any) -> Access:
    return access_of(load(**given))


def refusal(**given: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        access(**given)
    line = str(refused.value)
    assert "\n" not in line
    assert "s3cret" not in line
    return line


def test_each_server_has_its_host_its_port_and_whether_tls_is_spoken() -> None:
    found = access(nats="tls://u:p@a.example, tls://b.example:4333,nats://127.0.0.1:1, tls://[::1]")
    assert found.servers == (
        Server("a.example", 4222, True),
        Server("b.example", 4333, True),
        Server("127.0.0.1", 1, False),
        Server("::1", 4222, True),
    )
    assert found.shown == "tls://a.example:4222, tls://b.example:4333, nats://127.0.0.1:1, tls://[::1]:4222"
    assert found.tls is not None
    assert found.tls.verify_mode == ssl.CERT_REQUIRED
    assert found.tls.check_hostname


def test_a_user_is_that_of_the_first_address_that_has_one_and_is_decoded() -> None:
    found = access(nats="nats://localhost,nats://n%40de:s3cr%2Fet@localhost,nats://x:y@localhost")
    assert (found.user, found.password) == ("n@de", "s3cr/et")
    assert "s3cr" not in repr(found)
    token = access(nats="nats://t0ken@localhost")
    assert (token.user, token.password) == ("t0ken", None)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("tls://a.example:4222", "nobody says who asks"),
        ("nats://u:s3cret@a.example", "not encrypted"),
        ("a.example", "not encrypted"),
        ("nats://127.0.0.1,nats://u:s3cret@10.0.0.7", "not encrypted"),
    ],
)
def test_beyond_this_machine_it_is_by_tls_and_as_somebody_or_insecure(url: str, says: str) -> None:
    line = refusal(nats=url)
    assert says in line
    assert "--insecure" in line
    assert access(nats=url, insecure=True).servers


def test_on_this_machine_neither_is_needed() -> None:
    for url in ("127.0.0.1", "nats://localhost:4222", "nats://[::1]:4222"):
        found = access(nats=url)
        assert (found.user, found.tls, len(found.servers)) == (None, None, 1)


@pytest.mark.parametrize(
    "url",
    ["http://u:s3cret@a", "wss://a", "nats://u:s3cret@", "nats://u:s3cret@a:port", "nats://a/path", ",", "nats://a?x"],
)
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    assert "it looks like tls://" in refusal(nats=url, insecure=True)


def test_without_an_address_it_says_how_to_name_one() -> None:
    assert "--nats" in refusal()


def test_files_that_cannot_be_used_are_refused_by_the_name_of_their_setting(tmp_path: Path) -> None:
    away, rubbish = tmp_path / "away.pem", tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    authority = Authority(tmp_path)
    chain, key = authority.signed("node")
    _, other = authority.signed("other")
    url = "tls://127.0.0.1"
    assert "REALTIME_NATS_CA cannot be read" in refusal(nats=url, nats_ca=away)
    assert "REALTIME_NATS_CA: no certificates" in refusal(nats=url, nats_ca=rubbish)
    assert "REALTIME_NATS_CREDS cannot be read" in refusal(nats=url, nats_creds=away)
    assert "REALTIME_NATS_KEY cannot be read" in refusal(nats=url, nats_cert=chain, nats_key=away)
    assert "do not go together" in refusal(nats=url, nats_cert=chain, nats_key=other)
    assert "both REALTIME_NATS_CERT and REALTIME_NATS_KEY" in refusal(nats=url, nats_cert=chain)
    assert access(nats=url, nats_cert=chain, nats_key=key).tls is not None


def test_credentials_have_both_of_their_parts_and_stand_alone(tmp_path: Path) -> None:
    creds = tmp_path / "node.creds"
    creds.write_text("-----BEGIN USER NKEY SEED-----\nSU\n------END USER NKEY SEED------\n")
    assert "nsc" in refusal(nats="nats://127.0.0.1", nats_creds=creds)
    creds.write_text(f"-----BEGIN NATS USER JWT-----\ney\n------END NATS USER JWT------\n{creds.read_text()}")
    assert access(nats="nats://127.0.0.1", nats_creds=creds).creds == creds
    assert "leave one of them out" in refusal(nats="nats://u:s3cret@127.0.0.1", nats_creds=creds)


def test_a_ca_or_a_client_certificate_means_tls_whatever_the_address_says(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.signed("node")
    assert access(nats="nats://127.0.0.1", nats_ca=authority.ca).servers[0].encrypted
    far = access(nats="nats://a.example", nats_cert=chain, nats_key=key)
    assert far.servers[0].encrypted


async def test_what_is_no_address_is_refused_before_mongodb_is_asked() -> None:
    service = Realtime(load(mongodb_uri="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=500", nats="http://localhost"))
    with pytest.raises(
        ConfigurationError, match=r"--nats \(REALTIME_NATS\) cannot be used.*neither nats:// nor tls://"
    ):
        async with service.started():
            pass
