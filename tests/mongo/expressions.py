"""Expressions at random, by types, so that most have a value; now and then an argument of any type takes one's place.

`Expressions.of(operator)` gives one whose outermost operator is that one, so that each gets its share without chance.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from realtime.core.mql.expressions.dates import PARTS
from realtime.core.mql.expressions.moments import date_of
from tests.mongo.grammar import ODD_VALUES, POOLS

Make = Callable[["Expressions"], Any]

TEXTS = ["", "a", "abc", "AbC", "a b", " x ", "é", "ß日本", "1", "-12", "1.5", "1e3", "2020-02-29", "a,b,,c", "aaa",
         "2021-03-28T01:30:00Z", "NaN", "5f5f5f5f5f5f5f5f5f5f5f5f", "\U0001f600x", "true", "z"]  # fmt: skip
INTS = [0, 1, 2, 3, 5, -1, -4, 7, 20, 100, 2**31 - 1, -(2**31)]
LONGS = [Int64(0), Int64(3), Int64(-7), Int64(2**31), Int64(2**53 + 1), Int64(2**62), Int64(2**63 - 1), Int64(-(2**63))]
DOUBLES = [0.0, -0.0, 1.0, 2.5, -3.5, 0.1, 1 / 3, 1e16, -1e300, 1e-320, 123456.789, float("nan"), float("inf"),
           float("-inf"), 0.5, 1.5, 2.0**53, 1e21, 100.0, 2147483647.9, -2147483648.9]  # fmt: skip
DECIMALS = [Decimal128(text) for text in ("0", "1", "1.0", "2.50", "-3.5", "0.1", "NaN", "Infinity", "-Infinity", "-0",
                                          "1E+40", "9.999999999999999999999999999999999E+6144", "1E-6176", "100",
                                          "123456789.123456789", "sNaN", "0E+100", "0E+6111")]  # fmt: skip
DATES = [date_of(number) for number in (0, 1, -1, 1582934400000, 1616893200000, 1616896800000, 1635642000000,
                                        1577836800123, -62135596800000, 253402300799999, 10**12, 1709210096789,
                                        -1234567890123, 951782400000)]  # fmt: skip
FAR_DATES = [DatetimeMS(2**50), DatetimeMS(-(2**50)), DatetimeMS(2**62)]
ARRAYS: list[Any] = [[], [1], [1, 2, 3], [3, 1, 2, 1], [1.0, "a", None], [[1, 2], [3]], [True, False], ["a", "b", "a"],
                     [None], [{"a": 1}, {"a": 2, "b": 3}], [Decimal128("2"), 2], [0, 0.0, False]]  # fmt: skip
OBJECTS: list[Any] = [{}, {"a": 1}, {"a": 1, "b": "x"}, {"b": {"c": 2}, "a": [1, 2]}, {"k": "a", "v": 1}]
ROWS: list[Any] = [{"a": 5}, {"a": [3]}, {"a": [1, 9]}, {"a": []}, {"a": None}, {"a": "x", "b": {"c": [2]}}, {}, 7, [1],
                   {"a": {"b": 2}}, {"a": [{"b": 3}, {"b": 1}]}, {"a": {"b": [1]}}, {"a.b": 2, "a": {"b": 4}},
                   {"a": {"0": 4}, "b": [1]}, {"a": [[2]], "b": {"c": 1}}, {"a": 5, "b": [0]}]  # fmt: skip
"""Elements that arrays are sorted by paths into, arrays at the end of them and on the way."""
FIELDS = {
    "int": "i", "long": "l", "double": "f", "decimal": "m", "text": "s", "array": "a", "object": "o", "date": "d",
    "bool": "t", "number": "n", "numbers": "ns", "texts": "ss", "pairs": "p", "objects": "os", "stamp": "ts",
    "oid": "k", "any": "x", "small": "q",
}  # fmt: skip
"""By type the field of the documents that mostly has it."""


class Expressions:
    """Makes documents and expressions from one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.broken = 0.0

    # --------------------------------------------------------------------------------------------------- documents

    def document(self, key: int) -> dict[str, Any]:
        made: dict[str, Any] = {"_id": key}
        for kind, name in FIELDS.items():
            dice = self.chance.random()
            if dice < 0.05:
                continue
            made[name] = self.any_value() if dice < 0.12 else None if dice < 0.15 else self.value(kind)
        return made

    def any_value(self) -> Any:
        if self.chance.random() < 0.3:
            return self.chance.choice(ODD_VALUES)
        return self.chance.choice(POOLS[self.chance.choice(list(POOLS))])

    def value(self, kind: str) -> Any:
        """A value of a kind."""
        chance = self.chance
        if kind == "number":
            return self.value(chance.choice(["int", "long", "double", "decimal"]))
        if kind == "any":
            return self.any_value() if chance.random() < 0.4 else self.value(chance.choice(list(VALUES)))
        if kind == "numbers":
            return [self.value("number") if chance.random() < 0.95 else None for _ in range(chance.randrange(5))]
        if kind == "texts":
            return [chance.choice(TEXTS) for _ in range(chance.randrange(4))]
        if kind == "objects":
            return [{"a": chance.choice(INTS), "b": self.value("small")} for _ in range(chance.randrange(4))]
        if kind == "rows":
            return [chance.choice(ROWS) for _ in range(chance.randrange(2, 6))]
        if kind == "pairs":
            return [[chance.choice("abc"), self.value("small")] for _ in range(chance.randrange(4))]
        return chance.choice(VALUES[kind])

    # -------------------------------------------------------------------------------------------------- expressions

    def of(self, name: str, *, depth: int = 2, broken: float = 0.0) -> dict[str, Any]:
        """An expression of this operator."""
        self.broken = broken
        return {name: OPERANDS[name](self, depth)}

    def an(self, kind: str, depth: int = 0) -> Any:
        """An expression of this kind: a path, a constant, or an operator that gives it."""
        dice = self.chance.random()
        if dice < self.broken:
            return self.literal(self.any_value()) if self.chance.random() < 0.6 else "$x"
        if depth > 0 and dice < 0.35 and (names := GIVES.get(kind)):
            name = self.chance.choice(names)
            return {name: OPERANDS[name](self, depth - 1)}
        if dice < 0.75 and kind in FIELDS:
            return f"${FIELDS[kind]}"
        if dice < 0.78:
            return self.chance.choice(["$missing", None, "$o.a", "$os.a", "$b.c"])
        return self.literal(self.value(kind))

    def literal(self, value: Any) -> Any:
        """A constant: what looks like an expression stands in `$literal`."""
        sayable = _sayable(value)
        if not sayable:
            return "$x"
        plain = not isinstance(value, dict | list) and not (isinstance(value, str) and value.startswith("$"))
        return value if plain else {"$literal": value}

    def some(self, kind: str, depth: int, least: int = 1, most: int = 3) -> list[Any]:
        return [self.an(kind, depth) for _ in range(self.chance.randint(least, most))]


def _sayable(value: Any) -> bool:
    from tests.mongo.grammar import sayable

    return sayable(value)


VALUES: dict[str, list[Any]] = {
    "int": INTS,
    "small": [0, 1, 2, 3, -1, -2, 1.0, Int64(2), Decimal128("1"), 4],
    "long": LONGS,
    "double": DOUBLES,
    "decimal": DECIMALS,
    "text": TEXTS,
    "array": ARRAYS,
    "object": OBJECTS,
    "date": [*DATES, *DATES, *FAR_DATES],
    "bool": [True, False],
    "stamp": [Timestamp(1, 2), Timestamp(1600000000, 255)],
    "oid": [ObjectId("5" * 24), ObjectId("5f" * 12)],
    "letter": ["a", "b", "x", ""],
}


def _args(*kinds: str) -> Callable[[Expressions, int], Any]:
    def make(one: Expressions, depth: int) -> Any:
        made = [one.an(kind, depth) for kind in kinds]
        return (
            made if len(made) != 1 or one.chance.random() < 0.5 else made[0] if not isinstance(made[0], list) else made
        )

    return make


def _more(kind: str, least: int = 1, most: int = 4) -> Callable[[Expressions, int], Any]:
    return lambda one, depth: one.some(kind, depth, least, most)


def _either(*makes: Callable[[Expressions, int], Any]) -> Callable[[Expressions, int], Any]:
    return lambda one, depth: one.chance.choice(makes)(one, depth)


def _named(_optional: Any = (), **kinds: Any) -> Callable[[Expressions, int], Any]:
    """An object of named operands: a kind, or what makes one."""

    def make(one: Expressions, depth: int) -> Any:
        return {
            name: one.an(kind, depth) if isinstance(kind, str) else kind(one, depth)
            for name, kind in kinds.items()
            if name not in _optional or one.chance.random() < 0.5
        }

    return make


def _choice(*values: Any) -> Callable[[Expressions, int], Any]:
    return lambda one, depth: one.chance.choice(values)


def _switch(one: Expressions, depth: int) -> Any:
    if one.chance.random() < 0.2:
        return {"branches": [{"case": {"$eq": ["$q", 99]}, "then": one.an("any", depth)}]}
    branches = [{"case": one.an("bool", depth), "then": one.an("any", depth)} for _ in range(one.chance.randint(1, 3))]
    return {"branches": branches, **({"default": one.an("any", depth)} if one.chance.random() < 0.7 else {})}


def _let(one: Expressions, depth: int) -> Any:
    inner = one.chance.choice(["$$v", "$$v.a", {"$add": ["$$v", "$i"]}, {"$eq": ["$$v", "$$w"]}, ["$$w", "$x"]])
    return {"vars": {"v": one.an("any", depth), "w": one.an("number", depth)}, "in": inner}


_EACH: list[Any] = ["$$this", {"$add": ["$$this", 1]}, {"$type": "$$this"}, {"$gt": ["$$this", 1]}, ["$$this", "$i"],
                    "$$this.a", {"$ifNull": ["$$this", 0]}, {"$multiply": ["$$this", "$q"]}]  # fmt: skip
_FOLD: list[Any] = [{"$add": ["$$value", "$$this"]}, {"$concatArrays": ["$$value", ["$$this"]]}, "$$this",
                    {"$max": ["$$value", "$$this"]}, {"$ifNull": ["$$this", "$$value"]}]  # fmt: skip


def _zip(one: Expressions, depth: int) -> Any:
    inputs = one.some("array", depth, 1, 3)
    if one.chance.random() < 0.5:
        return {"inputs": inputs}
    made: dict[str, Any] = {"inputs": inputs, "useLongestLength": True}
    if one.chance.random() < 0.6:
        made["defaults"] = [one.an("any", 0) for _ in inputs]
    return made


def _range(one: Expressions, _: int) -> Any:
    return one.chance.choice([[0, 5], [5, 0, -2], [0, 10, 3], [3, 3], [0.0, Int64(4)], [0, 5, 0], [1, 2.5], [-5, 5, 4]])


_TYPES = _choice(
    *("int", "long", "double", "decimal", "string", "bool", "date", "objectId", "int", "string", "array", 16, 2),
    *("$s", None, 18.0, "nothing", 99, 1.5, "null"),
)
_SORTS = _choice(1, -1, {"a": 1}, {"a": -1, "b": 1}, {"b.c": 1}, {"a.b": -1}, {"a.0": 1}, 1.0, 2, {"a": 0}, {})
_PATTERNS = _choice("a", "^a", "b$", "[a-c]+", "", "(a)|(b)", "(.)(.)?", "a*", "(?:(a)|b)+?", "(é|\\d)$", "b??(,|$)")
_OPTIONS = _choice("i", "s", "m", None)
_CHARS = _choice("a", " ", "xé", "", "$s", None)

PLACES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Caracas")
ZONES = _choice(*PLACES, "UTC", "+05:30", "-0330", "+05", None)
UNITS_ = _choice(
    "year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "day", "month", "year", "$s"
)
DAYS_ = _choice("monday", "Sunday", "wed", "fri", "SAT")


def _args_small(one: Expressions, depth: int) -> Any:
    return one.an("small", depth)


def _dated(first: str = "date", **kinds: Any) -> Callable[[Expressions, int], Any]:
    """With a date, now and then a zone, and half of the rest where that is optional."""

    def make(one: Expressions, depth: int) -> Any:
        made = {first: one.an("date", depth)}
        for name, kind in kinds.items():
            if name in {"unit", "amount", "endDate"} or one.chance.random() < 0.6:
                made[name] = one.an(kind, depth) if isinstance(kind, str) else kind(one, depth)
        if one.chance.random() < 0.5:
            made["timezone"] = ZONES(one, depth)
        return made

    return make


def _hours_apart(one: Expressions, _: int) -> Any:
    """In zones whose clocks were turned by half an hour too."""
    first, second = (date_of(one.chance.randrange(0, 2_145_916_800) * 1000) for _ in range(2))
    return {
        "startDate": {"$ifNull": ["$missing", first]},
        "endDate": one.chance.choice([second, "$d"]),
        "unit": "hour",
        "timezone": one.chance.choice(["Australia/Lord_Howe", "America/Caracas"]),
    }


_FORMATS = ("%Y-%m-%d", "%d.%m.%Y %H:%M", "%Y%m%dT%H%M%S.%L%z", "%G-W%V-%u", "%G-%V %H", "%Y-%m-%d%Z", "%H:%M", "%q",
            "%", "%Y-%m-%d %H:%M:%S%z", "%%%Y/%m/%d", "%u %Y-%m-%d")  # fmt: skip
_WRITTEN: dict[str, tuple[str, ...]] = {
    "Y": ("2020", "2021", "1999", "5", "0000"), "m": ("1", "02", "12", "13"), "d": ("1", "28", "29", "31", "00"),
    "H": ("0", "07", "23", "24"), "M": ("00", "59", "5", "60"), "S": ("00", "59", "60"), "L": ("5", "05", "999"),
    "z": ("Z", "+01:00", "-0330", "+5", "utc", "", "EST"), "Z": ("+60", "-90", "+", "60"), "G": ("2020", "1", "x2021"),
    "V": ("1", "53", "54"), "u": ("1", "7", "8"), "%": ("%",), "q": ("q",), "": ("",),
}  # fmt: skip
"""Texts for each letter of a format, most of them right."""


def _by_format(one: Expressions, _: int) -> Any:
    """A format and a text that follows it, now and then one that almost does."""
    chance = one.chance
    form = chance.choice(_FORMATS)
    first, *rest = form.replace("%%", "%\0").split("%")
    text = first + "".join(
        chance.choice(_WRITTEN[part[:1].replace("\0", "%")][: 2 if chance.random() < 0.8 else 9]) + part[1:]
        for part in rest
    )
    made: dict[str, Any] = {"dateString": {"$ifNull": ["$missing", one.literal(text)]}, "format": form}
    if chance.random() < 0.2:
        made["dateString"] = one.an("text")
    if chance.random() < 0.1:
        made["format"] = one.an("text")
    if chance.random() < 0.3:
        made["timezone"] = ZONES(one, 0)
    if chance.random() < 0.3:
        made["onError"] = one.an("any")
    return made


def _dates_needs(name: str) -> dict[str, Any]:
    return {name: _choice(2020, 2021, 1999, 2000.0, Int64(2024), 1, 9999, "$i", 0, 10000, 2020.5)}


def _optional(needs: dict[str, Any], **kinds: Any) -> Callable[[Expressions, int], Any]:
    return _named(tuple(kinds), **needs, **kinds)


OPERANDS: dict[str, Callable[[Expressions, int], Any]] = {
    # arithmetic
    **dict.fromkeys(("$abs", "$ceil", "$floor", "$sqrt", "$exp", "$ln", "$log10"), _args("number")),
    "$add": _either(
        _more("number", 0), _more("number"), lambda one, depth: [one.an("date", 0), one.an("number", depth)]
    ),
    "$subtract": _either(
        _args("number", "number"), _args("number", "number"), _args("date", "date"), _args("date", "number")
    ),
    "$multiply": _more("number", 0),
    **dict.fromkeys(("$divide", "$mod", "$log", "$pow", "$atan2"), _args("number", "number")),
    **dict.fromkeys(("$round", "$trunc"), _either(_args("number"), _args("number", "small"), _args("double", "small"))),
    # comparison, booleans, conditional
    **dict.fromkeys(
        ("$cmp", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte"),
        _either(_args("any", "any"), _args("number", "number"), _args("text", "text"), _args("array", "array")),
    ),
    **dict.fromkeys(("$and", "$or"), _more("any", 0)),
    "$not": lambda one, depth: [one.an("any", depth)],
    "$cond": _either(_args("bool", "any", "any"), _named(**{"if": "any", "then": "any", "else": "any"})),
    "$ifNull": _more("any", 2),
    "$switch": _switch,
    "$let": _let,
    "$literal": _choice(1, "$a", {"$add": [1, 2]}, [1, "$x"], None),
    "$const": _choice(1, "$a", [1]),
    # arrays
    "$arrayElemAt": _args("array", "small"),
    **dict.fromkeys(("$first", "$last", "$reverseArray", "$size"), lambda one, depth: _listed(one.an("array", depth))),
    "$isArray": lambda one, depth: [one.an("any", depth)],
    "$concatArrays": _more("array", 0),
    "$in": _args("any", "array"),
    "$indexOfArray": _either(
        _args("array", "small"), _args("array", "any", "small"), _args("numbers", "number", "small", "small")
    ),
    "$slice": _either(_args("array", "small"), _args("array", "small", "small")),
    "$map": _named(input="array", **{"in": lambda one, _: one.chance.choice(_EACH)}),
    "$filter": _named(("limit",), input="array", cond=lambda one, _: one.chance.choice(_EACH), limit="small"),
    "$reduce": _named(input="numbers", initialValue="any", **{"in": lambda one, _: one.chance.choice(_FOLD)}),
    "$zip": _zip,
    "$range": _range,
    "$sortArray": _named(
        input=_either(_args("array"), _args("objects"), _args("numbers"), _args("rows")), sortBy=_SORTS
    ),
    # sets
    **dict.fromkeys(("$setUnion", "$setIntersection"), _more("array", 0)),
    "$setEquals": _more("array", 2),
    **dict.fromkeys(("$setDifference", "$setIsSubset"), _args("array", "array")),
    **dict.fromkeys(("$allElementsTrue", "$anyElementTrue"), lambda one, depth: [one.an("array", depth)]),
    # objects
    "$objectToArray": _args("object"),
    "$arrayToObject": lambda one, depth: _listed(one.chance.choice([one.an("pairs", depth), {"$objectToArray": "$o"}])),
    "$mergeObjects": _either(_more("object", 0), lambda one, _: "$os"),
    "$getField": _either(_choice("a", "i", "o", "$$ROOT"), _named(field=_choice("a", "b"), input="object")),
    "$setField": _named(
        field=_choice("a", "z", {"$literal": "a"}), input="object", value=_either(_args("any"), _choice("$$REMOVE"))
    ),
    "$unsetField": _named(field=_choice("a", "z"), input="object"),
    # accumulators
    **dict.fromkeys(
        ("$sum", "$avg", "$max", "$min", "$stdDevPop", "$stdDevSamp"),
        _either(_more("number", 0), _args("numbers"), _args("numbers", "number"), _more("any")),
    ),
    **dict.fromkeys(("$firstN", "$lastN", "$maxN", "$minN"), _named(n="small", input="array")),
    # strings
    "$concat": _more("text", 0),
    **dict.fromkeys(("$toLower", "$toUpper"), _either(_args("text"), _args("any"), _args("number"))),
    "$strcasecmp": _either(_args("text", "text"), _args("any", "text")),
    **dict.fromkeys(("$strLenCP", "$strLenBytes"), _args("text")),
    **dict.fromkeys(
        ("$substr", "$substrBytes", "$substrCP"),
        _either(_args("text", "small", "small"), _args("any", "small", "small")),
    ),
    **dict.fromkeys(
        ("$indexOfCP", "$indexOfBytes"),
        _either(_args("text", "text"), _args("text", "letter", "small"), _args("text", "letter", "small", "small")),
    ),
    "$split": _either(_args("text", "letter"), _args("text", "text")),
    **dict.fromkeys(("$trim", "$ltrim", "$rtrim"), _named(("chars",), input="text", chars=_CHARS)),
    **dict.fromkeys(("$replaceOne", "$replaceAll"), _named(input="text", find="letter", replacement="text")),
    # types
    **dict.fromkeys(("$type", "$isNumber"), lambda one, depth: [one.an("any", depth)]),
    "$convert": _named(("onError", "onNull"), input="any", to=_TYPES, onError="any", onNull="any"),
    **dict.fromkeys(
        ("$toInt", "$toLong", "$toDouble", "$toDecimal", "$toBool", "$toString", "$toDate"),
        _either(*(_args(kind) for kind in ("number", "text", "any", "date", "bool", "oid"))),
    ),
    "$toObjectId": _either(_args("oid"), _choice("5f5f5f5f5f5f5f5f5f5f5f5f", "$s", {"$toString": "$k"})),
    "$binarySize": _either(_args("text"), _args("any")),
    "$bsonSize": _args("object"),
    **dict.fromkeys(("$tsSecond", "$tsIncrement"), _args("stamp")),
    "$regexMatch": _named(("options",), input="text", regex=_PATTERNS, options=_OPTIONS),
    **dict.fromkeys(
        ("$regexFind", "$regexFindAll"), _named(("options",), input="text", regex=_PATTERNS, options=_OPTIONS)
    ),
    # dates
    **dict.fromkeys(PARTS, _either(lambda one, depth: one.an("date", depth), _dated())),
    "$dateToParts": _either(_dated(), _dated(iso8601="bool")),
    "$dateFromParts": _either(
        _optional(
            _dates_needs("year"),
            month="small",
            day="small",
            hour="small",
            minute="int",
            second="int",
            millisecond="int",
            timezone=ZONES,
        ),
        _optional(_dates_needs("isoWeekYear"), isoWeek="small", isoDayOfWeek="small", hour="small", timezone=ZONES),
    ),
    "$dateToString": _dated(
        format=_choice("%Y-%m-%d", "%H:%M:%S.%L %z", "%G-W%V-%u %j %U %w %%", "%Z", "%b", "%", "$s"), onNull="any"
    ),
    "$dateFromString": _either(
        _named(
            ("onError", "onNull", "timezone"),
            dateString=_choice("$x", "$s", "2020-02-29T12:30:15.5Z", "2021-03-28", "2021-03-28T02:30:00+02:00"),
            onError="any",
            onNull="any",
            timezone=ZONES,
        ),
        _by_format,
        _by_format,
    ),
    **dict.fromkeys(
        ("$dateAdd", "$dateSubtract"),
        _dated("startDate", unit=UNITS_, amount=_either(_args_small, lambda one, _: "$l")),
    ),
    "$dateDiff": _either(
        _dated("startDate", endDate="date", unit=UNITS_, startOfWeek=DAYS_),
        _dated("startDate", endDate="date", unit=UNITS_, startOfWeek=DAYS_),
        _hours_apart,
    ),
    "$dateTrunc": _dated("date", unit=UNITS_, binSize="small", startOfWeek=DAYS_),
    # trigonometry
    **dict.fromkeys(
        (
            "$sin",
            "$cos",
            "$tan",
            "$asin",
            "$acos",
            "$atan",
            "$sinh",
            "$cosh",
            "$tanh",
            "$asinh",
            "$acosh",
            "$atanh",
            "$degreesToRadians",
            "$radiansToDegrees",
        ),
        _either(_args("number"), _args("double"), _args("double")),
    ),
}


def _listed(value: Any) -> Any:
    return [value]


GIVES: dict[str, list[str]] = {
    "number": ["$add", "$multiply", "$divide", "$abs", "$floor", "$cond", "$max", "$sum", "$toInt", "$size"],
    "int": ["$size", "$cmp", "$strLenCP"],
    "double": ["$toDouble", "$avg"],
    "text": ["$concat", "$toLower", "$toString", "$substrCP", "$type"],
    "array": ["$concatArrays", "$map", "$filter", "$setUnion", "$slice", "$split", "$reverseArray"],
    "numbers": ["$concatArrays", "$range", "$map"],
    "object": ["$mergeObjects", "$setField", "$literal"],
    "bool": ["$gt", "$eq", "$and", "$not", "$in", "$isArray"],
    "any": ["$ifNull", "$cond", "$let", "$arrayElemAt", "$getField", "$convert"],
    "date": ["$toDate"],
}
"""By kind, what mostly gives it."""
