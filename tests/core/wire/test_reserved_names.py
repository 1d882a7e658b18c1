"""Which names are reserved: the service's own, MongoDB's, and none that is a user's."""

from __future__ import annotations

import pytest

from realtime.core.wire.reserved_names import reserved


@pytest.mark.parametrize(
    "name",
    [
        "realtime_images",
        "system.views",
        "system.buckets.measured",
        "system.resharding.1",
        "tmp.agg_out.712a65d8-b325-4287-ba88-ac9948a668d0",
        "tmpMb5Ld.convertToCapped.orders",
        "tmpMb5Ld.convertToCapped.a.b",
        "tmp39f39.renameCollection",
        "tmpabcde.rename",
        "tmpABCDE.create",
    ],
)
def test_what_mongodb_and_the_service_make_for_themselves_is_reserved(name: str) -> None:
    assert reserved(name)


@pytest.mark.parametrize(
    "name",
    [
        "orders",
        "tmp",
        "tmp.orders",
        "tmp.agg_out",
        "my.tmp.agg_out.1",
        "tmp.mr.orders",
        "temporary.create",
        "tmpabcd.create",
        "tmpabcdef.create",
        "tmpab-de.create",
        "tmpabcde.created",
        "tmpabcde.convertToCapped",
        "tmpabcde.renameCollection.orders",
        "systems",
        "realtime",
    ],
)
def test_a_users_own_name_is_not(name: str) -> None:
    assert not reserved(name)
