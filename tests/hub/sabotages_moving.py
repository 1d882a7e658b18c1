"""Rows of `make sabotage` for queries that time moves: name, file, line, what stands there instead, test."""

from __future__ import annotations

MOVING, DEPARTURES = "realtime/core/mql/moving.py", "realtime/core/live/departures.py"
FILTERS, QUERY = "realtime/core/mql/filters.py", "realtime/core/live/query.py"
TELLER, LOADING, RESUME = "realtime/hub/teller.py", "realtime/hub/loading.py", "realtime/hub/resume.py"
WHEN, GROUP, HUB = "tests/core/mql/test_moving.py", "tests/core/live/test_departures.py", "tests/hub/test_passing.py"
AGREE = "tests/exact/test_moving.py"

MOVED: list[tuple[str, str, str, str, str]] = [
    (
        "moving: nobody is visited",
        TELLER,
        "for due in self.passing.due(settled.time):",
        "for due in self.passing.due(0):",
        f"{HUB}::test_a_view_without_writes_empties_second_by_second",
    ),
    (
        "moving: a position is given before what left by then is let go",
        QUERY,
        "self.departures.let_go(self.query.filter, self.result, self.time)",
        "self.departures.let_go(self.query.filter, self.result, self.time - (1 << 32))",
        f"{GROUP}::test_what_has_left_is_let_go_when_its_time_is_there",
    ),
    (
        "moving: a batch is judged at the time before it",
        QUERY,
        "self._matches(name, document, max(time, self.time)):",
        "self._matches(name, document, 0):",
        f"{GROUP}::test_where_it_has_left_no_other_condition_can_fail",
    ),
    (
        "moving: MongoDB is asked as of a later second",
        LOADING,
        "group.query.filter.asked_at(planned >> 32)",
        "group.query.filter.asked_at((planned >> 32) + 61)",
        f"{HUB}::test_what_left_between_plan_and_read_is_not_shown[0]",
    ),
    (
        "moving: a window is never read with more room",
        LOADING,
        "wanted.limit * (2**shortages - 1)",
        "wanted.limit * 0",
        f"{HUB}::test_a_window_that_is_always_late_gets_more_room_each_time",
    ),
    (
        "moving: what has left counts as too many",
        LOADING,
        "if wanted.cut else LEEWAY",
        "if wanted.cut else 0",
        f"{HUB}::test_how_many_there_are_is_judged_after_what_has_left",
    ),
    (
        "moving: a group goes live behind the hub",
        LOADING,
        "group.caught_up({}, max(snapshot.time, progress.time))",
        "group.caught_up({}, snapshot.time)",
        f"{HUB}::test_it_goes_live_where_the_hub_is_although_nothing_was_touched",
    ),
    (
        "moving: who comes back is not told of what left",
        RESUME,
        "departed = group.departed(after)",
        "departed: dict[str, None] | None = {}",
        f"{HUB}::test_who_was_away_is_told_of_what_has_left",
    ),
    (
        "moving: a group knows what left before it was there",
        DEPARTURES,
        "if second < self._since:",
        "if second < 0:",
        f"{HUB}::test_before_what_the_group_knows_there_is_a_snapshot",
    ),
    (
        "moving: under a rule what left is looked for among what was never held",
        RESUME,
        "for name in touched if name not in departed",
        "for name in touched",
        f"{HUB}::test_under_a_rule_what_has_left_is_told_and_nobody_elses",
    ),
    (
        "moving: what left is remembered without an end",
        "realtime/hub/hub.py",
        "self.groups.teller.passing.trim(self.history.journal.start)",
        "pass",
        f"{HUB}::test_it_is_known_as_long_as_the_journal_reaches",
    ),
    (
        "moving: what waits to be judged is judged as of its batch",
        "realtime/hub/late.py",
        "group.advance(self._progress.time)  # what is judged",
        "pass  # what is judged",
        f"{HUB}::test_what_has_left_before_it_was_judged_was_never_there",
    ),
    (
        "moving: an equal date stays with $gt",
        MOVING,
        "place - 1 if self._strict else place",
        "place",
        f"{WHEN}::test_a_date_leaves_in_the_first_second_whose_bound_is_above_it",
    ),
    (
        "moving: a text stays for ever",
        MOVING,
        "return FOREVER if rank > DATE else 0",
        "return FOREVER",
        f"{WHEN}::test_what_is_below_every_date_never_is_in",
    ),
    (
        "moving: one answer serves all dates",
        MOVING,
        "if millis < end:",
        "if end:",
        f"{WHEN}::test_what_is_remembered_of_steps_is_bounded_and_true",
    ),
    (
        "moving: MongoDB is sent $$NOW in an $and",
        MOVING,
        'if name == "$and":\n        return [pinned',
        'if name == "$or":\n        return [pinned',
        f"{WHEN}::test_what_mongodb_is_asked_has_the_second_in_its_place_and_nowhere_else",
    ),
    (
        "moving: it is taken in an $or",
        FILTERS,
        'self.moves, self.moves and name == "$and"',
        "self.moves, self.moves",
        f"{WHEN}::test_what_is_refused_is_named_with_its_place",
    ),
    (
        "moving: documents may enter by time",
        MOVING,
        "if not shape.grows:",
        "if not shape.name:",
        f"{WHEN}::test_what_is_refused_is_named_with_its_place",
    ),
    (
        "moving: a zone that goes back over midnight is taken",
        MOVING,
        "and millis(now) < millis(now - 1):",
        "and millis(now) < millis(now):",
        f"{WHEN}::test_a_zone_whose_clock_goes_back_over_midnight_is_refused",
    ),
    (
        "moving: rows are read without the date",
        QUERY,
        "moved = () if query.filter.moving is None else query.filter.moving.paths",
        "moved: frozenset[str] = frozenset()",
        f"{GROUP}::test_rows_read_what_decides_when_a_document_leaves",
    ),
    (
        "moving: a second later than MongoDB",
        MOVING,
        "scope.variables[slot] = date_of(now)",
        "scope.variables[slot] = date_of(now - 1000)",
        "tests/exact/test_moving.py::test_a_view_without_writes_empties_by_the_oplog_alone[usual]",
    ),
    (
        "moving: pipelines are not visited when something leaves",
        TELLER,
        "for due in self.passing.due(settled.time):",
        "for due in (one for one in self.passing.due(settled.time) if one.query.pipeline is None):",
        f"{AGREE}::test_pipelines_of_two_services_are_exact_and_agree_while_time_takes_from_them[usual]",
    ),
]
