"""What the tests of rules are about: marked documents, three people and their tokens, rules narrow and wide.

Every value that a rule may hide is a mark, unique to its document, field and version. So any byte that reaches a
client can be looked up: whose it was, and whether that client's rule ever showed it.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt

from tests.rules.ruled import Person, Rules
from tests.truth import Document

SECRET = "0123456789abcdef0123456789abcdef-of-the-rules"
SHOWN_TO_MEMBERS = ["title", "qty", "team", "status", "notes.open"]

NARROW: Rules = {
    "*cell*": {
        "root": {"read": True, "insert": True, "update": True, "delete": True},
        "customer": {"read": {"owner": "$user.sub"}, "fields": {"hide": ["margin", "notes.internal", "lines.cost"]}},
        "staff": {
            "read": {"region": {"$in": "$user.claims.regions"}},
            "fields": {"hide": ["pay", "lines.sku"]},
        },
        "member": {
            "read": {"team": {"$in": "$user.claims.teams"}},
            "fields": {"show": SHOWN_TO_MEMBERS},
        },
    }
}
WIDE: Rules = {
    "*cell*": {
        **NARROW["*cell*"],
        "customer": {
            "read": {"$or": [{"owner": "$user.sub"}, {"status": "open"}]},
            "fields": {"hide": ["margin"]},
        },
        "staff": {"read": {"region": {"$ne": "w"}}, "fields": {"hide": ["pay"]}},
        "member": {
            "read": {"$or": [{"qty": {"$gte": 7}}, *[NARROW["*cell*"]["member"]["read"]]]},
            "fields": {"show": [*SHOWN_TO_MEMBERS, "pay"]},
        },
    }
}
"""Whoever has one of these grants sees more of rows and of fields than by the narrow one."""

ROOT = Person("root", ("root",))
PEOPLE: dict[str, tuple[Person, Person]] = {
    "ann": (Person("ann", ("customer",)), Person("ann", ("customer", "staff"), {"regions": ["n"]})),
    "bob": (
        Person("bob", ("customer", "staff"), {"regions": ["n"]}),
        Person("bob", ("customer", "staff"), {"regions": ["n", "s"]}),
    ),
    "eve": (
        Person("eve", ("member",), {"teams": ["t1"]}),
        Person("eve", ("customer", "member"), {"teams": ["t1", "t2"]}),
    ),
}
"""Each with a narrow and a wide token. bob has two grants that differ in rows and in fields; eve's lists her teams."""

SETS: Rules = {
    "*cell*": {
        **NARROW["*cell*"],
        "customer": {
            "read": {"$or": [{"owner": "$user.sub"}, {"team": {"$in": "$user.claims.teams"}}]},
            "fields": {"hide": ["margin", "notes.internal", "lines.cost"]},
        },
    }
}
"""With the claims in a collection instead: see `taken`. So it is judged by claims, whatever the service goes by."""
MEMBERS: dict[str, tuple[Person, Person]] = {
    "ann": (Person("ann", ("customer",), {"teams": []}), Person("ann", ("customer",), {"teams": ["t2", "t3"]})),
    "bob": (
        Person("bob", ("customer", "staff"), {"regions": ["n"], "teams": []}),
        Person("bob", ("customer", "staff"), {"regions": ["n", "s"], "teams": ["t3"]}),
    ),
    "eve": (Person("eve", ("member",), {"teams": ["t1"]}), Person("eve", ("member",), {"teams": ["t1", "t2"]})),
}
"""What each is a member of, before and after."""


def taken(rules: Rules, collection: str) -> Rules:
    """The same rules, with what the claims list taken from the documents of a collection."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: changed(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return list(map(changed, value))
        if isinstance(value, str) and value.startswith("$user.claims."):
            where = {"user": "$user.sub", "of": value.removeprefix("$user.claims.")}
            return {"$from": {"collection": collection, "where": where, "values": "value"}}
        return value

    found: Rules = changed(rules)
    return found


def memberships(person: Person) -> dict[str, Document]:
    """The documents that say what the claims of a person do, by their keys."""
    return {
        f"{person.sub} {of} {value}": {"user": person.sub, "of": of, "value": value}
        for of, values in person.claims.items()
        for value in values
    }


def token(person: Person, *, seconds: float = 3600, **claims: Any) -> str:
    """One of theirs that is good for so long."""
    now = time.time()
    fields = {"sub": person.sub, "roles": list(person.roles), "iat": now - 1, "exp": now + seconds, **person.claims}
    return jwt.encode({**fields, **claims}, SECRET, algorithm="HS256")


def bearer(person: Person) -> dict[str, str]:
    """The header of a request of theirs."""
    return {"Authorization": f"Bearer {token(person)}"}


def ruled(rules: Rules, collection: str) -> Rules:
    """Those rules for a collection of that name."""
    found: Rules = json.loads(json.dumps(rules).replace("*cell*", collection))
    return found


def written(path: Path, rules: Rules) -> Path:
    """Rules as the file that the service reads: JSON is YAML."""
    path.write_text(json.dumps(rules, indent=1))
    return path


class Maker:
    """Documents of one collection, at random; no two values alike where it matters."""

    def __init__(self, seed: int, tag: int = 0) -> None:
        self.dice = random.Random(seed)
        self._number = tag << 16

    def mark(self) -> str:
        """Text that no other value has."""
        self._number += 1
        return f"zq{self._number:08x}z"

    def key(self) -> str:
        return f"k{self.mark()}"

    def document(self, key: str, owner: str) -> Document:
        """A whole one; half of them are the owner's."""
        return {"_id": key, **self.rows(owner), **self.fields()}

    def rows(self, owner: str) -> Document:
        """What rules decide by."""
        choose = self.dice.choice
        return {
            "owner": choose([owner, owner, "zed", "yan"]),
            "region": choose(["n", "s", "w"]),
            "team": choose(["t1", "t1", "t2", "t3"]),
            "status": choose(["open", "closed"]),
            "qty": self.dice.randrange(10),
        }

    def fields(self) -> Document:
        """What rules hide."""
        return {
            "title": self.mark(),
            "margin": self.mark(),
            "pay": self.mark(),
            "notes": {"internal": self.mark(), "open": self.mark()},
            "lines": [{"sku": self.mark(), "cost": self.mark()} for _ in range(2)],
        }

    def changed(self, owner: str) -> Document:
        """What one update sets: rows, shown fields or hidden fields."""
        every = {**self.rows(owner), **self.fields()}
        return {name: every[name] for name in self.dice.sample(sorted(every), self.dice.choice([1, 1, 2, 3]))}


Setting = Mapping[str, Any]
RULED: Setting = {"auth": "jwt", "jwt_secret": SECRET, "feed_await_ms": 50, "heartbeat_seconds": 0.2}
