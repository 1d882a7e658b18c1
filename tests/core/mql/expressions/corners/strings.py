"""Corners of strings, regular expressions, sizes and timestamps."""

from __future__ import annotations

from bson.code import Code
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.regex import Regex
from bson.timestamp import Timestamp

from realtime.core.bson.stored import Symbol
from tests.core.mql.expressions.corners import FAR, HALF, INF, NAN, Case, Failure, of

CASES: list[Case] = [
    # strings
    ({"$concat": ["$a", "$b"]}, {"a": "x"}, None),
    (of("$toLower", "a"), {"a": "ÀB"}, "Àb"),
    (of("$toLower", "a"), {"a": INF}, "inf"),
    (of("$toUpper", "a"), {"a": Code("f()")}, "F()"),
    (of("$toUpper", "a"), {"a": Symbol("x")}, "X"),
    (of("$toUpper", "a"), {}, ""),
    (of("$toLower", "a"), {"a": Timestamp(1, 2)}, "jan  1 00:00:01:2"),
    (of("$toLower", "a"), {"a": HALF}, "2020-01-01t00:00:00.500z"),
    (of("$toLower", "a"), {"a": Decimal128("1E+30")}, "1e+30"),
    (of("$strcasecmp", "a", "b"), {"a": "ab", "b": "AB"}, 0),
    (of("$strLenCP", "a"), {"a": "日é"}, 2),
    (of("$strLenBytes", "a"), {"a": "日é"}, 5),
    (of("$substrCP", "a", "b", "c"), {"a": "日é本", "b": 1, "c": 5}, "é本"),
    (of("$substr", "a", "b", "c"), {"a": "日本", "b": 3, "c": -1}, "本"),
    (of("$substr", "a", "b", "c"), {"a": "abc", "b": 5.9, "c": Decimal128("9")}, ""),
    (of("$substr", "a", "b", "c"), {"a": "abc", "b": 1.9, "c": 1}, "b"),
    (of("$substr", "a", "b", "c"), {"a": "abc", "b": 0, "c": Decimal128("NaN")}, "abc"),
    (of("$indexOfCP", "a", "b"), {"a": "日本", "b": "本"}, 1),
    (of("$indexOfBytes", "a", "b"), {"a": "日本", "b": "本"}, 3),
    (of("$indexOfCP", "a", "b", "c"), {"a": "abc", "b": "a", "c": 9}, -1),
    (of("$indexOfCP", "a", "b"), {}, None),
    (of("$indexOfCP", "a", "b"), {"a": "", "b": ""}, 0),
    (of("$indexOfCP", "a", "b", "c"), {"a": "abc", "b": "", "c": 3}, -1),
    (of("$indexOfCP", "a", "b", "c", "d"), {"a": "abc", "b": "bc", "c": 0, "d": 2}, 1),
    (of("$indexOfCP", "a", "b", "c", "d"), {"a": "abc", "b": "c", "c": 0, "d": 2}, -1),
    (of("$indexOfBytes", "a", "b", "c", "d"), {"a": "abc", "b": "bc", "c": 0, "d": 2}, -1),
    (of("$indexOfBytes", "a", "b", "c"), {"a": "abc", "b": "", "c": 3}, 3),
    (of("$indexOfBytes", "a", "b", "c"), {"a": "abc", "b": "", "c": 4}, -1),
    (of("$split", "a", "b"), {"a": "a,,b", "b": ","}, ["a", "", "b"]),
    (of("$split", "a", "b"), {"a": "a"}, None),
    ({"$trim": {"input": "$a"}}, {"a": " \t\u2003x\0 "}, "x"),
    ({"$ltrim": {"input": "$a", "chars": "ab"}}, {"a": "abba-a"}, "-a"),
    ({"$rtrim": {"input": "$a", "chars": "$b"}}, {"a": "x"}, None),
    ({"$rtrim": {"input": "$a"}}, {"a": " x "}, " x"),
    ({"$trim": {"input": "$a"}}, {}, None),
    ({"$trim": {"input": "$a", "chars": ""}}, {"a": " x"}, " x"),
    ({"$replaceOne": {"input": "$a", "find": "a", "replacement": "b"}}, {"a": "aa"}, "ba"),
    ({"$replaceAll": {"input": "$a", "find": "a", "replacement": "b"}}, {"a": "aa"}, "bb"),
    ({"$replaceAll": {"input": "$a", "find": "$b", "replacement": "b"}}, {"a": "aa"}, None),
    ({"$regexMatch": {"input": "$a", "regex": "^A", "options": "i"}}, {"a": "ab"}, True),
    ({"$regexMatch": {"input": "$a", "regex": Regex("^A", "i")}}, {"a": "ab"}, True),
    ({"$regexMatch": {"input": "$a", "regex": "a"}}, {}, False),
    ({"$regexMatch": {"input": "$a", "regex": None}}, {"a": "a"}, False),
    ({"$regexFind": {"input": "$a", "regex": "a"}}, {}, None),
    ({"$regexFindAll": {"input": "$a", "regex": "a"}}, {}, []),
    ({"$regexFind": {"input": "$a", "regex": None}}, {"a": "a"}, None),
    ({"$regexFindAll": {"input": "$a", "regex": None}}, {"a": "a"}, []),
    ({"$regexFind": {"input": "$a", "regex": "x"}}, {"a": "a"}, None),
    ({"$regexFind": {"input": "$a", "regex": "b(.)?"}}, {"a": "é日b"}, {"match": "b", "idx": 2, "captures": [None]}),
    (
        {"$regexFind": {"input": "$a", "regex": "(A)|(B)", "options": "i"}},
        {"a": "b"},
        {"match": "b", "idx": 0, "captures": [None, "b"]},
    ),
    (
        {"$regexFind": {"input": "$a", "regex": Regex("^b$", "m")}},
        {"a": "a\nb\n"},
        {"match": "b", "idx": 2, "captures": []},
    ),
    (
        {"$regexFindAll": {"input": "$a", "regex": "é(.)"}},
        {"a": "aé日é😀"},
        [{"match": "é日", "idx": 1, "captures": ["日"]}, {"match": "é😀", "idx": 3, "captures": ["😀"]}],
    ),
    (
        {"$regexFindAll": {"input": "$a", "regex": "a*"}},
        {"a": "baac"},
        [
            {"match": "", "idx": 0, "captures": []},
            {"match": "aa", "idx": 1, "captures": []},
            {"match": "", "idx": 3, "captures": []},
        ],
    ),
    (
        {"$regexFindAll": {"input": "$a", "regex": ""}},
        {"a": "é日😀"},
        [
            {"match": "", "idx": 0, "captures": []},
            {"match": "", "idx": 1, "captures": []},
            {"match": "", "idx": 2, "captures": []},
        ],
    ),
    ({"$regexFindAll": {"input": "$a", "regex": ""}}, {"a": ""}, [{"match": "", "idx": 0, "captures": []}]),
    (
        {"$regexFindAll": {"input": "$a", "regex": "(?:(a)|(b)|c)+"}},
        {"a": "abc"},
        [{"match": "abc", "idx": 0, "captures": ["a", "b"]}],
    ),
    ({"$regexFind": {"input": "$a", "regex": "(a$)"}}, {"a": "a\n"}, {"match": "a", "idx": 0, "captures": ["a"]}),
    ({"$regexFind": {"input": "$a", "regex": "a($)"}}, {"a": "a\n"}, {"match": "a", "idx": 0, "captures": [""]}),
    ({"$regexFind": {"input": "$a", "regex": "a\n??$"}}, {"a": "a\n"}, {"match": "a", "idx": 0, "captures": []}),
    ({"$regexFind": {"input": "$a", "regex": "a\n?$"}}, {"a": "a\n"}, {"match": "a\n", "idx": 0, "captures": []}),
    ({"$regexFindAll": {"input": "$a", "regex": "^a"}}, {"a": "aa"}, [{"match": "a", "idx": 0, "captures": []}]),
    ({"$regexFind": {"input": "$a", "regex": "a{2,3}?"}}, {"a": "aaa"}, {"match": "aa", "idx": 0, "captures": []}),
    ({"$binarySize": "$a"}, {"a": b"abc"}, 3),
    ({"$binarySize": "$a"}, {"a": "é"}, 2),
    ({"$binarySize": "$a"}, {}, None),
    ({"$bsonSize": "$a"}, {"a": {"x": 1}}, 12),
    ({"$bsonSize": "$a"}, {}, None),
    ({"$tsSecond": "$a"}, {"a": Timestamp(5, 6)}, Int64(5)),
    ({"$tsIncrement": "$a"}, {"a": Timestamp(5, 6)}, Int64(6)),
    ({"$tsIncrement": "$a"}, {}, None),
]

FAILING: list[Failure] = [
    *(({name: {"input": "$a", "regex": "a"}}, {"a": 5}) for name in ("$regexMatch", "$regexFind", "$regexFindAll")),
    *(({name: {"input": "$a", "regex": None}}, {"a": 5}) for name in ("$regexMatch", "$regexFind", "$regexFindAll")),
    (of("$substr", "a", "b", "c"), {"a": "abc", "b": NAN, "c": 1}),
    (of("$substr", "a", "b", "c"), {"a": "abc", "b": 0, "c": 1e300}),
    ({"$concat": ["$a", "$b"]}, {"a": "x", "b": 5}),
    (of("$toLower", "a"), {"a": True}),
    (of("$toLower", "a"), {"a": FAR}),
    (of("$substr", "a", "b", "c"), {"a": "é", "b": 1, "c": 1}),
    (of("$substr", "a", "b", "c"), {"a": "é", "b": 0, "c": 1}),
    (of("$substr", "a", "b", "c"), {"a": "abc", "b": -1, "c": 1}),
    (of("$substr", "a", "b", "c"), {"a": "abc", "b": "x", "c": 1}),
    (of("$substrCP", "a", "b", "c"), {"a": "abc", "b": -1, "c": 1}),
    (of("$indexOfCP", "a", "b", "c"), {"a": "abc", "b": "b", "c": -1}),
    (of("$split", "a", "b"), {"a": "abc", "b": ""}),
    ({"$binarySize": "$a"}, {"a": 5}),
    ({"$bsonSize": "$a"}, {"a": 5}),
    ({"$tsSecond": "$a"}, {"a": 5}),
]
