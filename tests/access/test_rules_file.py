"""The file with the rules: whole or refused, and seen when it changes, however that is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from realtime.access import rules_file
from realtime.access.rules_file import RulesFile
from realtime.core.access.rules.text import MAX_BYTES
from realtime.errors import ConfigurationError


def test_the_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("orders: {}\n")
    assert RulesFile(path).read() == "orders: {}\n"


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    with pytest.raises(ConfigurationError, match=r"rules.yaml cannot be read: No such file"):
        RulesFile(path).read()
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigurationError, match=":2: this is no UTF-8"):
        RulesFile(path).read()
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigurationError, match="larger than"):
        RulesFile(path).read()


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[asyncio.Queue[str]]:
    seen: asyncio.Queue[str] = asyncio.Queue()
    file = RulesFile(path)

    async def changed() -> None:
        seen.put_nowait(file.read() if path.exists() else "gone")

    watch = asyncio.create_task(file.watch(changed))
    await asyncio.sleep(rules_file.LOOK_SECONDS)
    try:
        yield seen
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def told(seen: asyncio.Queue[str]) -> str:
    async with asyncio.timeout(10):
        return await seen.get()


async def test_a_change_is_told_whether_written_renamed_or_linked(tmp_path: Path) -> None:
    path, other, linked = tmp_path / "rules.yaml", tmp_path / "other.yaml", tmp_path / "link.yaml"
    path.write_text("one")
    async with watched(path) as seen:
        path.write_text("two, longer")
        assert await told(seen) == "two, longer"
        other.write_text("three")
        other.replace(path)
        assert await told(seen) == "three"
        path.unlink()
        assert await told(seen) == "gone"
        path.write_text("four")
        assert await told(seen) == "four"
        assert seen.empty()
    other.write_text("five")
    linked.symlink_to(path)
    async with watched(linked) as seen:
        (tmp_path / "new").symlink_to(other)
        (tmp_path / "new").replace(linked)
        assert await told(seen) == "five"


async def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("one")
    async with watched(path) as seen:
        with path.open("w") as file:
            for _ in range(8):
                file.write("half ")
                file.flush()
                await asyncio.sleep(rules_file.LOOK_SECONDS / 2)
            file.write("whole")
        assert await told(seen) == "half " * 8 + "whole"
        assert seen.empty()
