"""`make sabotage`: every row fits the tree, and every row of a run gets the result that it should."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from tests import sabotage
from tests.sabotaged import MARK, Patience, Result, Runs, Sabotage, sabotaged, unfit


def test_every_row_can_be_applied_and_names_a_test() -> None:
    assert {one.name: reason for one in sabotage.TABLE if (reason := unfit(one, sabotage.ROOT))} == {}
    names = [one.name for one in sabotage.TABLE]
    assert len(set(names)) == len(names) >= 180


# ------------------------------------------------------------------------------------- a small tree to be sabotaged

SOURCE = """
def double(n):
    return n * 2

def ready():
    return True

def quick():
    return True

def waiting():
    return False

TWICE = 1
TWICE = 1
"""
TESTS = """
import signal, subprocess, time
import pytest
from realtime.source import double, quick, ready, waiting

def test_double():
    assert double(2) == 4

def test_nothing():
    assert True

@pytest.fixture
def prepared():
    assert ready(), "the fixture fails"

def test_prepared(prepared):
    assert ready()

@pytest.fixture
def unlucky():
    raise RuntimeError("no MongoDB today")

def test_unlucky(unlucky):
    assert quick()

def test_always_red():
    assert double(2) == 5

@pytest.mark.timeout(1000)
def test_waits():
    while waiting():
        time.sleep(0.01)

def test_deaf():
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    if waiting():
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        child.wait()

@pytest.mark.parametrize("n", range(1000))
def test_many(n):
    time.sleep(0 if quick() else 0.1)
"""
FILE, IN = "realtime/source.py", "tests/test_source.py::"
WAITS = ("def waiting():\n    return False", "def waiting():\n    return True")
SLOW = ("def quick():\n    return True", "def quick():\n    return False")
CASES: dict[str, tuple[tuple[str, str, str], str, str]] = {
    "noticed": (("n * 2", "n * 3", "test_double"), "red", "assert 6 == 4"),
    "not noticed": (("n * 2", "n * 3", "test_nothing"), "SURVIVED", ""),
    "a fixture notices": (
        ("def ready():\n    return True", "def ready():\n    return False", "test_prepared"),
        "red",
        "at setup: AssertionError: the fixture fails",
    ),
    "a fixture fails anyway": (("n * 2", "n * 3", "test_unlucky"), "NOT GREEN", "without it: at setup (RuntimeError"),
    "the module cannot be read": (("def double(n):", "def double(n:", "test_double"), "NO TEST", "ended with 4"),
    "it waits for ever": ((*WAITS, "test_waits"), "red", "hung: test_source.py::test_waits after 5 s"),
    "it is deaf": ((*WAITS, "test_deaf"), "red", "hung: test_source.py::test_deaf, ended with pytest after"),
    "the line is gone": (("n * 7", "n * 3", "test_double"), "NOT APPLIED", "its line is there 0 times"),
    "the line is there twice": (("TWICE = 1", "TWICE = 2", "test_double"), "NOT APPLIED", "its line is there 2 times"),
    "the test is gone": (("n * 2", "n * 3", "test_triple"), "NOT APPLIED", "tests/test_source.py has no test_triple"),
    "the case is gone": (("n * 2", "n * 3", "test_many[1000]"), "NO TEST", "pytest does not find"),
    "nothing is changed": (("n * 2", "n * 2", "test_double"), "NOT APPLIED", "it changes nothing"),
}
ROWS = [Sabotage(name, FILE, line, instead, IN + test) for name, ((line, instead, test), _, _) in CASES.items()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for file, text in (
        (FILE, SOURCE),
        ("tests/test_source.py", TESTS),
        ("tests/__init__.py", ""),
        ("realtime/__init__.py", ""),
    ):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text(text)
    shutil.copy(Path(sabotage.__file__).with_name("pytest_record.py"), root / "tests")
    return root


@pytest.mark.long("runs a table whose rows hang, five times")
@pytest.mark.timeout(300)
def test_every_row_gets_its_result_and_leaves_no_process(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them in one run, two at a time; what is not red says why."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # so that its copies are told from those of other runs
    runs = Runs(Patience(test=5, marked=5, grace=5, run=120))
    results, seen = {}, 0
    for one, result in sabotage.results(ROWS, tree, runs, jobs=2):
        results[one.name] = result
        seen += len(_of_runs_in(tmp_path))
    expected = {name: (verdict, reason) for name, (_, verdict, reason) in CASES.items()}
    wrong = {
        name: (str(result), expected[name])
        for name, result in results.items()
        if result.verdict != expected[name][0] or expected[name][1] not in result.reason
    }
    assert wrong == {}
    assert results.keys() == CASES.keys()
    assert seen, "the runs' processes are found while they run"
    assert _of_runs_in(tmp_path) == []


def _of_runs_in(directory: Path) -> list[psutil.Process]:
    """The processes of runs in copies below it, whatever else is sabotaged on this machine."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.environ().get(MARK, "/")).is_relative_to(directory.resolve()):
                found.append(process)
    return found


def test_many_tests_that_are_slow_are_no_hang(tree: Path) -> None:
    row = Sabotage("slow", FILE, *SLOW, f"{IN}test_many")
    result = sabotaged(row, tree, Runs(Patience(run=4)))
    assert (result.verdict, "4 s were up" in result.reason) == ("TOO LONG", True)


@pytest.mark.long("runs a row twice")
def test_a_test_that_is_red_anyway_proves_nothing(tree: Path) -> None:
    row = Sabotage("anyway", FILE, "n * 2", "n * 3", f"{IN}test_always_red")
    (believed,) = sabotage.results([row], tree, Runs(), jobs=1)
    assert believed[1].verdict == "red"
    (proven,) = sabotage.results([row], tree, Runs(), jobs=1, prove=True)
    assert (proven[1].verdict, "assert 4 == 5" in proven[1].reason) == ("NOT GREEN", True)


def test_what_is_alone_runs_after_the_rest(tree: Path) -> None:
    tests = tree / "tests" / "test_alone.py"
    tests.write_text(
        "import pytest\nfrom tests.test_source import test_double\n"
        "pytestmark = pytest.mark.alone('counts')\ndef test_counted(): test_double()\n"
    )
    rows = [
        Sabotage("first in the table", FILE, "n * 2", "n * 3", "tests/test_alone.py::test_counted"),
        Sabotage("second", FILE, "n * 2", "n * 3", f"{IN}test_double"),
    ]
    done = list(sabotage.results(rows, tree, Runs(), jobs=2))
    assert [(one.name, result.verdict) for one, result in done] == [("second", "red"), ("first in the table", "red")]


def test_whoever_stops_listening_ends_what_is_under_way(tree: Path) -> None:
    waits = Sabotage("waits", FILE, *WAITS, f"{IN}test_waits")
    rows = [Sabotage("noticed", FILE, "n * 2", "n * 3", f"{IN}test_double"), waits]
    began = time.monotonic()
    coming = sabotage.results(rows, tree, Runs(), jobs=2)
    assert next(coming)[0].name == "noticed"
    coming.close()
    assert time.monotonic() - began < Patience().test


def test_the_table_and_the_summary_name_every_row() -> None:
    red, survived = (Sabotage(name, FILE, "a|b", "", "tests/x.py::test") for name in ("one | two", "three"))
    done = [(red, Result("red", "assert 1 == 2", 1.25)), (survived, Result("SURVIVED", "", 3))]
    assert sabotage.table(done).splitlines()[2:] == [
        f"| one \\| two | `{FILE}` | `tests/x.py::test` | 1.2 | red (assert 1 == 2) |",
        f"| three | `{FILE}` | `tests/x.py::test` | 3.0 | SURVIVED |",
    ]
    assert sabotage.summary(done, 4).splitlines() == [
        "three: SURVIVED",
        "1 of 2 turned their test red in 4 s (1 red, 1 SURVIVED)",
    ]


def test_no_row_of_that_name_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert sabotage.main(["no row is called this"]) == 1
    assert "no row's name contains no row is called this" in capsys.readouterr().out
