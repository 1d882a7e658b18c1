"""Rows of `make sabotage` for `realtime bench`: what it counts, what it says, and what it leaves behind."""

from __future__ import annotations

BENCH_TEST = "tests/e2e/test_bench.py"
COUNTING_TEST = "tests/benching/test_counting.py"
SOCKETS_TEST = "tests/benching/test_sockets.py"
BESIDE_TEST = "tests/bench/test_beside.py"
COUNTING = "realtime/bench/counting.py"
RUN = "realtime/bench/run.py"

BENCHED: list[tuple[str, str, str, str, str]] = [
    (
        "bench: what is skipped is not missing",
        COUNTING,
        "            self._missing.update(range(self._next, n, self._step))\n",
        "",
        f"{COUNTING_TEST}::test_losses_and_repeats_are_counted_in_any_order",
    ),
    (
        "bench: a snapshot's documents count as repeated",
        COUNTING,
        '    def shown(self, document: Entry) -> None:\n        self._arrived(document["n"])',
        '    def shown(self, document: Entry) -> None:\n        self.repeated += not self._arrived(document["n"])',
        f"{COUNTING_TEST}::test_what_a_snapshot_shows_again_is_not_repeated_and_what_only_it_shows_is_not_lost",
    ),
    (
        "bench: half a head of a frame is read as a whole one",
        "realtime/bench/sockets.py",
        "            if begin + length > size:\n                break",
        "            if begin > size:\n                break",
        f"{SOCKETS_TEST}::test_every_message_comes_whole_however_long_it_is_and_pings_are_answered",
    ),
    (
        "bench: what forwards to a container is the service",
        "realtime/bench/processes.py",
        "if name not in _FORWARDERS",
        "if name",
        "tests/benching/test_processes.py::test_what_forwards_to_a_container_is_not_taken_for_the_service",
    ),
    (
        "bench: a slow generator is not told of",
        "realtime/bench/result.py",
        "if self.busy and often >= OFTEN * len(self.busy):",
        "if self.busy and often > len(self.busy):",
        f"{BENCH_TEST}::test_a_generator_that_is_slowed_is_told_to_be_the_limit",
    ),
    (
        "bench: what is removed are the first documents alone",
        "realtime/bench/writing.py",
        "keys = iter([TRIAL, *(key_of(n) for n in range(written))])",
        "keys = iter([TRIAL, *(key_of(n) for n in range(min(written, 1)))])",
        f"{BENCH_TEST}::test_interrupted_in_the_middle_it_leaves_no_document_and_no_process[False-2]",
    ),
    (
        "bench: the collection is not dropped",
        RUN,
        "            await generators.close()\n            await self._remove()",
        "            await generators.close()",
        f"{BENCH_TEST}::test_interrupted_in_the_middle_it_leaves_no_document_and_no_process[True-2]",
    ),
    (
        "bench: other people's data is loaded without a word",
        RUN,
        "if others and not self._wanted.yes:",
        "if False:",
        f"{BENCH_TEST}::test_other_data_is_not_loaded_unless_that_is_meant",
    ),
    (
        "bench: a refused write is not said what it needs",
        RUN,
        "if error.status in {401, 403}:",
        "if error.status == 401:",
        f"{BENCH_TEST}::test_a_service_that_only_reads_is_told_of",
    ),
    (
        "bench: another MongoDB than the service's is taken",
        RUN,
        '            if self._direct:\n                await self._caller.call("GET", documents_of(name, TRIAL))\n',
        "",
        f"{BENCH_TEST}::test_a_mongodb_that_the_service_does_not_serve_is_not_written_to_for_long",
    ),
    (
        "bench: workers are not found",
        "realtime/bench/processes.py",
        "if inodes and inodes & set(_files(pid))}",
        "if inodes and inodes & set(_files(pid)) and pid % 1 == 1}",
        f"{BENCH_TEST}::test_all_of_two_workers_are_counted",
    ),
    (
        "beside: a run that repeated something is not void",
        "tests/bench/beside.py",
        'for name, word in (("lost", lost), ("repeated", "repeated")) if told[name]]',
        'for name, word in (("lost", lost),) if told[name]]',
        f"{BESIDE_TEST}::test_a_run_that_lost_or_repeated_is_void_and_says_what",
    ),
    (
        "beside: ratios are of medians and not of pairs",
        "tests/bench/targets.py",
        "return [one[name] / two[name] for one, two in both if name in one and two.get(name)]",
        "return [both[0][0][name] / two[name] for one, two in both if name in one and two.get(name)]",
        f"{BESIDE_TEST}::test_a_table_has_medians_their_spread_and_ratios_of_pairs",
    ),
    (
        "beside: a ratio is of a void run as well",
        "tests/bench/targets.py",
        'other = {run["round"]: run for run in theirs if not run["void"]}',
        'other = {run["round"]: run for run in theirs}',
        f"{BESIDE_TEST}::test_a_ratio_is_of_one_round_and_never_of_a_void_run",
    ),
    (
        "beside: who breaks off ends all of it",
        "tests/bench/rounds.py",
        "        except Exception as error:  # noqa: BLE001",
        "        except ZeroDivisionError as error:  # noqa: BLE001",
        f"{BESIDE_TEST}::test_who_breaks_off_is_void_and_named_and_the_others_go_on",
    ),
    (
        "beside: runs are kept at the end alone",
        "tests/bench/rounds.py",
        "        save(self.told, self._kept)\n",
        "        self._kept.exists()\n",
        f"{BESIDE_TEST}::test_what_is_interrupted_keeps_what_it_has",
    ),
    (
        "beside: clients at their limit are not told of",
        "tests/bench/listener.py",
        "            if self.count > before:\n",
        "            if self.count < before:\n",
        f"{BESIDE_TEST}::test_clients_that_are_slowed_are_told_to_be_the_limit",
    ),
    (
        "beside: of what rules cost the best scenario is told",
        "tests/bench/targets.py",
        "worst = max((one for one in each if each[one])",
        "worst = min((one for one in each if each[one])",
        f"{BESIDE_TEST}::test_of_rules_and_tokens_the_worst_scenario_is_told",
    ),
    (
        "beside: two are measured of one source",
        "tests/bench/slowed.py",
        "[started(uri, database, stack, tree) for tree in trees]",
        "[started(uri, database, stack, ROOT) for tree in trees]",
        "tests/bench/test_slowed.py::test_a_copy_that_does_twice_as_much_is_told_from_the_service",
    ),
    (
        "beside: who comes back asks for everything again",
        "tests/bench/dialects.py",
        "        self.send(orjson.dumps({**asked, **self._held[place]}))",
        "        self.send(orjson.dumps(asked))",
        f"{BESIDE_TEST}::test_a_small_run_delivers_exactly_what_was_written[resume-realtime]",
    ),
]
