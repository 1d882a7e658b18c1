"""`make sabotage`: one-line changes of the source, each of which must turn a named test red.

    python -m tests.sabotage [NAMEPART …] [--jobs N] [--prove] [--table FILE]

Each is applied in a temporary copy of the tree; a test that stays green there proves nothing here. Rows run side by
side, those last and by themselves whose test is marked `alone`. Every row gets a result; whatever is not red is named
again at the end, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from tests.access.sabotages import ACCESS
from tests.access.sabotages_changes import CHANGED
from tests.access.sabotages_rules import RULES
from tests.access.sabotages_told import TOLD
from tests.adversity.sabotages import FAULTS
from tests.adversity.sabotages_fleet import FLEET_ROWS
from tests.adversity.sabotages_operations import OPERATIONS
from tests.benching.sabotages import BENCHED
from tests.client.sabotages import CLIENTS
from tests.client.sabotages_tokens import TOKENS
from tests.core.sabotages_events import HEARD
from tests.core.sabotages_pipelines import FOLLOWED
from tests.e2e.sabotages import NEWCOMERS
from tests.exact.sabotages import SHOWN
from tests.exact.sabotages_exact import EXACT
from tests.exact.sabotages_names import NAMES
from tests.exact.sabotages_stored import STORED
from tests.hub.sabotages import GROUPS, WINDOWS
from tests.hub.sabotages_behind import BEHIND
from tests.hub.sabotages_brought import BROUGHT
from tests.hub.sabotages_late import LATE_GROUPS
from tests.hub.sabotages_moving import MOVED
from tests.hub.sabotages_sets import SETS_ROWS
from tests.hub.sabotages_succession import SUCCESSION
from tests.hub.sabotages_walls import WALLS_ROWS
from tests.js.sabotages import BROWSER
from tests.mongo.sabotages import FILTERS, LARGE
from tests.mongo.sabotages_decided import DECIDED
from tests.mongo.sabotages_events import EVENTS
from tests.mongo.sabotages_expressions import EXPRESSIONS
from tests.mongo.sabotages_pipelines import PIPELINES
from tests.mongo.sabotages_ruled import RULED_WRITES
from tests.mongo.sabotages_schemas import SCHEMAS
from tests.nats.sabotages import NATS_ROWS
from tests.relay.sabotages import RELAYS
from tests.relay.sabotages_faults import AMID
from tests.relay.sabotages_nodes import NODES
from tests.rules.sabotages import JUDGED
from tests.sabotaged import CollectError, Result, Runs, Sabotage, alone, copied, sabotaged, short, unfit, untouched
from tests.web.sabotages import HTTP
from tests.web.sabotages_closed import CLOSED
from tests.web.sabotages_doors import DOORS
from tests.web.sabotages_pipelines import PIPED
from tests.web.sabotages_reading import READERS
from tests.web.sabotages_refused import ANSWERS
from tests.web.sabotages_sockets import SOCKETS

ROOT = Path(__file__).resolve().parent.parent

ROWS = (
    *(WALLS_ROWS, OPERATIONS, EXACT, CLIENTS, BROWSER, HTTP, FILTERS, DOORS, EXPRESSIONS, DECIDED, SCHEMAS, EVENTS),
    *(BENCHED, SUCCESSION, RULES, TOLD, CHANGED, RULED_WRITES, HEARD, JUDGED, PIPELINES, FOLLOWED),
    *(
        LARGE,
        WINDOWS,
        SHOWN,
        GROUPS,
        LATE_GROUPS,
        BEHIND,
        BROUGHT,
        NODES,
        SETS_ROWS,
        MOVED,
        FAULTS,
        STORED,
        NEWCOMERS,
        NAMES,
        READERS,
        ANSWERS,
        SOCKETS,
        PIPED,
        ACCESS,
        TOKENS,
    ),
    CLOSED,
    NATS_ROWS,
    RELAYS,
    FLEET_ROWS,
    AMID,
)
TABLE = [Sabotage(*row) for rows in ROWS for row in rows]

T = TypeVar("T")
R = TypeVar("R")
Done = tuple[Sabotage, Result]


def main(arguments: Sequence[str]) -> int:
    """0 when every chosen row turned its test red."""
    asked = parser().parse_args(arguments)
    chosen = [one for one in TABLE if not asked.parts or any(part in one.name for part in asked.parts)]
    if not chosen:
        write(f"no row's name contains {' or '.join(asked.parts)}")
        return 1
    began, done = time.monotonic(), []
    write(f"{'sabotage':48} {'seconds':>7}  result")
    with closing(results(chosen, ROOT, Runs(), jobs=asked.jobs, prove=asked.prove)) as coming:
        for one, result in coming:
            done.append((one, result))
            if asked.table:  # after every row: a long run may be ended amid
                asked.table.write_text(table(sorted(done, key=lambda each: chosen.index(each[0]))))
            write(f"{one.name:48} {result.seconds:7.1f}  {result}  {one.file}  {short(one.test)}")
    write(summary(done, time.monotonic() - began))
    return 0 if all(result.red for _, result in done) else 1


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.sabotage", description="Each row must turn its test red.")
    made.add_argument("parts", nargs="*", metavar="NAMEPART", help="only rows whose name contains one of these")
    made.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="rows at a time (cores)")
    made.add_argument("--prove", action="store_true", help="run each test once without a sabotage first: it must pass")
    made.add_argument("--table", type=Path, metavar="FILE", help="write the results as a Markdown table")
    return made


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def results(
    rows: Sequence[Sabotage], root: Path, runs: Runs, *, jobs: int, prove: bool = False
) -> Generator[Done, None, None]:
    """One for every row, as they come; first those that cannot be applied, before anything is run."""
    fit = []
    for one in rows:
        if reason := unfit(one, root):
            yield one, Result("NOT APPLIED", reason)
        else:
            fit.append(one)
    try:
        found = alone(root, {one.test for one in fit}, runs) if fit else {}
    except CollectError as error:
        yield from ((one, Result("NO TEST", f"pytest cannot read the tests: {error}")) for one in fit)
        return
    for one in fit:
        if one.test not in found:
            yield one, Result("NO TEST", f"pytest does not find {one.test}")
    runnable = [one for one in fit if one.test in found]
    for number, by_itself in ((jobs, False), (1, True)):
        part = [one for one in runnable if found[one.test] is by_itself]
        bad: dict[str, Result] = {}
        if prove:
            tests = dict.fromkeys(one.test for one in part)
            proofs = side_by_side(tests, lambda test: _proof(test, root, runs), runs, number)
            bad = {test: result for test, result in proofs if result is not None}
        yield from ((one, bad[one.test]) for one in part if one.test in bad)
        part = [one for one in part if one.test not in bad]
        yield from side_by_side(part, lambda one: _applied(one, root, runs), runs, number)


def _applied(one: Sabotage, root: Path, runs: Runs) -> Result:
    """A row whose run cannot even be made has a result as well."""
    try:
        return sabotaged(one, root, runs)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other rows go on and this one is named
        return Result("BROKEN", repr(error))


def _proof(test: str, root: Path, runs: Runs) -> Result | None:
    with copied(root) as tree:
        return untouched(test, tree, runs)


def side_by_side(
    items: Iterable[T], work: Callable[[T], R], runs: Runs, jobs: int
) -> Generator[tuple[T, R], None, None]:
    """So many at a time, each as it is done. Whoever stops listening ends those under way."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(work, item): item for item in items}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            runs.end_all()
            raise


def table(done: Sequence[Done]) -> str:
    """As Markdown."""
    lines = ["| sabotage | file | test | seconds | result |", "|---|---|---|---|---|"]
    for one, result in done:
        cells = (one.name, f"`{one.file}`", f"`{one.test}`", f"{result.seconds:.1f}", str(result))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "".join(f"{line}\n" for line in lines)


def summary(done: Sequence[Done], seconds: float) -> str:
    """How many of each verdict, and every row that is not red."""
    counts = Counter(result.verdict for _, result in done)
    lines = [f"{one.name}: {result}" for one, result in done if not result.red]
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    return "\n".join([*lines, f"{counts['red']} of {len(done)} turned their test red in {seconds:.0f} s ({told})"])


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # As Ctrl-C: what is under way has sessions of its own and would go on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
