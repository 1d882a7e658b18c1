"""Which mongod is taken, and what is said of one, or of a data directory, that cannot be."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from realtime.errors import ConfigurationError
from realtime.mongo import embedded
from tests.mongo.test_embedded import script


def only_in(monkeypatch: pytest.MonkeyPatch, *, path: Path | None = None, extra: Path | None = None) -> None:
    """Leave nothing to be found but on this PATH and in this site-packages."""
    monkeypatch.setenv("PATH", str(path or ""))
    if extra:
        monkeypatch.syspath_prepend(extra)
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


def test_the_named_binary_is_taken_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_in(monkeypatch, path=script(tmp_path / "bin" / "mongod", "").parent)
    named = script(tmp_path / "named", "")
    assert embedded.find_mongod(named, tmp_path) == named


def test_the_path_is_taken_before_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = script(tmp_path / "bin" / "mongod", "")
    script(tmp_path / "site" / "fiftyone" / "db" / "bin" / "mongod", "")
    only_in(monkeypatch, path=on_path.parent, extra=tmp_path / "site")
    assert embedded.find_mongod(None, tmp_path) == on_path


def test_the_extra_gets_its_run_bit_and_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = script(tmp_path / "site" / "fiftyone" / "db" / "bin" / "mongod", "")
    bundled.chmod(0o644)
    script(tmp_path / "site" / "fiftyone" / "__init__.py", "raise AssertionError('imported')")
    only_in(monkeypatch, extra=tmp_path / "site")
    assert embedded.find_mongod(None, tmp_path) == bundled
    assert os.access(bundled, os.X_OK)


def test_the_extra_in_read_only_site_packages_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = script(tmp_path / "site" / "fiftyone" / "db" / "bin" / "mongod", "its bytes")
    bundled.chmod(0o644)
    only_in(monkeypatch, extra=tmp_path / "site")
    chmod = Path.chmod

    def refuse(path: Path, mode: int) -> None:
        if path == bundled:
            raise PermissionError(30, "Read-only file system")
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", refuse)
    data = tmp_path / "data"
    data.mkdir()
    for _ in range(2):
        assert embedded.find_mongod(None, data) == data / "mongod"
        assert (data / "mongod").read_text() == "its bytes"
        assert os.access(data / "mongod", os.X_OK)


def test_none_found_names_every_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_in(monkeypatch)
    with pytest.raises(ConfigurationError) as error:
        embedded.find_mongod(None, tmp_path)
    text = str(error.value)
    for way in ("REALTIME_MONGOD", "PATH", "/path/to/clone[embedded]", "docker/compose.yaml", "--mongodb-uri"):
        assert way in text
    assert "\n" not in text


def test_a_named_binary_that_cannot_be_one_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"REALTIME_MONGOD names .*/absent.* no such file"):
        embedded.find_mongod(tmp_path / "absent", tmp_path)
    plain = tmp_path / "plain"
    plain.touch(mode=0o644)
    with pytest.raises(ConfigurationError, match=r"not executable: chmod \+x .*/plain"):
        embedded.find_mongod(plain, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "#!/bin/sh\necho mongod: error while loading shared libraries: libcrypto.so.3: cannot open >&2\nexit 127\n",
            r"exit code 127.*libcrypto\.so\.3: cannot open",
        ),
        (
            '#!/bin/sh\necho \'{"s":"I","msg":"fine"}\n{"s":"E","msg":"bad","attr":{"error":"why"}}\'\nexit 1\n',
            r"exit code 1\): bad: why",
        ),
        ("#!/bin/sh\nkill -ILL $$\n", r"SIGILL: .*AVX.*it said nothing"),
        ("\x7fELF of another machine", r"Exec format error"),
    ],
    ids=["library missing", "its own error", "no AVX", "another machine"],
)
async def test_a_binary_that_cannot_run_here_is_one_line_with_its_own_words(
    directory: Path, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        await embedded.start(directory, script(tmp_path / "mongod", text))
    assert "\n" not in str(error.value)
    assert "REALTIME_MONGOD" in str(error.value)


async def test_a_data_directory_that_cannot_be_one_is_refused_by_name(tmp_path: Path, binary: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"/file/data cannot be used .*--data-dir"):
        await embedded.start(tmp_path / "file" / "data", binary)
