"""The small shop of `realtime demo`: orders that are placed, paid, packed, sent and cleared away, all day long.

What happens in one step is decided here and is one transaction, so that whoever watches never sees half of it. At
most `MOST` orders are kept; those that somebody else puts into the collection are left alone. What was sold stays for
half an hour, in a collection of its own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
PRODUCTS = {
    "Espresso cup": 650,
    "Mug": 950,
    "Teapot": 2890,
    "Kettle": 4400,
    "Coffee grinder": 7900,
    "French press": 3250,
    "Filter papers": 390,
    "Sugar bowl": 1450,
    "Milk jug": 1680,
    "Cake stand": 3900,
    "Tea strainer": 720,
    "Tray": 2100,
    "Spoon": 280,
    "Napkins": 460,
    "Tea towel": 880,
    "Apron": 2350,
}
"""What is sold, and its price in cents; the first are bought most."""
SALES = "sales"
KEPT = timedelta(minutes=30)
"""How long a sale stays."""
NEXT = {"open": "paid", "paid": "packed", "packed": "sent"}
CANCELLED = "cancelled"
DONE = ("sent", CANCELLED)

Document = dict[str, Any]


@dataclass(slots=True)
class Step:
    """What one transaction does: documents to insert, updates by key, keys to delete; and the same of sales."""

    inserts: list[Document] = field(default_factory=list)
    updates: dict[str, Document] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)
    sold: list[Document] = field(default_factory=list)
    added: dict[str, Document] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)


def money(cents: int) -> Decimal128:
    """An amount; decimals, because sums of money are exact."""
    return Decimal128(f"{cents // 100}.{cents % 100:02}")


def lines(dice: random.Random, most: int) -> list[tuple[str, int]]:
    """One to `most` products and how many of each; an order that leads the board is an event."""
    names = list(PRODUCTS)
    chosen = {names[int(len(names) * dice.random() ** 1.7)] for _ in range(dice.randint(1, most))}
    return [(name, 1 + int(6 * dice.random() ** 4)) for name in sorted(chosen)]


def items(chosen: list[tuple[str, int]]) -> list[Document]:
    """Lines as they are stored."""
    return [{"product": name, "price": money(PRODUCTS[name]), "qty": qty} for name, qty in chosen]


def worth(chosen: list[tuple[str, int]]) -> Decimal128:
    """What they come to."""
    return money(sum(PRODUCTS[name] * qty for name, qty in chosen))


def past(dice: random.Random, at: datetime) -> list[Document]:
    """Sales of the half hour before, for a shop that opens: more or less of them in a minute."""
    made = []
    for minute in range(int(KEPT.total_seconds()) // 60):
        for number in range(round(120 + 60 * dice.random() - 40 * abs(minute % 12 - 6) / 6)):
            when = at - timedelta(seconds=60 * minute + 60 * dice.random())
            sale = {"at": when, "city": dice.choice(CITIES), "items": items(lines(dice, 3))}
            made.append({"_id": f"past-{minute:02}-{number:03}", **sale})
    return made


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
        city, chosen = dice.choice(CITIES), lines(dice, 3)
        order = {"_id": key, "customer": dice.choice(CUSTOMERS), "city": city, "status": status}
        step.inserts.append({**order, "items": items(chosen), "total": worth(chosen), "at": at})
        step.sold.append({"_id": key, "at": at, "city": city, "items": items(chosen)})
        self.statuses[key] = status

    def _advance(self, step: Step, key: str) -> None:
        """One more item, the next status, or the end of it."""
        dice, status = self._dice, self.statuses[key]
        if status == "open" and dice.random() < 0.5:
            more = lines(dice, 1)
            step.added[key] = {"$push": {"items": {"$each": items(more)}}}
            step.updates[key] = {**step.added[key], "$inc": {"total": worth(more)}}
        elif status in NEXT:
            self.statuses[key] = CANCELLED if status == "open" and dice.random() < 0.15 else NEXT[status]
            step.updates[key] = {"$set": {"status": self.statuses[key]}}
            if self.statuses[key] == CANCELLED:
                step.returned.append(key)

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
        self._orders, self._sales = database[COLLECTION], database[SALES]
        self._dice = dice
        self._shop: Shop | None = None

    async def write(self, at: datetime) -> None:
        """One transaction, at a time of the machine's clock."""
        shop, self._shop = self._shop, None  # unknown until the commit is
        if shop is None:
            await self._open(at)
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
            await self._sell(step, at, session)

        async with await self._client.start_session() as session:
            await session.with_transaction(body)
        self._shop = shop

    async def _open(self, at: datetime) -> None:
        """What sales need, and some of them where there are none: a shop that opens has a past."""
        await self._sales.create_index("at")
        if await self._sales.find_one({}, {"_id": 1}) is None:
            await self._sales.insert_many(past(self._dice, at))

    async def _sell(self, step: Step, at: datetime, session: Any) -> None:
        if step.sold:
            await self._sales.insert_many(step.sold, session=session)
        for key, update in step.added.items():
            await self._sales.update_one({"_id": key}, update, session=session)
        gone = {"$or": [{"at": {"$lt": at - KEPT}}, {"_id": {"$in": step.returned}}]}
        await self._sales.delete_many(gone, session=session)
