"""Corners of dates."""

from __future__ import annotations

from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from tests.core.mql.expressions.corners import DATE, FAR, LEAST, MOST, Case, Failure, date


def apart(unit: str, **more: Any) -> dict[str, Any]:
    return {"$dateDiff": {"startDate": "$a", "endDate": "$b", "unit": unit, **more}}


def read(form: Any, **more: Any) -> dict[str, Any]:
    return {"$dateFromString": {"dateString": "$a", "format": form, **more}}


MILLIS = 9_223_372_036_854_775
"""Their microseconds are just 64 bits."""

CASES: list[Case] = [
    # dates
    (
        {"$dateAdd": {"startDate": "$a", "unit": "millisecond", "amount": 1}},
        {"a": DatetimeMS(-(2**63))},
        DatetimeMS(1 - 2**63),
    ),
    (
        {"$dateAdd": {"startDate": "$a", "unit": "second", "amount": 1}},
        {"a": DatetimeMS(808 - 2**63)},
        DatetimeMS(1808 - 2**63),
    ),
    ({"$year": "$a"}, {"a": FAR}, 10000),
    ({"$year": ["$a"]}, {"a": ObjectId("5f" * 12)}, 2020),
    ({"$year": {"date": "$a", "timezone": None}}, {"a": DATE}, None),
    ({"$hour": {"date": "$a", "timezone": "+0530"}}, {"a": DATE}, 7),
    ({"$week": "$a"}, {"a": DATE}, 13),
    ({"$isoWeek": "$a"}, {"a": DATE}, 12),
    ({"$isoWeekYear": "$a"}, {"a": DATE}, Int64(2021)),
    ({"$dayOfWeek": "$a"}, {"a": DATE}, 1),
    ({"$isoDayOfWeek": "$a"}, {"a": DATE}, 7),
    ({"$dayOfYear": "$a"}, {"a": DATE}, 87),
    ({"$millisecond": "$a"}, {"a": DATE}, 123),
    ({"$minute": "$a"}, {}, None),
    (
        {"$dateToParts": {"date": "$a", "iso8601": True}},
        {"a": DATE},
        {
            "isoWeekYear": 2021,
            "isoWeek": 12,
            "isoDayOfWeek": 7,
            "hour": 1,
            "minute": 30,
            "second": 0,
            "millisecond": 123,
        },
    ),
    ({"$dateToParts": {"date": "$a"}}, {}, None),
    (
        {"$dateToParts": {"date": "$a"}},
        {"a": Timestamp(1, 2)},
        {"year": 1970, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 1, "millisecond": 0},
    ),
    ({"$dateToParts": {"date": "$a", "timezone": None}}, {"a": 5}, None),
    ({"$dateToParts": {"date": "$a", "iso8601": None}}, {"a": 5}, None),
    ({"$dateFromParts": {"year": "$y", "month": 14, "day": -3, "hour": 30}}, {"y": 2020}, date(1611900000000)),
    ({"$dateFromParts": {"year": 1970, "millisecond": "$y"}}, {"y": 2.0**53}, DatetimeMS(2**53)),
    ({"$dateFromParts": {"year": 1970, "millisecond": "$y"}}, {"y": Int64(MILLIS)}, DatetimeMS(MILLIS)),
    ({"$dateFromParts": {"year": 1970, "millisecond": "$y"}}, {"y": Int64(-MILLIS)}, DatetimeMS(-MILLIS)),
    ({"$dateFromParts": {"isoWeekYear": "$y"}}, {"y": 2020}, date(1577664000000)),
    ({"$dateFromParts": {"year": "$y", "month": "$m"}}, {"y": 40000}, None),
    ({"$dateFromParts": {"year": "$y", "hour": "$h"}}, {"y": "x"}, None),
    ({"$dateFromParts": {"year": "$y", "timezone": None}}, {"y": "x"}, None),
    ({"$dateFromParts": {"year": "$y", "hour": "$h", "timezone": None}}, {"y": "x", "h": 5}, None),
    ({"$dateToString": {"date": "$a"}}, {"a": DATE}, "2021-03-28T01:30:00.123Z"),
    ({"$dateToString": {"date": "$a", "timezone": "+01"}}, {"a": DATE}, "2021-03-28T02:30:00.123Z"),
    (
        {"$dateToString": {"date": "$a", "format": "%Y|%m|%d|%H|%M|%S|%L|%j|%u|%w|%U|%V|%G|%z|%Z|%%"}},
        {"a": DATE},
        "2021|03|28|01|30|00|123|087|7|1|13|12|2021|+0000|0|%",
    ),
    ({"$dateToString": {"date": "$a", "format": "%z|%Z", "timezone": "-03:30"}}, {"a": DATE}, "-0330|-210"),
    ({"$dateToString": {"date": "$a", "onNull": 4}}, {}, 4),
    ({"$dateToString": {"date": "$a", "format": "$f"}}, {"a": DATE}, None),
    ({"$dateFromString": {"dateString": "$a"}}, {"a": "2020-01-01"}, date(1577836800000)),
    ({"$dateFromString": {"dateString": "$a", "onNull": 1}}, {}, 1),
    ({"$dateFromString": {"dateString": "$a", "onError": 1}}, {"a": 5}, 1),
    ({"$dateFromString": {"dateString": "$a", "timezone": None}}, {"a": "2020-01-01T00:00"}, None),
    ({"$dateFromString": {"dateString": "$a", "timezone": "+00:00"}}, {"a": "2020-01-01T00:00Z"}, date(1577836800000)),
    ({"$dateFromString": {"dateString": "$a", "timezone": "+01"}}, {"a": "2020-01-01"}, date(1577833200000)),
    ({"$dateFromString": {"dateString": "$a", "timezone": None, "onError": 1}}, {"a": 5}, 1),
    (read("%Y-%m-%d"), {"a": "2020-1-2"}, date(1577923200000)),
    (read("%Y-%m-%d"), {"a": "20-1-2"}, date(-61535980800000)),
    (read("%d.%m.%Y, %H:%M:%S.%L"), {"a": "29.02.2020, 9:08:07.05"}, date(1582967287050)),
    (read("%Y%m%d%H%M%S%L%z"), {"a": "20200102030405006+0130"}, date(1577928845006)),
    (read("%Y-%m-%d%z"), {"a": "2020-01-02+130"}, date(1577917800000)),
    (read("%Y-%m-%d%z"), {"a": "2020-01-02utc"}, date(1577923200000)),
    (read("%Y-%m-%d%Z"), {"a": "2020-01-02-60"}, date(1577926800000)),
    (read("%Y-%m-%d%Z"), {"a": "2020-01-02+"}, date(1577923200000)),
    (read("%%%Y-%m-%d"), {"a": "%2020-01-02"}, date(1577923200000)),
    (read("%G-W%V-%u"), {"a": "2021-W53-7"}, date(1641686400000)),
    (read("%G"), {"a": "2020"}, date(1577664000000)),
    (read("%G-%V"), {"a": "-2021-x18"}, date(1620000000000)),
    (read("%Y-%m-%d", timezone="-02"), {"a": "2020-01-02"}, date(1577930400000)),
    (read("%Y-%m-%d%z", timezone="+00:00"), {"a": "2020-01-02+01"}, date(1577919600000)),
    (read("%Y-%m-%d", onError=1), {"a": "2020-02-30"}, 1),
    (read("%H", onError=1), {"a": "1"}, 1),
    (read(None), {"a": "2020-01-01"}, None),
    (read(None, onError=1), {"a": 5}, 1),
    (read(None, onNull=1), {}, 1),
    (read("%Y", timezone=None, onError=1), {"a": "x"}, None),
    ({"$dateAdd": {"startDate": "$a", "unit": "month", "amount": 1}}, {"a": date(1580428800000)}, date(1582934400000)),
    ({"$dateAdd": {"startDate": "$a", "unit": "year", "amount": 1}}, {"a": date(1582934400000)}, date(1614470400000)),
    ({"$dateAdd": {"startDate": "$a", "unit": "day", "amount": -1}}, {"a": date(0)}, date(-86400000)),
    ({"$dateAdd": {"startDate": "$a", "unit": "hour", "amount": 1}}, {"a": date(-500)}, date(3598500)),
    ({"$dateAdd": {"startDate": "$a", "unit": "month", "amount": 6}}, {"a": date(-315619199999)}, date(-299808000999)),
    ({"$dateSubtract": {"startDate": "$a", "unit": "second", "amount": 1}}, {"a": date(0)}, date(-1000)),
    ({"$dateAdd": {"startDate": "$a", "unit": "hour", "amount": 1}}, {}, None),
    (apart("year"), {"a": date(-1), "b": date(0)}, Int64(1)),
    (
        {"$dateDiff": {"startDate": "$a", "endDate": "$b", "unit": "week"}},
        {"a": date(0), "b": date(259200000)},
        Int64(1),
    ),
    (apart("day"), {"a": date(-1), "b": date(0)}, Int64(1)),
    (apart("hour"), {"a": date(-1), "b": date(0)}, Int64(1)),
    (apart("second"), {"a": date(-1), "b": date(0)}, Int64(1)),
    (
        {"$dateDiff": {"startDate": "$a", "endDate": "$b", "unit": "millisecond"}},
        {"a": date(-1), "b": date(1)},
        Int64(2),
    ),
    (
        {"$dateDiff": {"startDate": "$a", "endDate": "$b", "unit": "week", "startOfWeek": "$w"}},
        {"a": DATE, "b": DATE},
        None,
    ),
    (apart("day"), {"a": DATE}, None),
    ({"$dateDiff": {"startDate": "$a", "endDate": {"$divide": [1, "$z"]}, "unit": "day"}}, {"z": 0}, None),
    ({"$dateTrunc": {"date": "$a", "unit": "week"}}, {"a": DATE}, date(1616889600000)),
    ({"$dateTrunc": {"date": "$a", "unit": "week", "startOfWeek": "Mon"}}, {"a": DATE}, date(1616371200000)),
    ({"$dateTrunc": {"date": "$a", "unit": "minute", "binSize": 7}}, {"a": DATE}, date(1616894760000)),
    ({"$dateTrunc": {"date": "$a", "unit": "quarter"}}, {"a": DATE}, date(1609459200000)),
    ({"$dateTrunc": {"date": "$a", "unit": "week", "startOfWeek": "$w"}}, {"a": DATE}, None),
    ({"$dateTrunc": {"date": "$a", "unit": "day"}}, {}, None),
    ({"$dateTrunc": {"date": "$a", "unit": "day", "binSize": 2}}, {"a": DATE}, date(1616803200000)),
    *(
        ({"$dateTrunc": {"date": "$a", "unit": unit, "binSize": size}}, {"a": DATE}, date(946684800000))
        for unit, size in (("millisecond", 2**62), ("second", 2**53 + 1), ("minute", 10**13), ("hour", 10**11 + 1))
    ),
]

FAILING: list[Failure] = [
    *(
        ({"$dateAdd": {"startDate": "$a", "unit": "second", "amount": one}}, {"a": DatetimeMS(at - 2**63)})
        for at, one in ((0, 1), (193, 1), (1000, 0))
    ),
    ({"$dateFromParts": {"year": 1970, "second": "$y"}}, {"y": Int64(2**62)}),
    *(
        ({"$dateFromParts": {"year": 1970, "millisecond": "$y"}}, {"y": Int64(one)})
        for one in (MILLIS + 1, -MILLIS - 1)
    ),
    (read("%Y-%m-%d"), {"a": "2020-1-"}),
    (read("%Y-%m-%d"), {"a": " 2020-1-2"}),
    (read("%Y-%m-%d"), {"a": "2020-1-2 "}),
    (read("%Y-%m-%d"), {"a": "2020-13-02"}),
    (read("%Y-%m-%d"), {"a": "2020-02-30"}),
    (read("%Y-%m-%d"), {"a": "2020--1-2"}),
    (read("%Y-%m-%d"), {"a": ""}),
    (read("%Y-%m-%d %H"), {"a": "2020-01-02 24"}),
    (read("%Y-%m-%d %M"), {"a": "2020-01-02 1"}),
    (read("%Y-%m-%d %S"), {"a": "2020-01-02 60"}),
    (read("%Y-%m-%d%Z"), {"a": "2020-01-0260"}),
    (read("x%Y-%m-%d"), {"a": "y2020-01-02"}),
    (read("%Y-%m-%d%z"), {"a": "2020-01-02"}),
    (read("%G-%V"), {"a": "2020-54"}),
    (read("%G-%u"), {"a": "2020-8"}),
    (read("%V-%u"), {"a": "1-1"}),
    (read("%Y-%m"), {"a": "2020-01"}),
    (read("%Y-%m-%d %u"), {"a": "2020-01-02 1"}),
    (read("%G"), {"a": "x"}),
    (read("x"), {"a": "x"}),
    (read({"$ifNull": ["$f", "%q"]}, onError=1), {"a": "2020"}),
    (read("$f"), {"f": "%"}),
    (read("$f", onError=1), {"a": "2020", "f": 5}),
    *((read("%Y-%m-%d%z", timezone=zone), {"a": "2020-01-02Z"}) for zone in ("UTC", "GMT", "+02")),
    ({"$dateFromString": {"dateString": "$a", "timezone": None}}, {"a": 5}),
    ({"$dateDiff": {"startDate": "$a", "endDate": "$a", "unit": "week", "startOfWeek": "$u"}}, {"a": DATE, "u": 5}),
    ({"$year": "$a"}, {"a": "2020"}),
    ({"$dateToParts": {"date": "$a", "iso8601": "$b"}}, {"a": DATE, "b": 1}),
    ({"$dateFromParts": {"year": "$a"}}, {"a": 10000}),
    ({"$dateFromParts": {"year": 1970, "millisecond": "$a", "second": "$a"}}, {"a": MOST}),
    ({"$dateFromParts": {"year": "$a"}}, {"a": 2020.5}),
    ({"$dateFromParts": {"year": "$a", "month": 40000}}, {"a": 2020}),
    ({"$dateToString": {"date": "$a", "format": "$b"}}, {"a": DATE, "b": "%b"}),
    ({"$dateToString": {"date": "$a", "format": "$b"}}, {"a": DATE, "b": "%"}),
    ({"$dateToString": {"date": "$a", "format": "$b"}}, {"a": DATE, "b": 5}),
    ({"$dateToString": {"date": "$a", "format": "%Y"}}, {"a": FAR}),
    ({"$dateFromString": {"dateString": "$a"}}, {"a": 5}),
    ({"$dateAdd": {"startDate": "$a", "unit": "$u", "amount": 1}}, {"a": DATE, "u": "x"}),
    ({"$dateAdd": {"startDate": "$a", "unit": "day", "amount": "$u"}}, {"a": DATE, "u": 1.5}),
    ({"$dateAdd": {"startDate": "$a", "unit": "day", "amount": "$u"}}, {"a": DATE, "u": MOST}),
    ({"$dateAdd": {"startDate": "$a", "unit": "millisecond", "amount": "$u"}}, {"a": DATE, "u": MOST}),
    ({"$dateSubtract": {"startDate": "$a", "unit": "day", "amount": "$u"}}, {"a": DATE, "u": LEAST}),
    ({"$dateDiff": {"startDate": "$a", "endDate": "$a", "unit": "week", "startOfWeek": "$u"}}, {"a": DATE, "u": "x"}),
    (
        {"$dateDiff": {"startDate": "$a", "endDate": "$b", "unit": "millisecond"}},
        {"a": DatetimeMS(-(2**63)), "b": DATE},
    ),
    ({"$dateTrunc": {"date": "$a", "unit": "day", "binSize": "$u"}}, {"a": DATE, "u": 0}),
    ({"$dateTrunc": {"date": "$a", "unit": "day", "binSize": "$u"}}, {"a": DATE, "u": MOST}),
    *(
        ({"$dateTrunc": {"date": "$a", "unit": unit, "binSize": "$u"}}, {"a": DATE, "u": Int64(size)})
        for unit, size in (("second", 2**62), ("minute", 2**53 + 1), ("hour", 10**13), ("day", 10**11 + 1))
    ),
    ({"$dateTrunc": {"date": "$a", "unit": "year"}}, {"a": DatetimeMS(-(2**63))}),
]
