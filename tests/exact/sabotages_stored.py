"""Rows of `make sabotage` for what drivers store and no client can say: name, file, line, what stands there, test."""

from __future__ import annotations

FUZZ = "tests/exact/test_anything_stored.py::test_whatever_mongodb_stores_is_told_and_nobody_else_notices"
KEYS, BSON, FEED = "realtime/core/bson/keys.py", "realtime/core/bson/stored.py", "realtime/mongo/feed.py"

STORED: list[tuple[str, str, str, str, str]] = [
    (
        "odd: what the driver read is not written again",
        BSON,
        "        if bson.encode(document, codec_options=_QUICK) == raw:",
        "        if document is not None:",
        FUZZ,
    ),
    (
        "odd: what the driver cannot read is no document",
        BSON,
        "        pass\n    return _exactly(raw)",
        "        raise\n    return _exactly(raw)",
        FUZZ,
    ),
    (
        "odd: references are the driver's",
        BSON,
        "return document if _REFERENCE not in raw else _opened_fields(document)",
        "return document",
        FUZZ,
    ),
    (
        "odd: of equal names the last counts",
        BSON,
        "            self.setdefault(name, value)",
        "            self[name] = value",
        FUZZ,
    ),
    (
        "odd: a symbol that is no UTF-8 is a string",
        BSON,
        "(BrokenSymbol if isinstance(text, Broken) else Symbol)",
        "(Broken if isinstance(text, Broken) else Symbol)",
        FUZZ,
    ),
    (
        "odd: identity is the shown text",
        KEYS,
        "    return text if _exact(key, text) else",
        "    return text if text else",
        FUZZ,
    ),
    (
        "odd: a key is shown as if JSON could say it",
        KEYS,
        "    return document if marked is key else",
        "    return document if marked else",
        FUZZ,
    ),
    (
        "odd: MongoDB's image of names that stand twice is taken",
        "realtime/core/live/events.py",
        'None if op == "update" and repeats(before) else',
        "None if False else",
        FUZZ,
    ),
    (
        "odd: keys of image reads go by the driver",
        "realtime/mongo/ruled.py",
        '({"filter": encoded(found)} if found else {})',
        '({"filter": found} if found else {})',
        FUZZ,
    ),
    (
        "odd: answers to writes are read by the driver's UUIDs",
        "realtime/mongo/writes.py",
        "database.with_options(write_concern=MAJORITY, codec_options=ANSWERS)",
        "database.with_options(write_concern=MAJORITY)",
        "tests/mongo/test_writes.py::test_a_value_that_is_there_twice_is_a_duplicate_whatever_the_driver_makes_of_it",
    ),
    (
        "odd: a refusal that quotes broken text is no answer",
        "realtime/mongo/client.py",
        "    unicode_decode_error_handler=CODEC.unicode_decode_error_handler,\n",
        "",
        "tests/mongo/test_client.py::test_a_refusal_may_quote_text_that_is_no_utf_8",
    ),
    (
        "odd: text may end in anything",
        BSON,
        "    if size < 1 or raw[end - 1]:",
        "    if size < 1:",
        "tests/exact/test_raw_bson.py::test_what_is_no_bson_is_none_for_us_either",
    ),
    (
        "odd: who is busy blames MongoDB",
        "realtime/mongo/steps.py",
        "        self.asked_at = time.monotonic() if step.followed else None\n",
        "",
        "tests/mongo/test_feed_faults.py::test_who_is_busy_telling_a_batch_does_not_blame_mongodb",
    ),
]
