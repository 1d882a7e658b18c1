"""Accounts of NATS as `nsc` makes them: an operator, an account with JetStream, and files of credentials of users."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]  # reason: without stubs


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _pair(kind: int) -> tuple[Any, str]:
    seed = nkeys.encode_seed(os.urandom(32), kind)
    return nkeys.from_seed(seed), bytes(seed).decode()


def _name(pair: Any) -> str:
    return str(pair.public_key.decode())


def _token(signer: Any, subject: str, claims: dict[str, Any]) -> str:
    """A JWT in NATS's own form, whose `jti` is a hash of the rest."""
    body = {"iat": int(time.time()), "iss": _name(signer), "name": subject, "sub": subject, "nats": claims}
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
    signed = ".".join(_text(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
    return f"{signed}.{_text(signer.sign(signed.encode()))}"


class Accounts:
    """An operator with one account, beside the one that NATS itself needs."""

    def __init__(self) -> None:
        operator, self._account, system = (
            _pair(kind)[0] for kind in (nkeys.PREFIX_BYTE_OPERATOR, *[nkeys.PREFIX_BYTE_ACCOUNT] * 2)
        )
        free = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1) | {
            "wildcards": True
        }
        room = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
        held = {
            account: _token(operator, account, {"type": "account", "version": 2, "limits": limits})
            for account, limits in ((_name(self._account), free | room), (_name(system), free))
        }
        said = {"type": "operator", "version": 2, "system_account": _name(system)}
        preloaded = "\n".join(f"{account}: {token}" for account, token in held.items())
        self.config = (
            f"operator: {_token(operator, _name(operator), said)}\nsystem_account: {_name(system)}\n"
            f"resolver: MEMORY\nresolver_preload: {{\n{preloaded}\n}}\n"
        )

    def credentials(self, path: Path, publish: list[str], subscribe: list[str]) -> Path:
        """The file of a new user of the account, who may this alone."""
        user, seed = _pair(nkeys.PREFIX_BYTE_USER)
        claims: dict[str, Any] = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
        claims |= {"pub": {"allow": publish}, "sub": {"allow": subscribe}}
        token = _token(self._account, _name(user), claims)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n"
            "NKEY Seed printed below can be used to sign and prove identity.\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n"
        )
        return path
