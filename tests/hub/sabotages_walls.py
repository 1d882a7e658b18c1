"""Rows of `make sabotage` for the walls: name, file, line, what stands there instead, test."""

from __future__ import annotations

TELLER, WALLS, PIPE = "realtime/hub/teller.py", "realtime/hub/walls.py", "realtime/hub/pipe.py"
FEED, RESUME, HISTORY = "realtime/mongo/feed.py", "realtime/hub/resume.py", "realtime/hub/history.py"
GROUPS, PIPES = "tests/hub/test_walls.py", "tests/hub/test_pipe_walls.py"
RESUMES = "tests/hub/test_resume_walls.py"
SINKS = "tests/web/entrance/test_sinks.py"
FEEDS, REAL = "tests/mongo/test_feed_walls.py", "tests/exact/test_walls.py"
ONE = f"{GROUPS}::test_what_fails_for_one_query_is_that_querys_resync_and_nobody_elses"
TWICE = f"{GROUPS}::test_twice_in_a_row_ends_that_query_under_the_reference_that_is_logged[decide]"
TRIED = f"{GROUPS}::test_events_that_could_not_be_told_are_tried_once_more_and_told_once"
ENDED = f"{GROUPS}::test_events_that_cannot_be_told_end_the_subscription_where_it_can_be_resumed"
NOTICED = f"{PIPES}::test_what_fails_in_the_pipe_less_than_three_times_is_noticed_by_nobody"
STEPPED = f"{PIPES}::test_the_third_failure_at_a_position_steps_over_that_moment_and_its_collection_alone_is_told"
ACROSS = f"{RESUMES}::test_who_resumes_across_a_moment_that_was_stepped_over_is_told_so"
UNSENT = "tests/mongo/test_feed_unsendable.py::test_an_insert_that_has_no_room_in_any_reply_stopped_the_feed_for_good"
KNOWN = f"{FEEDS}::test_what_was_stepped_over_is_no_obstacle_to_who_opens_at_its_time"

MADE_FIRST = (
    "list(protocol.moment_frames(kind, target, entries, group.position, size))\n        largest = max(map(len, frames))"
)

WALLS_ROWS: list[tuple[str, str, str, str, str]] = [
    (
        "walls: nobody says that the pipe waits for MongoDB",
        "realtime/hub/pipe.py",
        "        act(lambda: self._on_stuck(error.message))",
        "        pass",
        "tests/hub/test_pipe.py::test_while_mongodb_is_away_the_images_are_asked_for_again_and_nothing_is_lost",
    ),
    (
        "walls: one query's exception is the pipe's",
        TELLER,
        "            return (Failed(group, error),)\n        return (*refused",
        "            raise\n        return (*refused",
        f"{ONE}[decide]",
    ),
    (
        "walls: one that is being read takes the batch along",
        TELLER,
        "            return (Failed(group, error),)\n        return ()\n\n    def _routes",
        "            raise\n        return ()\n\n    def _routes",
        f"{GROUPS}::test_a_bug_while_it_is_read_and_told_of_batches_is_answered",
    ),
    (
        "walls: what cannot even be given up goes on in the pipe",
        WALLS,
        "        except Exception as worse:\n            self._give_up(group, worse)",
        "        except ZeroDivisionError as worse:\n            self._give_up(group, worse)",
        f"{GROUPS}::test_a_query_that_can_neither_be_read_again_nor_ended_sends_its_own_connections_away",
    ),
    ("walls: no end of reading again", WALLS, "and again and not spent:", "and again:", TWICE),
    ("walls: no second chance", WALLS, "GROUP_TRIALS = 2", "GROUP_TRIALS = 1", f"{ONE}[encode]"),
    (
        "walls: a success between does not count",
        "realtime/hub/groups.py",
        "            self.walls.trials.passed(group)\n\n    def _look",
        "            pass\n\n    def _look",
        f"{GROUPS}::test_a_failure_a_success_and_a_failure_are_not_twice_in_a_row",
    ),
    (
        "walls: a throttled query's timer",
        "realtime/hub/groups.py",
        "            self._tell(group)\n        except Exception as error:",
        "            self._tell(group)\n        except ZeroDivisionError as error:",
        f"{GROUPS}::test_a_query_that_is_throttled_fails_by_itself_when_its_time_has_come",
    ),
    (
        "walls: a query's load",
        "realtime/hub/loading.py",
        "            self._walls.group_failed(group, error)",
        "            raise",
        f"{GROUPS}::test_a_bug_while_it_catches_up_is_the_querys_alone",
    ),
    (
        "walls: nobody is found without the index",
        TELLER,
        "in self._router.query_groups(collection) if group.live}",
        "in self._router.query_groups(collection) if not group}",
        f"{GROUPS}::test_without_its_index_the_router_asks_everybody[routes]",
    ),
    (
        "walls: nothing is read without the index",
        "realtime/hub/plan.py",
        "        return {touch.identity: touch for touch in inexact}\n",
        "        return {}\n",
        f"{GROUPS}::test_without_its_index_the_router_asks_everybody[needs]",
    ),
    (
        "walls: events are not tried again",
        TELLER,
        '        bug("query group", error)\n        group.time = after\n',
        '        bug("query group", error)\n',
        f"{TRIED}[publish]",
    ),
    (
        "walls: events end after what was not told",
        TELLER,
        "            group.time = after\n            return (Failed",
        "            return (Failed",
        f"{ENDED}[publish]",
    ),
    (
        "walls: a connection that missed a frame goes on",
        TELLER,
        "                    break_off(sink, error)",
        "                    pass",
        f"{GROUPS}::test_a_connection_that_cannot_be_handed_a_frame_is_closed_and_nobody_else_notices",
    ),
    (
        "walls: half a moment",
        TELLER,
        MADE_FIRST,
        "protocol.moment_frames(kind, target, entries, group.position, size)\n        largest = 0",
        f"{GROUPS}::test_a_moment_of_many_frames_is_made_before_the_first_is_sent",
    ),
    (
        "walls: a broken fence",
        "realtime/hub/roster.py",
        "                break_off(fence.owner.sink, error)",
        "                raise",
        f"{GROUPS}::test_a_fence_whose_connection_is_broken_keeps_nobody_elses",
    ),
    (
        "walls: a journal with a gap",
        HISTORY,
        "            self.journal.begin(entry.time)",
        "            pass",
        f"{RESUMES}::test_a_journal_that_fails_is_empty_rather_than_without_a_moment",
    ),
    (
        "walls: a journal that was lost is empty",
        RESUME,
        "        if entries is None:\n            return False\n        if any(_hears_of",
        "        entries = entries or []\n        if any(_hears_of",
        f"{RESUMES}::test_a_journal_that_is_lost_while_somebody_resumes_from_it_is_not_taken_for_an_empty_one",
    ),
    (
        "walls: reading back ends its task",
        HISTORY,
        '            self._answer(None, bug("history", error))',
        "            raise",
        "tests/hub/test_history.py::test_a_bug_in_a_read_is_told_to_all_who_wait",
    ),
    (
        "walls: who resumes is not answered",
        RESUME,
        "        except Exception as error:\n            if subscription.group",
        "        except (ServiceError, TimeoutError) as error:\n            if subscription.group",
        f"{RESUMES}::test_events_that_resume_are_answered_whatever_is_raised[completing]",
    ),
    (
        "walls: a replay that ends in silence",
        WALLS,
        "                self.subscription_failed(subscription, error, after)",
        "                pass",
        f"{RESUMES}::test_a_replay_that_fails_on_its_way_says_that_events_are_missing",
    ),
    (
        "walls: a replay that may be gone on from",
        WALLS,
        "if subscription.live and isinstance(group, EventGroup):",
        "if subscription.lapsed and isinstance(group, EventGroup):",
        f"{RESUMES}::test_a_replay_that_fails_on_its_way_says_that_events_are_missing",
    ),
    (
        "walls: a subscription that cannot be taken in",
        "realtime/hub/subscriptions.py",
        "            self._attach(subscription, few=few)\n        except Exception as error:",
        "            self._attach(subscription, few=few)\n        except ZeroDivisionError as error:",
        f"{RESUMES}::test_a_subscription_that_cannot_be_taken_in_is_answered_under_its_id",
    ),
    (
        "walls: a snapshot that cannot be made",
        "realtime/hub/subscriptions.py",
        "            self._attach(subscription, few=few)\n        except Exception as error:",
        "            self._attach(subscription, few=few)\n        except ZeroDivisionError as error:",
        f"{RESUMES}::test_a_snapshot_that_cannot_be_made_is_answered_and_the_query_lives_on",
    ),
    (
        "walls: a task ends unheard",
        "realtime/hub/tasks.py",
        "        error = None if task.cancelled() else task.exception()\n",
        "        error = None\n",
        f"{RESUMES}::test_whatever_else_is_raised_in_a_task_of_the_hub_is_logged_and_counted",
    ),
    ("walls: the pipe does not go back", PIPE, "        self._rewinds = True\n", "", f"{NOTICED}[once-settle]"),
    (
        "walls: patience of one less",
        PIPE,
        "MOMENT_TRIALS = 3",
        "MOMENT_TRIALS = 2",
        f"{NOTICED}[as often as it may-plan]",
    ),
    (
        "walls: what fails is never stepped over",
        PIPE,
        "        return stepped_over(batch, everywhere=",
        "        return batch if batch else stepped_over(batch, everywhere=",
        f"{STEPPED}[image read]",
    ),
    (
        "walls: a whole batch is stepped over",
        PIPE,
        "        self._careful_until = self._taken\n",
        "",
        f"{STEPPED}[settle]",
    ),
    (
        "walls: a whole batch is given up for one that cannot be decoded",
        PIPE,
        "careful = self._hub.time < self._careful_until or (self._awaits_mark and _is_marked(batch))",
        "careful = self._hub.time < self._careful_until",
        f"{STEPPED}[decode]",
    ),
    (
        "walls: who waits for the batch waits on",
        "realtime/hub/progress.py",
        "        waiting, self._between = self._between, []\n        for",
        "        waiting: list[Callable[[], None]] = []\n        for",
        f"{PIPES}::test_who_waits_for_the_batch_in_the_pipe_is_let_go_when_that_starts_again",
    ),
    (
        "walls: told again what was told",
        TELLER,
        "            if not group.live or group.told < settled.time:",
        "            if group is not None:",
        f"{STEPPED}[dispatch]",
    ),
    (
        "walls: a mark says nothing",
        "realtime/core/live/moments.py",
        "            settled.stepped_over[event.collection] = REASONS[event.op]",
        "            pass",
        f"{STEPPED}[plan]",
    ),
    (
        "walls: what could not be sent is called a bug",
        "realtime/core/live/moments.py",
        "            settled.stepped_over[event.collection] = REASONS[event.op]",
        '            settled.stepped_over[event.collection] = "internal"',
        f"{PIPES}::test_what_mongodb_could_not_send_for_its_size_is_lost_history_of_its_collection_and_no_bug",
    ),
    (
        "walls: the feed calls what could not be sent a bug",
        FEED,
        "token_time(reply.token), UNSENT)",
        "token_time(reply.token))",
        f"{UNSENT}[mongod-a key of some MB]",
    ),
    (
        "walls: who resumes across it is not told",
        RESUME,
        "        if any(_hears_of(group, name)",
        "        if not entries and any(_hears_of(group, name)",
        ACROSS,
    ),
    (
        "walls: a query resumes across it",
        RESUME,
        "    return settled.was_replaced(collection) or settled.was_stepped_over(collection)",
        "    return settled.was_replaced(collection)",
        ACROSS,
    ),
    (
        "walls: nobody hears that it is stuck",
        PIPE,
        "self._on_stuck(f",
        "str(f",
        f"{PIPES}::test_a_pipe_that_cannot_go_on_says_so_and_goes_on_as_soon_as_it_can",
    ),
    (
        "walls: degraded by a bug",
        "realtime/operations/health.py",
        "        if status.up and self._stuck is not None:",
        "        if not status.up and self._stuck is not None:",
        "tests/web/test_health.py::test_a_pipe_that_cannot_go_on_is_degraded_until_it_does",
    ),
    (
        "walls: the feed goes on where it was",
        FEED,
        "        self._assembler = MomentAssembler(time, self._held_bytes)\n",
        "",
        f"{FEEDS}::test_a_feed_that_goes_back_has_no_cursor_left_at_the_server",
    ),
    (
        "walls: a cursor is left at the server",
        FEED,
        "            await kill(self._database, cursor)\n",
        "            pass\n",
        f"{FEEDS}::test_a_feed_that_goes_back_has_no_cursor_left_at_the_server",
    ),
    (
        "walls: it is in the way again",
        FEED,
        "            if unknown[-1].time <= self._assembler.time:",
        "            if not unknown:",
        f"{KNOWN}[1000]",
    ),
    (
        "walls: it marks without end",
        FEED,
        "            self._marking = not self._patient\n            events",
        "            events",
        f"{FEEDS}::test_only_what_it_was_to_mark_is_marked_and_the_next_is_raised_again",
    ),
    (
        "walls: what is read back is not marked",
        FEED,
        "        self._marking = not patient\n",
        "        self._marking = False\n",
        f"{REAL}::test_after_a_restart_who_resumes_from_before_it_is_answered_and_the_others_miss_nothing",
    ),
    (
        "walls: any collection where one is known",
        "realtime/core/live/undecodable.py",
        "    return [mark(name, time, op) for name in names if name is not None] or",
        "    return",
        f"{REAL}::test_a_moment_that_cannot_be_told_concerns_its_collection_alone_and_the_service_goes_on[7-decode]",
    ),
    (
        "walls: a whole service, one query",
        TELLER,
        "            return (Failed(group, error),)\n        return (*refused",
        "            raise\n        return (*refused",
        f"{REAL}::test_a_bug_in_one_query_is_that_querys_alone",
    ),
    (
        "walls: a connection that drains",
        "realtime/web/socket/uvicorn_sink.py",
        "            break_off(self, error)",
        "            pass",
        f"{SINKS}::test_a_bug_while_a_connection_drains_closes_it_and_nobody_else_notices[our server]",
    ),
    (
        "walls: a frame that fails has no id",
        "realtime/web/socket/socket.py",
        "ErrorFrame.of(told, protocol.id_of(text))",
        "ErrorFrame.of(told, None)",
        "tests/web/entrance/test_bugs.py::test_a_bug_in_a_frame_is_answered_under_its_id",
    ),
    (
        "walls: heartbeats end",
        "realtime/app.py",
        '                bug("heartbeat", error)',
        "                raise",
        "tests/web/entrance/test_bugs.py::test_a_bug_in_what_beats_and_watches_ends_neither",
    ),
]
