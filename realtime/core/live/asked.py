"""What was asked for, compiled, and the key by which it is known who asked for the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import bson

from realtime.core.bson.stored import CODEC
from realtime.core.live.aggregate import Grouping
from realtime.core.mql.filters import Filter, stem
from realtime.core.mql.membership import Members
from realtime.core.mql.ordering import Sort
from realtime.core.mql.pipelines.pipeline import Pipeline
from realtime.core.mql.projection import Projection
from realtime.core.mql.sight import Sight
from realtime.core.mql.vision import EVERYTHING, Vision
from realtime.core.wire.reserved_names import reserved


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for, compiled, of what whoever asks sees. `collections` None: every collection.

    `filter` and `projection` are effective: under a rule they say nothing of what is hidden. `key` names the query.
    """

    mode: Literal["query", "events"]
    collections: frozenset[str] | None
    filter: Filter
    projection: Projection
    operations: frozenset[str] | None
    key: str
    sort: Sort | None = None
    limit: int | None = None
    throttle: int = 0
    """Milliseconds between moments, at least."""
    grouping: Grouping | None = None
    most: int | None = None
    """Documents that it may hold, where a rule says fewer than the service."""
    sight: Sight | None = None
    """In events mode what is seen of each collection, by which each event is judged; None: everything."""
    pipeline: Pipeline | None = None
    """What becomes of the documents that match, as `projection` shows them: cut to what may be seen."""
    members: Members | None = None
    """The set that this is a query of the service's own for: it holds values, and no documents."""

    @classmethod
    def of(
        cls,
        *,
        mode: Literal["query", "events"],
        collections: frozenset[str] | None,
        filter: Filter,  # noqa: A002 - the protocol's own word
        projection: Projection,
        operations: frozenset[str] | None,
        sort: Sort | None = None,
        limit: int | None = None,
        throttle: int = 0,
        grouping: Grouping | None = None,
        vision: Vision = EVERYTHING,
        sight: Sight | None = None,
        pipeline: Pipeline | None = None,
    ) -> Query:
        """A query with its key: equal for queries that find and show the same, whoever asks.

        `vision` is of query mode, `sight` of events mode. With `pipeline`, `filter` is its `match`, and nothing else
        is asked for but `throttle`; one of `$match` alone is the plain query.
        """
        sight = None if sight is None or sight.everything else sight
        pipeline = None if pipeline is None or pipeline.plain else pipeline
        filter, projection = vision.ruled(filter), vision.projected(projection)  # noqa: A001 - as above
        canonical = bson.encode(
            {
                "mode": mode,
                "collections": None if collections is None else sorted(collections),
                "filter": filter.canonical,
                "projection": projection.source,
                "operations": None if operations is None else sorted(operations),
                **_beyond_the_filter(sort, limit, throttle, grouping, vision.most),
                **({} if pipeline is None else {"pipeline": pipeline.canonical}),
                **({} if vision.canonical is None else {"cut": vision.canonical}),
                **({} if sight is None else {"sight": sight.canonical}),
            },
            codec_options=CODEC,
        )
        key = hashlib.sha256(canonical).hexdigest()[:32]
        return cls(
            mode,
            collections,
            filter,
            projection,
            operations,
            key,
            sort,
            limit,
            throttle,
            grouping,
            vision.most,
            sight,
            pipeline,
        )

    @property
    def sets(self) -> tuple[Members, ...]:
        """What has to be asked of other collections to know what it finds."""
        return self.filter.sets if self.sight is None else self.sight.sets

    @property
    def collection(self) -> str:
        """The one collection of a query in query mode."""
        return next(iter(self.collections or ("",)))

    @property
    def shown_collections(self) -> str:
        """What it is about, for people: names with commas between them, or `*`."""
        return "*" if self.collections is None else ",".join(sorted(self.collections))

    @property
    def computes(self) -> bool:
        """Whether what a document costs here goes with what is in it: it asks for expressions or a schema."""
        computes = self.pipeline is not None and self.pipeline.computes
        return computes or self.filter.computes or bool(self.projection.computed)

    @property
    def shows_keys(self) -> bool:
        """Whether each document that is shown has its key as `_id`; the one row of a `$count` has not."""
        return self.pipeline is None or self.pipeline.group is None or self.pipeline.group.keyed

    @property
    def resumes(self) -> bool:
        """Whether its documents are shown one by one, each whatever the others are, so that who was away can go on."""
        alone = self.pipeline is None or (self.pipeline.group is None and self.pipeline.order is None)
        return alone and self.sort is None and self.grouping is None

    @property
    def gains(self) -> frozenset[str]:
        """The paths by which a document that is not held may come to be, numeric components left out."""
        paths = self.filter.paths
        return paths if self.sort is None else paths | {stem(path) for path, _ in self.sort.pairs}

    def covers(self, collection: str) -> bool:
        """Whether changes of this collection concern it; the service's own and MongoDB's concern nobody."""
        if self.sight is not None and not self.sight.of(collection).granted:
            return False
        if self.collections is None:
            return not reserved(collection)
        return collection in self.collections


def _beyond_the_filter(
    sort: Sort | None, limit: int | None, throttle: int, grouping: Grouping | None, most: int | None
) -> dict[str, Any]:
    """What only some queries ask for; the others keep their keys."""
    asked = {
        "sort": None if sort is None else [list(pair) for pair in sort.pairs],
        "limit": limit,
        "throttle": throttle or None,
        "group": None if grouping is None else grouping.source,
        "most": most,
    }
    return {name: value for name, value in asked.items() if value is not None}
