"""Rows of `make sabotage` for live pipelines: name, file, line, what stands there instead, test."""

from __future__ import annotations

HERE = "realtime/core/live/pipelines"
FLOW, ROWS, SLICE, SINGLY = f"{HERE}/flow.py", f"{HERE}/rows.py", f"{HERE}/slice.py", f"{HERE}/singly.py"
STATES, QUERY, ASKED = f"{HERE}/accumulators.py", "realtime/core/live/query.py", "realtime/core/live/asked.py"
OF_FLOW, OF_SINGLY = "tests/core/live/pipelines/test_flow.py", "tests/core/live/pipelines/test_singly.py"
OF_SLICE, OF_STATES = "tests/core/live/pipelines/test_slice.py", "tests/core/live/pipelines/test_accumulators.py"
OF_HUB = "tests/hub/test_pipelines.py"
FOLDED = f"{OF_FLOW}::test_what_a_client_folds_is_what_the_pipeline_makes_from_scratch"
CROSSED = f"{OF_SLICE}::test_only_what_crosses_an_end_is_handed_on"

FOLLOWED: list[tuple[str, str, str, str, str]] = [
    (
        "pipeline: a token that differs stays",
        ROWS,
        "                if was.same(now):",
        "                if True:",
        FOLDED,
    ),
    (
        "pipeline: what a document contributed is not taken out of its row",
        ROWS,
        "            self._count(old, -1)",
        "            pass",
        f"{OF_FLOW}::test_a_row_goes_with_its_last_document_and_keeps_its_name_within_a_moment",
    ),
    (
        "pipeline: a row is told though nothing of it changed",
        ROWS,
        "        touched, self._touched = self._touched, {}",
        "        touched = dict.fromkeys(self._rows.values())",
        f"{OF_FLOW}::test_one_document_touches_only_the_rows_that_it_was_or_is_in",
    ),
    ("pipeline: nobody is pushed into a slice", SLICE, "and name not in self._inside:", "and False:", CROSSED),
    ("pipeline: nobody is pushed out of a slice", SLICE, "and name in self._inside:", "and False:", CROSSED),
    ("pipeline: nothing is skipped", SLICE, "and self._skip <= self._order", "and 0 <= self._order", CROSSED),
    (
        "pipeline: contributions have no bound",
        FLOW,
        "        if self.count > most or self.size > most_bytes:",
        "        if False:",
        f"{OF_FLOW}::test_contributions_are_counted_after_unwind",
    ),
    (
        "pipeline: a row has no bound",
        FLOW,
        "        if len(encoded) > most:",
        "        if False:",
        f"{OF_FLOW}::test_rows_bytes_and_the_size_of_a_row_are_bounded",
    ),
    (
        "pipeline: lists are encoded whenever their row is told",
        FLOW,
        "_joined(keys.with_marks(row).items(), texts) if texts else keys.shown(row)",
        "keys.shown(row)",
        f"{OF_FLOW}::test_a_long_list_that_did_not_change_is_not_encoded_again",
    ),
    (
        "pipeline: what is hidden goes into the first stage",
        FLOW,
        "self._pipeline.before.run(self._projection.apply(document))",
        "self._pipeline.before.run(document)",
        f"{OF_FLOW}::test_what_is_hidden_is_cut_before_the_first_stage",
    ),
    (
        "pipeline: rows are evaluated in the middle of a moment",
        FLOW,
        "        most, most_bytes, _ = self._bounds\n",
        "        most, most_bytes, _ = self._bounds\n        self._make()\n",
        f"{OF_FLOW}::test_what_a_row_is_in_the_middle_of_a_moment_is_evaluated_by_nobody",
    ),
    (
        "pipeline: an update that a stage reads is not read",
        FLOW,
        "return name in self._names and self._projection.shows(touched) and self._pipeline.reads(touched)",
        "return False",
        f"{OF_FLOW}::test_an_update_is_read_where_a_stage_reads_it_of_a_document_that_matches",
    ),
    (
        "pipeline: a document that a stage let go is forgotten",
        SINGLY,
        "        return name in self._names and",
        "        return name in self.documents and",
        f"{OF_SINGLY}::test_an_update_of_a_document_that_a_stage_let_go_is_read_where_a_stage_reads_it",
    ),
    (
        "pipeline: a value leaves a set with the first who had it",
        STATES,
        "        if self._counts[place]:",
        "        if False:",
        f"{OF_STATES}::test_a_set_encodes_a_value_when_it_comes_and_never_again",
    ),
    (
        "pipeline: who comes before the best ones is not among them",
        STATES,
        "if full and (entry[:2] < shown[0][:2] if self._last else shown[-1][:2] < entry[:2]):",
        "if full:",
        f"{OF_STATES}::test_what_comes_and_goes_beyond_the_shown_ones_leaves_them_as_they_are",
    ),
    (
        "pipeline: a value that is there twice stands once",
        f"{HERE}/multiset.py",
        "min(held.count, count - len(found))",
        "1",
        "tests/core/live/pipelines/test_multiset.py",
    ),
    (
        "pipeline: squares are never taken out",
        f"{HERE}/deviation.py",
        "times * scaled * scaled",
        "scaled * scaled",
        "tests/core/live/pipelines/test_deviation.py::test_nothing_is_left_of_what_was_taken_out",
    ),
    (
        "pipeline: the key says nothing of its stages",
        ASKED,
        '{"pipeline": pipeline.canonical}',
        "{}",
        f"{OF_SINGLY}::test_a_pipeline_of_match_alone_is_the_plain_query",
    ),
    (
        "pipeline: one that groups is resumed",
        ASKED,
        "(self.pipeline.group is None and self.pipeline.order is None)",
        "True",
        f"{OF_SINGLY}::test_who_was_away_is_told_what_changed_unless_documents_hang_on_each_other",
    ),
    (
        "pipeline: under a rule what a stage let go goes by the filter",
        QUERY,
        "        if self.query.pipeline is not None:\n            return None",
        "        if False:\n            return None",
        f"{OF_SINGLY}::test_under_a_rule_a_document_that_a_stage_let_go_is_known_by_what_was_told_alone",
    ),
    (
        "pipeline: a row that fails as it is told is a bug",
        "realtime/hub/teller.py",
        "        except ServiceError as error:\n            # An expression has no value of a row",
        "        except ZeroDivisionError as error:\n            # An expression has no value of a row",
        f"{OF_HUB}::test_a_row_of_which_an_expression_has_no_value_ends_its_query_alone",
    ),
]
