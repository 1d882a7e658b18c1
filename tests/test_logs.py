"""Logs: JSON that parses, a reference on every error, and no line again and again."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator

import pytest

from realtime import logs

log = logging.getLogger("realtime.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_line_of_json_has_its_fields_and_its_reference(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    log.info("degraded: %s", "no primary")
    try:
        int("words")
    except ValueError:
        log.exception("a write failed, reference %s", "0a1b2c3d", extra={"reference": "0a1b2c3d"})
    log.error("history lost")
    first, second, third = map(json.loads, said(capsys))
    assert first.keys() == {"time", "level", "logger", "message"}
    assert (first["level"], first["logger"], first["message"]) == ("INFO", "realtime.test", "degraded: no primary")
    assert first["time"].endswith("Z")
    assert second["reference"] == "0a1b2c3d"
    assert "ValueError: invalid literal" in second["exc_info"]
    assert len(third["reference"]) == 8


def test_a_line_for_people_names_the_reference_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "console")
    log.error("a write failed, reference %s", "0a1b2c3d", extra={"reference": "0a1b2c3d"})
    log.error("history lost")
    log.warning("degraded")
    first, second, third = said(capsys)
    assert first.count("0a1b2c3d") == 1
    assert second.rpartition("history lost (reference ")[2].rstrip(")").isalnum()
    assert "reference" not in third


@pytest.mark.parametrize("form", ["console", "json"])
def test_what_is_retried_is_said_once_in_five_seconds_and_then_with_its_number(
    form: logs.Format, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    logs.configure("info", form)
    for turn in range(50):
        now += 0.2
        log.info("snapshot of %s starts again", f"c{turn}", extra=logs.RETRIED)
        log.info("worker %d started", turn)
    lines = [line for line in said(capsys) if "worker" not in line]
    assert len(lines) == 2
    assert "retried" not in "".join(lines)
    assert "snapshot of c0 starts again" in lines[0]
    assert "(24 more like it before)" in lines[1]


def test_a_change_of_state_is_never_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    for turn in range(3):
        log.info("worker %d started", turn)
        try:
            int("words")
        except ValueError:
            log.exception("a frame failed")
    lines = [json.loads(line) for line in said(capsys)]
    assert len(lines) == 6
    assert len({line["reference"] for line in lines if line["level"] == "ERROR"}) == 3


def test_the_level_and_the_drivers_noise(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "console")
    log.info("not shown")
    logging.getLogger("pymongo.topology").debug("not shown")
    log.warning("shown")
    assert [line.rpartition(": ")[2] for line in said(capsys)] == ["shown"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_where_several_processes_log_to_one_place_each_line_says_whose_it_is(
    form: logs.Format, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same words, whether the process says it itself or somebody passes on what it wrote."""
    logs.configure("info", form)
    log.info("degraded")
    (plain,) = said(capsys)
    logs.configure("info", form, "node 1")
    log.info("degraded")
    (own,) = said(capsys)
    passed = logs.of_another(plain, "node 1")
    if form == "json":
        first, second = json.loads(own), json.loads(passed)
        assert first.pop("process") == second.pop("process") == "node 1"
        assert first.keys() == second.keys() == json.loads(plain).keys()
    else:
        assert passed == f"node 1 | {plain}"
        assert own.startswith("node 1 | ")
        assert own.rpartition(" INFO ")[2] == plain.rpartition(" INFO ")[2]
