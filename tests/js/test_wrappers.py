"""The browser client and the service agree on what is a wrapper, over the specification's values and near-misses."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

from realtime.core.bson import ejson
from tests.chance import fresh_seed
from tests.js.conftest import run
from tests.wrappers import NEAR_MISSES, WRAPPERS, near

CASES = 20_000


def test_the_browser_takes_for_a_wrapper_what_the_service_does(workshop: Path) -> None:
    seed = fresh_seed()
    chance = random.Random(seed)
    texts = [json.dumps(one) for one in (*WRAPPERS, *NEAR_MISSES, *(near(chance) for _ in range(CASES)))]
    cases = [{"text": text, "document": isinstance(ejson.decode_frame(text), dict)} for text in texts]
    (workshop / "cases.json").write_text(json.dumps(cases))
    told = json.loads(run(["node", "wrappers.mjs", "cases.json"], workshop))
    assert told["cases"] == len(cases)
    assert told["wrong"] == [], f"seed {seed}"
    assert told["lost"] == [], f"seed {seed}"
    assert min(Counter(case["document"] for case in cases).values()) > 2000
