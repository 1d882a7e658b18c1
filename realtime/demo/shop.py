"""The small shop of `realtime demo`: orders that are placed, paid, packed, sent and cleared away, all day long.

What happens in one step is decided here and is one transaction, so that whoever watches never sees half of it. At
most `MOST` orders are kept; those that somebody else puts into the collection are left alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson.decimal128 import Decimal128

COLLECTION = "orders"
OWN = {"_id": {"$gte": "shop-", "$lt": "shop."}}
"""The filter of the shop's own orders; their keys are `shop-` and a number."""
LEAST, MOST = 90, 160
CUSTOMERS = (
    "Ada",
    "Blaise",
    "Chen",
    "Dijkstra",
    "Edith",
    "Fatima",
    "Grace",
    "Hedy",
    "Ibn",
    "Joan",
    "Katherine",
    "Lise",
)
CITIES = ("Oslo", "Porto", "Riga", "Turin", "Lyon", "Ghent", "Bonn", "Cork")
NEXT = {"open": "paid", "paid": "packed", "packed": "sent"}
CANCELLED = "cancelled"
DONE = ("sent", CANCELLED)

Document = dict[str, Any]


@dataclass(slots=True)
class Step:
    """What one transaction does: documents to insert, updates by key, keys to delete."""

    inserts: list[Document] = field(default_factory=list)
    updates: dict[str, Document] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)


def money(cents: int) -> Decimal128:
    """An amount; decimals, because sums of money are exact."""
    return Decimal128(f"{cents // 100}.{cents % 100:02}")


class Shop:
    """The shop's own orders as they are stored (key → status), and what happens to them next."""

    def __init__(self, stored: list[Document], dice: random.Random) -> None:
        self._dice = dice
        self.statuses: dict[str, str] = {str(one["_id"]): str(one.get("status")) for one in stored}
        numbers = [int(key[5:]) for key in self.statuses if key[5:].isdigit()]
        self._number = max(numbers, default=0)

    def step(self, at: datetime) -> Step:
        """The next transaction; `self` is then as it will be when that is committed."""
        step = Step()
        filling = len(self.statuses) < LEAST
        for _ in range(30 if filling else self._dice.choice((1, 1, 2))):
            # A shop that opens has a past.
            self._place(step, at, self._dice.choice(("open", "open", *NEXT.values())) if filling else "open")
        for key in self._dice.sample(sorted(self.statuses), min(3, len(self.statuses))):
            if not any(made["_id"] == key for made in step.inserts):
                self._advance(step, key)
        self._clear(step)
        return step

    def _place(self, step: Step, at: datetime, status: str) -> None:
        dice = self._dice
        self._number += 1
        key = f"shop-{self._number:06}"
        # Most are small: an order that leads the board is an event.
        cents = round(500 + 25_000 * dice.random() ** 3)
        order = {"_id": key, "customer": dice.choice(CUSTOMERS), "city": dice.choice(CITIES), "status": status}
        step.inserts.append({**order, "total": money(cents), "at": at})
        self.statuses[key] = status

    def _advance(self, step: Step, key: str) -> None:
        """One more item, the next status, or the end of it."""
        dice, status = self._dice, self.statuses[key]
        if status == "open" and dice.random() < 0.5:
            step.updates[key] = {"$inc": {"total": money(dice.randrange(200, 9_000))}}
        elif status in NEXT:
            self.statuses[key] = CANCELLED if status == "open" and dice.random() < 0.15 else NEXT[status]
            step.updates[key] = {"$set": {"status": self.statuses[key]}}

    def _clear(self, step: Step) -> None:
        """Take away what is done, the oldest first, and what is over the bound whatever it is."""
        busy = {*step.updates, *(made["_id"] for made in step.inserts)}
        idle = [key for key in sorted(self.statuses) if key not in busy]
        excess = len(self.statuses) - MOST
        over = idle[: max(0, excess)]
        done = [key for key in idle if self.statuses[key] in DONE and key not in over]
        ready = done[:1] if len(self.statuses) - len(over) > LEAST and self._dice.random() < 0.6 else []
        for key in [*over, *ready]:
            del self.statuses[key]
            step.deletes.append(key)


class Till:
    """Brings the collection on, a step at a time. Any failure leaves it fit to be called again."""

    def __init__(self, client: Any, database: Any, dice: random.Random) -> None:
        self._client = client
        self._orders = database[COLLECTION]
        self._dice = dice
        self._shop: Shop | None = None

    async def write(self, at: datetime) -> None:
        """One transaction, at a time of the machine's clock."""
        shop, self._shop = self._shop, None  # unknown until the commit is
        if shop is None:
            stored = await self._orders.find(OWN, {"status": 1}).to_list(None)
            shop = Shop(stored, self._dice)
        step = shop.step(at)

        async def body(session: Any) -> None:
            if step.inserts:
                await self._orders.insert_many(step.inserts, session=session)
            for key, update in step.updates.items():
                await self._orders.update_one({"_id": key}, update, session=session)
            if step.deletes:
                await self._orders.delete_many({"_id": {"$in": step.deletes}}, session=session)

        async with await self._client.start_session() as session:
            await session.with_transaction(body)
        self._shop = shop
