"""Values: every type there and back, the golden files, and bytes that nobody should have written."""

from __future__ import annotations

import gc
import math
import random
import struct
from collections import OrderedDict, namedtuple
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from zoneinfo import ZoneInfo

import pytest
from conftest import golden
from script import same

from concord_kv import Atom, InvalidValueError, Struct, ValueTooLargeError
from concord_kv._native import decode, encode

# What Python's own classes cannot tell apart or cannot hold, and why.
NOT_EXACT = {
    "map_float_and_int_keys": "1 and 1.0 are one key of a dict",
    "map_mixed_keys": "an atom and the same text are one key of a dict",
    "map_atom_and_text_key": "an atom and the same text are one key of a dict",
    "map_list_key": "a list as a key becomes a tuple",
    "map_map_key": "a dict is no key",
    "date_time_utc_milli": "a datetime does not remember how many digits it had",
    "date_time_utc_micro_zeros": "a datetime does not remember how many digits it had",
    "naive_date_time_tenth": "a datetime does not remember how many digits it had",
    "date_time_year_0": "years begin with 1",
    "date_before_year_0": "years begin with 1",
}
REFUSED_BY_PYTHON = {
    "map_float_and_int_keys",
    "map_mixed_keys",
    "map_atom_and_text_key",
    "map_map_key",
    "date_time_year_0",
    "date_before_year_0",
}

VALUES = [
    None,
    True,
    False,
    *(sign * 2**bits + more for sign in (1, -1) for bits in (0, 5, 8, 16, 32, 63, 64, 127, 300) for more in (-1, 0, 1)),
    0.0,
    -0.0,
    1e300,
    5e-324,
    math.inf,
    -math.inf,
    "",
    "text",
    "naïve 🎉",
    "a\0b",
    b"",
    b"\xff" * 300,
    [],
    [1, [2, [3]]],
    (),
    (1, "two", None),
    {},
    {"a": 1, 2: "b", (3,): [4], b"5": 6.0, None: 7, Atom("c"): 8},
    set(),
    {1, "two", (3,)},
    Atom("ok"),
    Atom(""),
    datetime(2025, 10, 21, 12, 47, 27, tzinfo=timezone.utc),
    datetime(2025, 10, 21, 12, 47, 27, 231034, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    datetime(1, 1, 1),
    datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime(2025, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
    date(2024, 2, 29),
    time(23, 59, 59, 5),
    Decimal("12.50"),
    Decimal("-1E+1000"),
    Decimal(7) ** 300,
    Struct("Elixir.MyApp.User", {Atom("name"): "Ann", Atom("tags"): [1]}),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_a_value_comes_back_as_it_was(value):
    assert same(decode(encode(value)), value)


def test_nan_stays_nan():
    assert math.isnan(decode(encode(math.nan)))
    assert str(decode(encode(Decimal("NaN")))) == "NaN"


def test_decimals_without_digits_and_negative_zero_come_back():
    for text in ("Infinity", "-Infinity", "NaN", "-NaN", "-0", "-0.00", "0E+5"):
        assert str(decode(encode(Decimal(text)))) == text
    with pytest.raises(InvalidValueError):
        encode(Decimal("sNaN"))


def test_decimals_of_any_length_come_back():
    digits = "123456789" * 1000
    assert decode(encode(Decimal(digits + ".5"))) == Decimal(digits + ".5")


def test_bytes_in_any_clothes_are_bytes():
    for value in (b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"aXbXc")[::2]):
        assert decode(encode(value)) == b"abc"
    assert decode(encode(frozenset([1]))) == {1}
    assert decode(encode({frozenset([1]): 2})) == {frozenset([1]): 2}


def test_subclasses_count_as_what_they_are():
    class Colour(IntEnum):
        RED = 1

    pair = namedtuple("pair", "a b")
    assert decode(encode(Colour.RED)) == 1
    assert decode(encode(pair(1, 2))) == (1, 2)
    assert decode(encode(OrderedDict(a=1))) == {"a": 1}
    assert type(decode(encode(Atom("x")))) is Atom


def test_a_set_has_the_same_bytes_however_it_was_made():
    words = [f"word {number}" for number in range(100)]
    assert encode(set(words)) == encode({*words[50:], *words[:50]})


def test_a_moment_in_a_zone_keeps_its_zone_also_when_the_clock_is_set_back():
    berlin = ZoneInfo("Europe/Berlin")
    for fold in (0, 1):
        moment = datetime(2025, 10, 26, 2, 30, tzinfo=berlin, fold=fold)
        again = decode(encode(moment))
        assert (again, again.tzinfo, again.utcoffset()) == (moment, berlin, moment.utcoffset())
    assert decode(encode(datetime(2025, 1, 1, tzinfo=ZoneInfo("UTC")))).tzinfo is timezone.utc


def test_a_zone_that_this_machine_does_not_know_keeps_its_offset():
    moment = datetime(2025, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    for unknown in (b"Europe/Atlant", b"../../etc/pwd", b"Europe\0Berlin"):
        again = decode(encode(moment).replace(b"Europe/Berlin", unknown))
        assert again == moment
        assert again.tzname() == "CEST"


@pytest.mark.parametrize(
    "value",
    [
        object(),
        print,
        lambda: 0,
        1j,
        range(3),
        timedelta(1),
        iter([]),
        Ellipsis,
        int,
        time(1, tzinfo=timezone.utc),
        datetime(2025, 1, 1, tzinfo=timezone(timedelta(seconds=1))),
        "\ud800",
        {"\ud800": 1},
        Atom("\ud800"),
        Struct("x", [1]),
        Struct(1, {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_means_nothing_elsewhere_is_refused(value):
    with pytest.raises(InvalidValueError):
        encode(value)
    with pytest.raises(InvalidValueError):
        encode([{"deep": (value,)}])


def test_the_refusal_names_the_type():
    with pytest.raises(InvalidValueError, match="complex"):
        encode([1j])


def nested(depth, wrap):
    value = 1
    for _ in range(depth - 1):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {1: v}, lambda v: [v, {"b": v}]]
)
def test_128_levels_are_fine_and_129_are_not(wrap):
    if wrap(0) != [0, {"b": 0}]:
        deep = nested(128, wrap)
        assert decode(encode(deep)) == deep
    with pytest.raises(InvalidValueError):
        encode(nested(129, wrap))
    with pytest.raises(InvalidValueError):
        encode(nested(100_000, lambda v: [v]))


def test_what_contains_itself_is_refused():
    circle = []
    circle.append({"self": circle})
    with pytest.raises(InvalidValueError, match="contains itself"):
        encode(circle)


def test_what_changes_while_it_is_encoded_does_no_harm():
    class Zone(tzinfo):
        """A time zone whose methods change the list around the datetime."""

        def __init__(self, change):
            self.change = change

        def utcoffset(self, moment):
            self.change()
            return timedelta(0)

        def dst(self, moment):
            return timedelta(0)

        def tzname(self, moment):
            return "X"

    for make in (list, dict):
        container = make()

        def change(container=container):
            container.clear()
            gc.collect()

        moment = datetime(2025, 1, 1, tzinfo=Zone(change))
        if make is list:
            container.extend([moment, 1, 2])
        else:
            container.update({1: moment, 2: 3})
        with pytest.raises((RuntimeError, IndexError)):
            encode(container)


def test_too_large_is_refused_before_it_is_built():
    with pytest.raises(ValueTooLargeError):
        encode("x" * (65 * 1024 * 1024))
    with pytest.raises(ValueTooLargeError):
        encode(1 << (8 * 65 * 1024 * 1024))


@pytest.mark.parametrize("columns", golden("vectors.txt"), ids=lambda columns: columns[0])
def test_golden_vector(columns):
    name, data = columns[0], bytes.fromhex(columns[1])
    if name in REFUSED_BY_PYTHON:
        with pytest.raises(InvalidValueError):
            decode(data)
    elif name in NOT_EXACT:
        decode(data)
    else:
        assert encode(decode(data)).hex() == data.hex()


@pytest.mark.parametrize("columns", golden("accepted.txt"), ids=lambda columns: columns[0])
def test_other_forms_are_read_and_written_in_the_preferred_one(columns):
    assert encode(decode(bytes.fromhex(columns[1]))).hex() == columns[2]


@pytest.mark.parametrize("columns", golden("refused.txt"), ids=lambda columns: columns[0])
def test_refused_vector(columns):
    with pytest.raises(InvalidValueError):
        decode(bytes.fromhex(columns[1]))


def test_keys_that_python_takes_for_equal_are_never_lost_silently():
    for data in ("a20163696e74fb3ff000000000000065666c6f6174", "a2d827616101616102", "d901028201f93c00"):
        with pytest.raises(InvalidValueError, match="equal in Python"):
            decode(bytes.fromhex(data))
    assert decode(bytes.fromhex("a2616101616102")) == {"a": 2}  # really the same key: the last one wins


def test_ten_thousand_damaged_values_give_an_error_or_a_value():
    chance = random.Random(1)
    vectors = [bytes.fromhex(columns[1]) for columns in golden("vectors.txt") if len(columns[1]) < 2000]
    for _ in range(10_000):
        damaged = bytearray(chance.choice(vectors))
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            encode(decode(bytes(damaged)))
        except InvalidValueError:
            continue


def test_announced_lengths_reserve_no_memory():
    for major in (0x9B, 0xBB, 0x5B, 0x7B):
        with pytest.raises(InvalidValueError):
            decode(bytes([major]) + struct.pack(">Q", 2**60) + b"\0" * 100)
    inner = b"\0" * 100_000
    for _ in range(100):
        inner = b"\x9a" + struct.pack(">I", len(inner)) + inner
    with pytest.raises(InvalidValueError):
        decode(inner)


def test_a_map_of_a_million_equal_keys_takes_no_quadratic_time():
    entries = b"".join(b"\x19" + struct.pack(">H", number) + b"\0" for number in range(60_000)) * 4
    assert len(decode(b"\xbf" + entries + b"\xff")) == 60_000
