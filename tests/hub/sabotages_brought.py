"""Rows of `make sabotage` for batches that bring their images: name, file, line, what stands there instead, test."""

from __future__ import annotations

PIPE, MOMENTS = "realtime/hub/pipe.py", "realtime/core/live/moments.py"
TESTS = "tests/hub/test_brought.py"

BROUGHT: list[tuple[str, str, str, str, str]] = [
    (
        "brought: what a batch brings is read again",
        PIPE,
        "brought = batch.images or {}",
        "brought: dict[str, Images] = {}",
        f"{TESTS}::test_images_that_a_batch_brings_are_not_read",
    ),
    (
        "brought: a collection that is lacking is told without its documents",
        PIPE,
        "        missing = {name: touch for name, touch in touches.items() if name not in known}",
        "        missing = {name: touch for name, touch in touches.items() if known and name not in known}",
        f"{TESTS}::test_a_collection_that_a_batch_brings_nothing_of_is_read_at_its_time",
    ),
    (
        "brought: all of a collection is read where one document is lacking",
        PIPE,
        "        missing = {name: touch for name, touch in touches.items() if name not in known}",
        "        missing = touches if set(touches) - set(known) else {}",
        f"{TESTS}::test_of_a_collection_only_what_is_lacking_is_read",
    ),
    (
        "brought: it is cut as any other",
        PIPE,
        "self._pace.events if batch.images is None else len(batch.events)",
        "self._pace.events",
        f"{TESTS}::test_one_that_brings_its_images_is_told_whole_however_large",
    ),
    (
        "brought: the end of what was cut has no images",
        MOMENTS,
        "replace(batch, events=events[end:])",
        "Batch(events[end:], batch.time)",
        f"{TESTS}::test_after_a_bug_it_is_told_moment_by_moment_and_its_end_is_not_read",
    ),
    (
        "brought: the beginning of what was cut has the images of its end",
        MOMENTS,
        "    return Batch(events[:end], events[end - 1].time), replace",
        "    return replace(batch, events=events[:end], time=events[end - 1].time), replace",
        f"{TESTS}::test_after_a_bug_it_is_told_moment_by_moment_and_its_end_is_not_read",
    ),
]
