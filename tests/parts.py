"""`make test`: what may run side by side by several workers, then what must run alone, and one exit code for both.

    python -m tests.parts [--only long|PART] [pytest's arguments]

Most tests wait rather than compute, so there are more workers than cores; each has a replica set of its own. A test
that measures time, processors or memory, or counts what the machine has, is marked `alone` with its reason, and runs
in a second pytest with nothing beside it. A failure of the first part does not keep the second from running. What is
marked `long` runs when it is asked for, `make test-long`: side by side as well, and alone what is marked `alone` too.

REALTIME_TEST_AGAIN=3, which CI sets, lets up to three failed tests of a part run once more, with nothing beside them:
one that two busy cores made late is told by name and fails nothing, one that is wrong fails again. More than that many
is no accident.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("together", "alone", "long", "long alone")
USUAL, AT_LENGTH = ("together", "alone"), ("long", "long alone")
SIDE_BY_SIDE = frozenset({"together", "long"})
WORKERS_VARIABLE = "REALTIME_TEST_WORKERS"
AGAIN_VARIABLE = "REALTIME_TEST_AGAIN"
FAILED_VARIABLE = "REALTIME_TEST_FAILED"
"""The file to which a part's pytest writes what failed, a test a line (tests/conftest.py)."""
A_CORE = 2.5
"""Workers for each core: a third of the time they wait, for a socket, a process or MongoDB."""
NOTHING_SELECTED, STOPPED = 5, frozenset({2, 3, 4})
"""Exit codes of pytest: nothing was selected; interrupted, broken inside, called wrongly."""


def main(arguments: Sequence[str]) -> int:
    """Both parts (or the one of `--only`), with the same arguments; 0 when what ran is green and something ran."""
    chosen, arguments = _chosen(arguments)
    codes: dict[str, int] = {}
    late: dict[str, list[str]] = {}
    for part in chosen:
        codes[part], late[part] = _run(part, arguments)
        if codes[part] in STOPPED or (codes[part] == 1 and {"-x", "--exitfirst"} & set(arguments)):
            break
    for part, tests in late.items():
        for test in tests:
            print(f"passed only when run again by itself ({part}): {test}")  # noqa: T201 - somebody must look into it
    if len(chosen) > 1:
        print("; ".join(f"{part}: {_said(codes.get(part))}" for part in chosen))  # noqa: T201 - the last line of the run
    return worst(list(codes.values()))


def worst(codes: Sequence[int]) -> int:
    """The exit code of both: a part for which nothing was selected says nothing, unless all are such."""
    told = [code for code in codes if code != NOTHING_SELECTED]
    return max(told) if told else NOTHING_SELECTED


def command(part: str, arguments: Sequence[str], basetemp: str) -> list[str]:
    """pytest for one part. What is given comes after our own, so that `-n 0` or a marker is obeyed."""
    words = [sys.executable, "-m", "pytest", f"--basetemp={basetemp}"]
    words += [f"--part={part}"] if part in PARTS else []
    if part in SIDE_BY_SIDE:
        return [*words, "-n", str(workers()), "--dist", "loadscope", *arguments]
    return [*words, *(_beside(one, part) for one in arguments), "-n", "0"]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What Python and pytest make of the source is kept, beside the environment as `make` has it.

    Every worker would otherwise make it anew, and every one of the hundreds of processes that the tests start: a second
    each.
    """
    kept = {name: value for name, value in given.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {"PYTHONPYCACHEPREFIX": str(Path(sys.prefix) / "pycache"), **kept}


def workers() -> int:
    """How many run side by side."""
    return int(os.environ.get(WORKERS_VARIABLE) or 0) or round(A_CORE * (os.cpu_count() or 1))


def _chosen(arguments: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    if arguments[:1] == ["--only"]:
        if len(arguments) < 2 or arguments[1] not in PARTS:
            raise SystemExit(f"--only takes one of {', '.join(PARTS)}")
        return AT_LENGTH if arguments[1] == "long" else (arguments[1],), list(arguments[2:])
    return USUAL, list(arguments)


def _run(part: str, arguments: Sequence[str]) -> tuple[int, list[str]]:
    """Its exit code, and the tests that passed at the second try."""
    # A directory of its own: another run on this machine must not sweep this one's away.
    with tempfile.TemporaryDirectory(prefix="realtime-pytest-") as directory:
        failed = Path(directory, "failed")
        given = {**environment(os.environ), FAILED_VARIABLE: str(failed)}
        code = _pytest(command(part, arguments, f"{directory}/pytest"), given)
        tests = failed.read_text().splitlines() if failed.exists() else []
        if code != 1 or not 0 < len(tests) <= int(os.environ.get(AGAIN_VARIABLE) or 0):
            return code, []
        code = _pytest([*command("again", _options(arguments), f"{directory}/again"), *tests], given)
        return code, [] if code else tests


def _pytest(words: Sequence[str], given: Mapping[str, str]) -> int:
    return subprocess.run(words, cwd=ROOT, env=given, check=False).returncode


def _options(arguments: Sequence[str]) -> list[str]:
    """Without the files that the first try was about."""
    return [one for one in arguments if one.startswith("-") or not (ROOT / one.partition("::")[0]).exists()]


def _beside(argument: str, part: str) -> str:
    """A later part's report does not overwrite the first one's."""
    name, _, path = argument.partition("=")
    return (
        f"{name}={Path(path).with_suffix(f'''.{part.replace(' ', '-')}.xml''')}"
        if name in {"--junitxml", "--junit-xml"}
        else argument
    )


def _said(code: int | None) -> str:
    return {None: "not run", 0: "passed", NOTHING_SELECTED: "nothing selected"}.get(code, f"FAILED (pytest {code})")


# ------------------------------------------------------------------------------------------------- who runs what, when

FIRST: tuple[str, ...] = (
    "tests/rules/test_matrix.py",
    "tests/mongo/test_feed_codes.py",
    "tests/mongo/test_feed_faults.py",
    "tests/exact/test_unsendable.py",
    "tests/exact/test_windows.py",
    "tests/exact/test_client.py",
    "tests/exact/test_history.py",
    "tests/exact/test_filters.py",
    "tests/exact/test_join.py",
    "tests/rules/test_advisories.py",
    "tests/rules/test_twins.py",
    "tests/e2e/test_workers.py",
    "tests/e2e/test_bench.py",
    "tests/e2e/test_readme.py",
    "tests/exact/test_windows_clients.py",
    "tests/mongo/test_embedded.py",
    "tests/mongo/test_feed_unsendable.py",
    "tests/e2e/test_client_js.py",
    "tests/e2e/test_process.py",
    "tests/web/socket/test_reading.py",
    "tests/e2e/test_page.py",
    "tests/commands/test_cli.py",
    "tests/e2e/test_dashboard.py",
    "tests/e2e/test_page_newcomer.py",
    "tests/mongo/test_examination.py",
    "tests/mongo/test_filters_differential.py",
    "tests/js/test_cuts.py",
    "tests/js/test_package.py",
    "tests/js/test_client.py",
    "tests/e2e/test_tail.py",
    "tests/web/http/test_etags.py",
    "tests/web/entrance/test_sinks.py",
    "tests/web/http/test_ndjson.py",
    "tests/web/http/test_after.py",
    "tests/exact/test_sse.py",
)
"""The files that take longest, longest first: begun last, one of them would be waited for by all."""
EACH: frozenset[str] = frozenset(
    {
        "tests/exact/test_history.py",
        "tests/exact/test_filters.py",
        "tests/exact/test_join.py",
        "tests/mongo/test_embedded.py",
        "tests/e2e/test_bench.py",
        "tests/e2e/test_client_js.py",
        "tests/e2e/test_process.py",
        "tests/e2e/test_page.py",
        "tests/e2e/test_page_newcomer.py",
        "tests/commands/test_cli.py",
        "tests/e2e/test_dashboard.py",
        "tests/e2e/test_readme.py",
        "tests/e2e/test_tail.py",
        "tests/e2e/test_workers.py",
        "tests/web/entrance/test_sinks.py",
        "tests/web/socket/test_reading.py",
    }
)
"""Files of few long tests that share no fixture: each test of theirs goes to whoever is free."""


def scope(nodeid: str) -> str:
    """What one worker runs in one go: a file, whose fixtures are made once; or one test of those in `EACH`."""
    file = nodeid.partition("::")[0]
    return nodeid if file in EACH else file


def part_of(item: pytest.Item) -> str:
    """By its markers."""
    marked = [name for name in ("long", "alone") if item.get_closest_marker(name) is not None]
    return " ".join(marked) or "together"


def first(kept: int, why: str, cases: Sequence[Any]) -> list[Any]:
    """Cases of a kind: the first `kept` in `make test`, the others as well in `make test-long`, for the reason."""
    import pytest

    long = pytest.mark.long(why)
    later = (case if isinstance(case, tuple) else (case,) for case in cases[kept:])
    return [*cases[:kept], *(pytest.param(*case, marks=long) for case in later)]


def in_order(items: list[pytest.Item]) -> None:
    """The longest files first; all others as they were."""
    ranks = {file: rank for rank, file in enumerate(FIRST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """pytest-xdist's own, with our scopes."""
    from xdist.scheduler import LoadScopeScheduling

    class Scopes(LoadScopeScheduling):  # type: ignore[misc]  # reason: it ships no type information
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

    config.option.loadscopereorder = False  # it would begin with the most tests, which are the shortest
    return Scopes(config, log)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
