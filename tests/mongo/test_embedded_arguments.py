"""What mongod is started with."""

from __future__ import annotations

from pathlib import Path

from realtime.mongo import embedded


def test_an_oplog_size_of_the_callers_takes_the_place_of_ours() -> None:
    """mongod refuses to start on two of them."""
    ours = embedded._command(Path("mongod"), Path("/data"), 1, ())
    given = embedded._command(Path("mongod"), Path("/data"), 1, ("--oplogSize", "1"))
    assert ours[ours.index("--oplogSize") + 1] == "1024"
    assert given.count("--oplogSize") == 1
    assert given[given.index("--oplogSize") + 1] == "1"
