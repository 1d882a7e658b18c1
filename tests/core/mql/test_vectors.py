"""Cases that were once decided wrongly or not at all, kept with what MongoDB says: tests/vectors/filters.jsonl.

tests/mongo/test_filters_differential.py asks a real MongoDB for the same. `dialect`: of a server that says so.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from realtime.core.bson import ejson
from realtime.core.mql.dialect import Dialect
from realtime.core.mql.filters import compile_filter
from realtime.errors import InvalidFilterError, UnsupportedOperatorError

VECTORS = Path(__file__).parents[2] / "vectors" / "filters.jsonl"


def decide(case: dict[str, Any]) -> str:
    source, document = (ejson.decode(json.dumps(case[name])) for name in ("filter", "document"))
    try:
        return (
            "match"
            if compile_filter(source, dialect=Dialect(**case.get("dialect", {}))).matches(document)
            else "no match"
        )
    except InvalidFilterError:
        return "refused"
    except UnsupportedOperatorError:
        # What MongoDB refuses as well may be refused here for its name alone.
        return "refused" if case["expected"] == "refused" else "unsupported"


def test_every_kept_case_is_decided_as_mongodb_decided_it() -> None:
    cases = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    wrong = [case for case in cases if decide(case) != case["expected"]]
    assert wrong == []
    seen = Counter(case["expected"] for case in cases)
    assert min(seen[expected] for expected in ("match", "no match", "refused", "unsupported")) >= 5
    assert min(Counter(str(case["dialect"]) for case in cases if "dialect" in case).values()) >= 5
