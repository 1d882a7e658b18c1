"""What a worker is told by its parent is what the parent knows, secrets included."""

from __future__ import annotations

from realtime.commands.workers import Orders
from realtime.settings import SECRETS, load

SECRET = "0123456789abcdef0123456789abcdef"


def test_a_worker_is_told_every_setting_and_every_secret() -> None:
    settings = load(auth="jwt", jwt_secret=SECRET, mongodb_uri="mongodb://u:p@h/", nats="nats://n:p@h", workers=3)
    told = Orders.decode(Orders(settings, [7], "/figures", 42).encode()).settings
    assert told == settings
    assert {name: getattr(told, name).get_secret_value() for name in SECRETS} == {
        "jwt_secret": SECRET,
        "mongodb_uri": "mongodb://u:p@h/",
        "nats": "nats://n:p@h",
    }
