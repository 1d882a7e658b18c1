"""Rows of `make sabotage` for the filter language: each must turn a differential test, or the live one, red."""

from __future__ import annotations

from itertools import starmap

Row = tuple[str, str, str, str, str]
FIND = "tests/mongo/test_filters_differential.py::test_compiled_filters_match_what_find_finds[whole]"
REFUSES = "tests/mongo/test_filters_differential.py::test_what_mongodb_refuses_is_refused_and_nothing_else"
VALUES = "tests/core/mql/test_operators.py::test_an_operator_matches_what_find_would"
REGEX = "tests/mongo/test_regex_differential.py::test_patterns_find_what_mongodb_finds[whole]"
SORT = "tests/mongo/test_sort_differential.py::test_documents_are_sorted_as_find_sorts_them[whole]"
SHOWN = "tests/mongo/test_projection_differential.py::test_compiled_projections_show_what_find_shows[whole]"
ALONE = "tests/exact/test_filters.py::test_a_view_that_shares_its_collection_with_none_is_as_exact"
OPERATORS, FILTERS_FILE = "realtime/core/mql/operators.py", "realtime/core/mql/filters.py"
PATHS, RE2 = "realtime/core/mql/paths.py", "realtime/core/mql/regex.py"

_ROWS = [
    (
        "$eq of null forgets what is missing",
        OPERATORS,
        "value is None or value is MISSING",
        "value is None",
        FIND,
    ),
    (
        "$ne is not negated",
        FILTERS_FILE,
        "return Negated(Leaf(self.equal(operand",
        "return (Leaf(self.equal(operand",
        FIND,
    ),
    (
        "$gt takes the value itself",
        OPERATORS,
        '"$gt": operator.gt',
        '"$gt": operator.ge',
        FIND,
    ),
    (
        "$lte crosses types",
        OPERATORS,
        "rank_of(value) == rank and test(",
        "test(",
        FIND,
    ),
    (
        "NaN is below every number",
        OPERATORS,
        "and not is_nan(value) and test(",
        "and test(",
        f"{VALUES}[numbers against a Decimal128]",
    ),
    (
        "$in forgets its regular expressions",
        FILTERS_FILE,
        "some([equal, *expressions]) if",
        "equal if",
        FIND,
    ),
    (
        "$nin is $in",
        FILTERS_FILE,
        'return found if name == "$in" else Negated(found)',
        "return found",
        FIND,
    ),
    (
        "$not is forgotten",
        FILTERS_FILE,
        "Negated(self.operators(operand",
        "(self.operators(operand",
        FIND,
    ),
    (
        "$exists takes null for missing",
        OPERATORS,
        "value is not MISSING, enter",
        "value not in (None, MISSING), enter",
        FIND,
    ),
    (
        "$type array looks at elements alone",
        OPERATORS,
        "    list: 4,\n",
        "",
        FIND,
    ),
    (
        "$mod has Python's sign",
        OPERATORS,
        "-(-whole % by)",
        "whole % by",
        FIND,
    ),
    (
        "$size takes longer arrays",
        OPERATORS,
        "len(value) == length",
        "len(value) >= length",
        FIND,
    ),
    (
        "$all looks at its first value alone",
        FILTERS_FILE,
        "Every(tuple(self.condition(element, where, level) for where, element in elements))",
        "self.condition(elements[0][1], here, level)",
        FIND,
    ),
    (
        "$elemMatch sees no inner arrays",
        PATHS,
        "    if type(value) is list:\n        return {",
        "    if False:\n        return {",
        FIND,
    ),
    (
        "$bitsAnyClear is $bitsAllClear",
        OPERATORS,
        "all_of is not negated else 1",
        "all_of else 1",
        FIND,
    ),
    (
        "$nor is $or",
        FILTERS_FILE,
        'anyone if name == "$or" else negate(anyone)',
        "anyone",
        FIND,
    ),
    (
        "an array is not looked at as a whole",
        PATHS,
        "        return predicate(value)\n\n    return matches\n\n\ndef _at",
        "        return type(value) is not list and predicate(value)\n\n    return matches\n\n\ndef _at",
        FIND,
    ),
    (
        "$elemMatch is taken at a nameless field",
        FILTERS_FILE,
        "        if self.nameless:\n",
        "        if False:\n",
        "tests/core/mql/test_operators.py::test_elem_match_is_not_taken_at_a_field_whose_name_is_empty",
    ),
    (
        "a number in a path is a name alone",
        PATHS,
        "if place == picked:",
        "if False:",
        FIND,
    ),
    (
        "$regex: $ is RE2's own",
        RE2,
        r'return _Part(rf"{self.begin(own=False)}\n?)\z", 0',
        r'return _Part(r"\z", 0',
        REGEX,
    ),
    ("$regex: \\s is RE2's own", RE2, '"s": f"[{_SPACE}]", "S"', '"s": r"\\s", "S"', REGEX),
    ("$regex: the option s is forgotten", RE2, 'for letter in "is" if', 'for letter in "i" if', REGEX),
    ("$size takes fractions", OPERATORS, "number != int(number) or not", "not", REFUSES),
    (
        "an empty array sorts as null",
        "realtime/core/mql/sorting.py",
        "(UNDEFINED, 0) if value is _EMPTY",
        "order(None) if value is _EMPTY",
        SORT,
    ),
    (
        "falling arrays sort by their least",
        "realtime/core/mql/sorting.py",
        "return min(map(placed",
        "return max(map(placed",
        SORT,
    ),
    (
        "an inclusion keeps what is no object",
        "realtime/core/mql/projection.py",
        "        elif whole:\n            shown.append(None)\n",
        "        else:\n            shown.append(value)\n",
        SHOWN,
    ),
    (
        "the filter reads nothing",
        FILTERS_FILE,
        "                    self.paths.add(stem(name))",
        "                    pass",
        ALONE,
    ),
    (
        "a projection hides every update",
        "realtime/core/live/result.py",
        "and self._projection.shows(touched)",
        "and not self._projection.source",
        ALONE,
    ),
]


def _named(name: str, *row: str) -> Row:
    file, line, instead, test = row
    return f"filter: {name}", file, line, instead, test


PROJECTED = "tests/core/mql/test_projection.py"
FILTERS: list[Row] = list(starmap(_named, _ROWS))

LARGE_EVENTS = "tests/mongo/test_feed_large.py"
WHOLE = f"{LARGE_EVENTS}::test_a_large_event_is_whole_where_mongodb_splits_it_and_the_next_ones_are_everywhere"
AMID = f"{LARGE_EVENTS}::test_a_large_event_amid_others_costs_no_other_its_images"
BETWEEN = f"{LARGE_EVENTS}::test_a_stream_that_breaks_between_fragments_gives_the_event_once_and_whole"
TURNS = f"{LARGE_EVENTS}::test_servers_that_split_and_that_do_not_take_turns_and_nothing_is_lost_or_repeated"
NO_ROOM = f"{LARGE_EVENTS}::test_what_has_no_room_until_its_moment_is_whole_comes_without_images_and_nothing_is_lost"
UNSPLIT = (
    f"{LARGE_EVENTS}::test_an_event_with_no_room_for_a_field_beside_its_key_comes_without_images_and_stops_nothing"
)
ENOUGH = f"{LARGE_EVENTS}::test_when_no_large_event_comes_any_more_the_stream_no_longer_splits"
DROPPED = f"{LARGE_EVENTS}::test_a_database_that_is_dropped_in_a_full_reply_ends_the_stream_once"
BEGINNING = (
    f"{LARGE_EVENTS}::test_an_error_at_the_opening_after_a_break_amid_a_transaction_loses_nothing_of_its_beginning"
)
UPSTREAM, FEED, FRAGMENTS = (
    "realtime/core/upstream/stream_errors.py",
    "realtime/mongo/feed.py",
    "realtime/core/live/fragments.py",
)

UNSENDABLE = "tests/mongo/test_feed_unsendable.py"
STOPPED = f"{UNSENDABLE}::test_an_insert_that_has_no_room_in_any_reply_stopped_the_feed_for_good"
NO_TOKEN = f"{UNSENDABLE}::test_an_event_whose_token_has_no_room_costs_everybody_a_look_and_the_feed_nothing"
AFTER_MARK = f"{UNSENDABLE}::test_two_such_events_after_one_that_can_be_marked_are_passed"
IN_MOMENT = f"{UNSENDABLE}::test_in_a_transaction_it_is_a_mark_in_its_moment_or_the_moment_is_lost"
READ_BACK = f"{UNSENDABLE}::test_who_resumes_from_before"
REPLIES = "realtime/mongo/replies.py"

LARGE: list[Row] = [
    (
        "projection: an index is taken for a name",
        "realtime/core/mql/projection.py",
        "hidden = [path for path in paths if stem(path) == path]",
        "hidden = list(paths)",
        f"{PROJECTED}::test_an_element_pushed_to_an_array_was_hidden_by_a_name_that_looks_like_its_index",
    ),
    (
        "large: no fragments are asked for",
        UPSTREAM,
        "return Care.SPLIT if split else Care.ONE_BY_ONE",
        "return Care.ONE_BY_ONE",
        f"{WHOLE}[6.0.27]",
    ),
    (
        "large: a server that knows no fragments is asked again and again",
        UPSTREAM,
        "if care is Care.SPLIT and code in SPLIT_REFUSED:",
        "if care is Care.SPLIT and code in POISON:",
        f"{WHOLE}[mongod]",
    ),
    (
        "large: what cannot be split is asked for in fragments again and again",
        FEED,
        "self._care.more(split=self._not_split_at != here)",
        "self._care.more(split=True)",
        UNSPLIT,
    ),
    (
        "large: an event is whole before its last fragment",
        FRAGMENTS,
        "if number < count:",
        "if number < count - 1:",
        f"{WHOLE}[6.0.27]",
    ),
    (
        "large: a moment is whole amid an event",
        FEED,
        "going_on = self._fragments.pending or may",
        "going_on = may",
        f"{AMID}[6.0.27-large change-alone]",
    ),
    (
        "large: fragments outlive their stream",
        FEED,
        "        self._fragments.reset()\n",
        "",
        f"{BETWEEN}[alone]",
    ),
    (
        "large: an event has room whatever is held",
        FEED,
        "whole = self._fragments.add(raw, size, room=room)",
        "whole = self._fragments.add(raw, size, room=self._held_bytes)",
        f"{NO_ROOM}[6.0.27-30000000]",
    ),
    (
        "large: a stream that splits begins at a token",
        FEED,
        "not in (Care.SPLIT, Care.WITHOUT_LONG_KEYS):",
        "is not Care.WITHOUT_LONG_KEYS:",
        TURNS,
    ),
    (
        "large: a stream begins at a fragment's token",
        FEED,
        'None if reply.token.get("_data") == self._fragments.token else reply.token',
        "reply.token",
        TURNS,
    ),
    (
        "large: a stream splits for ever",
        FEED,
        "(self._large_at >> 32) >= SPLIT_SECONDS",
        "(self._large_at >> 32) < 0",
        ENOUGH,
    ),
    (
        "large: what ends in a full reply is held for ever",
        FEED,
        "complete = not (going_on and reply.cursor)",
        "complete = not going_on",
        f"{DROPPED}[False]",
    ),
    (
        "large: a stream that splits never ends",
        FEED,
        "return not reply.cursor or (token_time",
        "return (token_time",
        f"{DROPPED}[True]",
    ),
    (
        "large: a token outlives what was held with it",
        FEED,
        "            self._last_token = self._token\n",
        "",
        BEGINNING,
    ),
    (
        "unsendable: there is no step after that without images",
        UPSTREAM,
        "min(self.value + 1, Care.WITHOUT_LONG_KEYS.value)",
        "min(self.value + 1, Care.WITHOUT_IMAGES.value)",
        f"{STOPPED}[6.0.27-a document near 16 MB, a key of some KB]",
    ),
    (
        "unsendable: a bare event has all of its fields",
        REPLIES,
        "if care in (Care.BARE, Care.WITHOUT_LONG_KEYS):",
        "if care is Care.WITHOUT_LONG_KEYS:",
        f"{STOPPED}[6.0.27-a document near 16 MB, a key of some KB]",
    ),
    (
        "unsendable: what is bare is taken for an event",
        FEED,
        "if self._care is Care.BARE:",
        "if False:",
        f"{STOPPED}[6.0.27-a document near 16 MB, a key of some KB]",
    ),
    (
        "unsendable: what is behind a bare event is bare",
        FEED,
        "if care.of_one and passed:",
        "if care is Care.WITHOUT_IMAGES and passed:",
        f"{STOPPED}[6.0.27-a document near 16 MB, a key of some KB]",
    ),
    (
        "unsendable: a closed connection is always chance",
        UPSTREAM,
        "return Action.HISTORY_LOST if care is Care.WITHOUT_LONG_KEYS else Action.STEP_OVER\n\n\nclass Patience",
        "return Action.REOPEN\n\n\nclass Patience",
        f"{STOPPED}[mongod-a key of some MB]",
    ),
    (
        "unsendable: long keys are not left out",
        REPLIES,
        '        stages.append({"$match": _SHORT_KEYS})',
        "        pass",
        f"{AFTER_MARK}[6.0.27]",
    ),
    (
        "unsendable: what is passed is not told as lost",
        FEED,
        "return Batch((), time, lost=True)",
        "return Batch((), time)",
        f"{NO_TOKEN}[6.0.27]",
    ),
    (
        "unsendable: a stream that leaves events out begins at the token of one of them",
        FEED,
        "not in (Care.SPLIT, Care.WITHOUT_LONG_KEYS):",
        "is not Care.SPLIT:",
        f"{AFTER_MARK}[6.0.27]",
    ),
    (
        "unsendable: the stream opens at what it has passed",
        FEED,
        "        self._beyond = time\n",
        "",
        f"{NO_TOKEN}[6.0.27]",
    ),
    (
        "unsendable: half a moment is told",
        FEED,
        "        self._begin(time)\n        self._beyond = time\n",
        "        self._beyond = time\n",
        f"{IN_MOMENT}[6.0.27-many MB]",
    ),
    (
        "unsendable: who reads back gives up at the first closed connection",
        FEED,
        "and not again:",
        "and True:",
        f"{READ_BACK}_it_is_told_of_the_mark[mongod-some MB]",
    ),
    (
        "unsendable: the steps count as silence",
        FEED,
        "            self._down_since = self._replied_at = now\n",
        "",
        f"{UNSENDABLE}::test_the_steps_past_one_event_are_no_silence",
    ),
]
