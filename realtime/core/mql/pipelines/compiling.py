"""From a client's list of stages to a `Pipeline`; what cannot be followed is refused by name and place."""

from __future__ import annotations

from typing import Any

from realtime.core.mql.dialect import NEWEST, Dialect
from realtime.core.mql.expressions.timezones import NO_ZONES, Zones
from realtime.core.mql.pipelines.pipeline import Bounds, Pipeline
from realtime.errors import UnsupportedOperatorError


def compile_pipeline(
    source: Any,
    bounds: Bounds | None = None,
    dialect: Dialect = NEWEST,
    tables: Zones = NO_ZONES,
    *,
    here: str = "pipeline",
) -> Pipeline:
    """Compile a list of stages; `here` is where it stands in a request.

    Raises `InvalidFilterError` for what MongoDB refuses too, `UnsupportedOperatorError` for what cannot be followed;
    `details` has the `path` (`pipeline.2.$lookup`), and the `operator`.
    """
    raise UnsupportedOperatorError(f"{here} is not supported", details={"path": here})
