"""The JSON Schema Test Suite, draft 4, which MongoDB's `$jsonSchema` follows: schemas, values, and which are valid.

It is published inside the source of PyPI's `jsonschema`, which pip fetches once a machine; nothing of it is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kept import kept

SOURCE = "jsonschema==4.23.0"
DRAFT = "draft4"
FETCH_SECONDS = 300
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Case:
    """One schema of the suite with its values; `valid[i]`: whether the suite says that `values[i]` is."""

    name: str
    schema: Any
    values: tuple[Any, ...]
    valid: tuple[bool, ...]


def cases() -> Iterator[Case]:
    """Every case of the draft but for numbers that no BSON holds, the optional ones too."""
    folder = kept(f"json-schema-suite-{SOURCE.partition('==')[2]}", _fetch)
    for path in sorted(folder.rglob("*.json")):
        for found in json.loads(path.read_text()):
            told = [one for one in found["tests"] if _storable(one["data"])]
            if told and _storable(found["schema"]):
                values, valid = tuple(one["data"] for one in told), tuple(one["valid"] for one in told)
                yield Case(f"{path.relative_to(folder)}: {found['description']}", found["schema"], values, valid)


def _fetch(folder: Path) -> None:
    folder.mkdir()
    # Its own source is asked for, and wheels of whatever pip needs to read that.
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    subprocess.run(
        [*command, "--no-binary", "jsonschema", "--dest", str(folder), SOURCE], check=True, timeout=FETCH_SECONDS
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        for member in source:
            _, _, inner = member.name.partition(f"/json/tests/{DRAFT}/")
            content = source.extractfile(member) if inner.endswith(".json") else None
            if content is not None:
                target = folder / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    archive.unlink()


def _storable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_storable, value.values()))
    if isinstance(value, list):
        return all(map(_storable, value))
    return not isinstance(value, int) or -_INT64 <= value < _INT64
