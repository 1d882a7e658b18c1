"""Corners of conversions."""

from __future__ import annotations

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from realtime.core.bson.values import MISSING
from tests.core.mql.expressions.corners import DATE, FAR, HALF, INF, LEAST, NAN, Case, Failure, date, of

CASES: list[Case] = [
    # types
    (of("$type", "a"), {}, "missing"),
    (of("$type", "a"), {"a": Int64(1)}, "long"),
    ({"$isNumber": "$a"}, {"a": True}, False),
    ({"$toInt": "$a"}, {"a": -1.9}, -1),
    ({"$toInt": "$a"}, {"a": Decimal128("2.5")}, 2),
    ({"$toInt": "$a"}, {"a": "+5"}, 5),
    ({"$toInt": "$a"}, {"a": True}, 1),
    ({"$toInt": "$a"}, {"a": Int64(7)}, 7),
    ({"$toInt": "$a"}, {}, None),
    ({"$toLong": "$a"}, {"a": HALF}, Int64(1577836800500)),
    ({"$toLong": "$a"}, {"a": "-9223372036854775808"}, LEAST),
    ({"$toDouble": "$a"}, {"a": "-infinity"}, -INF),
    ({"$toDouble": "$a"}, {"a": "nan"}, NAN),
    ({"$toDouble": "$a"}, {"a": "5."}, 5.0),
    ({"$toDouble": "$a"}, {"a": 5}, 5.0),
    ({"$toDouble": "$a"}, {"a": "0e-400"}, 0.0),
    ({"$toDouble": "$a"}, {"a": Decimal128("1.5")}, 1.5),
    ({"$toDouble": "$a"}, {"a": HALF}, 1577836800500.0),
    ({"$toDecimal": "$a"}, {"a": 1.0}, Decimal128("1.00000000000000")),
    ({"$toDecimal": "$a"}, {"a": 9.999999999999999e22}, Decimal128("1.00000000000000E+23")),
    ({"$toDecimal": "$a"}, {"a": -0.0}, Decimal128("-0")),
    ({"$toDecimal": "$a"}, {"a": -INF}, Decimal128("-Infinity")),
    ({"$toDecimal": "$a"}, {"a": NAN}, Decimal128("NaN")),
    ({"$toDecimal": "$a"}, {"a": True}, Decimal128("1")),
    ({"$toDecimal": "$a"}, {"a": "+1.50"}, Decimal128("1.50")),
    ({"$toDecimal": "$a"}, {"a": "inf"}, Decimal128("Infinity")),
    ({"$toDecimal": "$a"}, {"a": "nan"}, Decimal128("NaN")),
    ({"$toDecimal": "$a"}, {"a": HALF}, Decimal128("1577836800500")),
    ({"$toDecimal": "$a"}, {"a": Decimal128("1.50")}, Decimal128("1.50")),
    ({"$toBool": "$a"}, {"a": "false"}, True),
    ({"$toBool": "$a"}, {"a": NAN}, True),
    ({"$toBool": "$a"}, {"a": MaxKey()}, True),
    ({"$toString": "$a"}, {"a": 1e21}, "1e+21"),
    ({"$toString": "$a"}, {"a": 1e15}, "1000000000000000"),
    ({"$toString": "$a"}, {"a": 1e-5}, "1e-05"),
    ({"$toString": "$a"}, {"a": -0.0}, "-0"),
    ({"$toString": "$a"}, {"a": -INF}, "-Infinity"),
    ({"$toString": "$a"}, {"a": INF}, "Infinity"),
    ({"$toString": "$a"}, {"a": NAN}, "NaN"),
    ({"$toString": "$a"}, {"a": "x"}, "x"),
    ({"$toString": "$a"}, {"a": True}, "true"),
    ({"$toString": "$a"}, {"a": 12}, "12"),
    ({"$toString": "$a"}, {"a": ObjectId("5f" * 12)}, "5f" * 12),
    ({"$toString": "$a"}, {"a": Decimal128("0.00000001")}, "1E-8"),
    ({"$toObjectId": "$a"}, {"a": "5f" * 12}, ObjectId("5f" * 12)),
    ({"$toObjectId": "$a"}, {"a": ObjectId("5f" * 12)}, ObjectId("5f" * 12)),
    ({"$toDate": "$a"}, {"a": ObjectId("5f" * 12)}, date(1600085855000)),
    ({"$toDate": "$a"}, {"a": Timestamp(1, 2)}, date(1000)),
    ({"$toDate": "$a"}, {"a": -1.9}, date(-1)),
    ({"$toDate": "$a"}, {"a": HALF}, HALF),
    ({"$toDate": "$a"}, {"a": "2020-01-01T00:00:00+01:00"}, date(1577833200000)),
    ({"$convert": {"input": "$a", "to": "int", "onNull": "$b"}}, {}, MISSING),
    ({"$convert": {"input": "$a", "to": "int", "onError": "$b"}}, {"a": "abc"}, MISSING),
    ({"$convert": {"input": "$a", "to": "$b"}}, {"a": 1}, None),
    ({"$convert": {"input": "$a", "to": "null", "onError": 4}}, {"a": 1}, 4),
    ({"$convert": {"input": "$a", "to": 16}}, {"a": 1.5}, 1),
]

FAILING: list[Failure] = [
    ({"$toInt": "$a"}, {"a": 3e9}),
    ({"$toInt": "$a"}, {"a": NAN}),
    ({"$toInt": "$a"}, {"a": Decimal128("NaN")}),
    ({"$toInt": "$a"}, {"a": Decimal128("1E+6000")}),
    ({"$toInt": "$a"}, {"a": "1.5"}),
    ({"$toInt": "$a"}, {"a": DATE}),
    ({"$toDouble": "$a"}, {"a": "1e400"}),
    ({"$toDouble": "$a"}, {"a": "x"}),
    ({"$toDouble": "$a"}, {"a": Decimal128("1E+6000")}),
    ({"$toDouble": "$a"}, {"a": []}),
    ({"$toDecimal": "$a"}, {"a": "1e7000"}),
    ({"$toDecimal": "$a"}, {"a": "1e-7000"}),
    ({"$toDecimal": "$a"}, {"a": "x"}),
    ({"$toDecimal": "$a"}, {"a": []}),
    ({"$toString": "$a"}, {"a": []}),
    ({"$convert": {"input": "$a", "to": "string", "onError": 1}}, {"a": FAR}),
    ({"$toObjectId": "$a"}, {"a": "5f"}),
    ({"$toObjectId": "$a"}, {"a": 5}),
    ({"$toDate": "$a"}, {"a": 5}),
    ({"$convert": {"input": "$a", "to": "$b"}}, {"a": 1, "b": "nothing"}),
    ({"$convert": {"input": "$a", "to": "$b"}}, {"a": 1, "b": 1.5}),
    ({"$convert": {"input": "$a", "to": "$b"}}, {"a": 1, "b": 99}),
    ({"$convert": {"input": "$a", "to": "array"}}, {"a": 1}),
]
