"""What query groups hold, all of it bounded."""

from __future__ import annotations

from collections.abc import Callable

from realtime import metrics
from realtime.core.live.event_group import Group
from realtime.core.live.query import GroupBounds, QueryGroup
from realtime.core.wire.reserved_names import OWN_PREFIX
from realtime.hub.lingering import Lingering


class Holdings:
    """Bytes and documents that groups keep.

    Over a group's own bound it stops keeping. Over the bound of all of them the group that was idle longest goes;
    without any, the largest stops keeping; where none can, the one that grew ends.
    """

    def __init__(
        self,
        bounds: GroupBounds,
        lingering: Lingering,
        *,
        close_group: Callable[[Group], None],
        end_outgrown: Callable[[QueryGroup], None],
    ) -> None:
        """Both are called in the middle of whatever made the holdings grow."""
        self.bytes = self.documents = 0
        self._bounds = bounds
        self._lingering = lingering
        self._close_group = close_group
        self._end_outgrown = end_outgrown
        self._held: dict[QueryGroup, tuple[int, int]] = {}
        self._without: set[QueryGroup] = set()

    def note(self, group: QueryGroup) -> None:
        """Take in what a live group holds by now, and see to it that the bounds are kept.

        One of the service's own is not among them: however much clients ask for, revocations are known.
        """
        if group.query.collection.startswith(OWN_PREFIX):
            return
        self._count(group, group.size, len(group.documents))
        if group.keeps_too_much and group.may_stop_keeping:
            self._stop_keeping(group)
        while self.bytes > self._bounds.all_bytes:
            if (longest := self._lingering.longest()) is not None:
                self._close_group(longest)
            elif (largest := self._largest()) is not None:
                self._stop_keeping(largest)
            else:
                self._end_outgrown(group)
                break
        self._show()

    def starts_again(self, group: QueryGroup) -> None:
        """It is read anew, or gone: it holds nothing, and keeps what it gets."""
        self._without.discard(group)
        self._count(group, 0, 0)
        self._show()

    def _count(self, group: QueryGroup, size: int, documents: int) -> None:
        before = self._held.pop(group, (0, 0))
        self.bytes += size - before[0]
        self.documents += documents - before[1]
        if documents:
            self._held[group] = (size, documents)

    def _largest(self) -> QueryGroup | None:
        able = (group for group in self._held if group.may_stop_keeping)
        return max(able, key=lambda group: group.size, default=None)

    def _stop_keeping(self, group: QueryGroup) -> None:
        group.stop_keeping()
        self._without.add(group)
        self._count(group, group.size, len(group.documents))

    def _show(self) -> None:
        metrics.GROUP_BYTES.set(self.bytes)
        metrics.GROUP_DOCUMENTS.set(self.documents)
        metrics.GROUPS_WITHOUT.set(len(self._without))
