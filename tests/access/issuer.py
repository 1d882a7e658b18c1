"""Keys, tokens and a key set's address, as an identity provider has them; everything is made anew in each run."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "0123456789abcdef0123456789abcdef-of-the-tests"
AUDIENCE, ISSUER = "shop", "https://login.example"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key by its algorithm, its public half as PEM and JWK."""

    algorithm: str
    private: Any
    kid: str

    def token(self, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good for a minute, but for what is said otherwise; `...` leaves a claim out."""
        now = time.time()
        fields = {"sub": "ann", "iat": now, "exp": now + 60, "aud": AUDIENCE, "iss": ISSUER, **claims}
        given = {name: value for name, value in fields.items() if value is not ...}
        return jwt.encode(given, self.private, algorithm=self.algorithm, headers={"kid": self.kid, **(header or {})})

    @property
    def pem(self) -> bytes:
        public = self.private.public_key()
        found: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return found

    @property
    def jwk(self) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        fields: dict[str, Any] = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**fields, "kid": self.kid, "alg": self.algorithm, "use": "sig"}


def signer(algorithm: str, kid: str = "k1") -> Signer:
    """A new key."""
    if algorithm == "RS256":
        return Signer(algorithm, rsa.generate_private_key(65537, 2048), kid)
    if algorithm == "ES256":
        return Signer(algorithm, ec.generate_private_key(ec.SECP256R1()), kid)
    if algorithm == "EdDSA":
        return Signer(algorithm, ed25519.Ed25519PrivateKey.generate(), kid)
    return Signer(algorithm, SECRET, kid)


def pem_file(directory: Path, one: Signer) -> Path:
    path = directory / f"{one.algorithm}.pem"
    path.write_bytes(one.pem)
    return path


@dataclass(slots=True)
class KeyAddress:
    """A JWK Set on loopback. `answer` makes status and body of each request; `times` has when they came."""

    url: str = ""
    answer: Callable[[], tuple[int, bytes]] = lambda: (200, b"{}")
    times: list[float] = field(default_factory=list)

    def shows(self, *signers: Signer) -> None:
        body = json.dumps({"keys": [one.jwk for one in signers]}).encode()
        self.answer = lambda: (200, body)


@contextmanager
def key_address() -> Iterator[KeyAddress]:
    """A server of key sets."""
    address = KeyAddress()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address.times.append(time.monotonic())
            status, body = address.answer()
            self.send_response(status)
            if status in {301, 302}:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    address.url = f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
