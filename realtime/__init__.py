"""Live MongoDB queries for browsers and programs: a snapshot and a stream, without gap or repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Collection",
    "Fields",
    "Grant",
    "Principal",
    "Realtime",
    "Rules",
    "Settings",
    "__version__",
    "create_app",
]

if TYPE_CHECKING:
    from realtime.app import Realtime, create_app
    from realtime.core.access.principal import Principal
    from realtime.core.access.rules.model import Fields, Grant, Rules
    from realtime.core.wire.collections import Collection
    from realtime.settings import Settings


def __getattr__(name: str) -> Any:
    """The names for users, loaded when asked for: who needs the protocol alone does without driver and framework."""
    if name in {"Collection", "Realtime", "create_app"}:
        from realtime import app  # noqa: PLC0415 - see above

        return getattr(app, name)
    if name == "Settings":
        from realtime.settings import Settings  # noqa: PLC0415 - see above

        return Settings
    if name == "Principal":
        from realtime.core.access.principal import Principal  # noqa: PLC0415 - see above

        return Principal
    if name in {"Fields", "Grant", "Rules"}:
        from realtime.core.access.rules import model  # noqa: PLC0415 - see above

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, those that are loaded when asked for among them, and none that is here for its own sake."""
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "annotations"})
