"""Script: reads conformance scripts (tests/conformance/README.md) and runs their steps against Python's face."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from conftest import golden

from concord_kv import ABSENT, ConcordError, Db, Struct, _native
from concord_kv.selection import FLAGS


@dataclass
class Step:
    """One step: its line number, words, expected result, and whether Python cannot express it."""

    number: int
    words: list[str]
    result: list[str]
    skipped: bool


@dataclass
class Section:
    """Steps that begin with an empty store."""

    title: str
    steps: list[Step]


def read_script(path: Path) -> list[Section]:
    """Read the sections of a script."""
    sections: list[Section] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        line = line.rstrip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("== "):
            sections.append(Section(line[3:], []))
            continue
        step, _, languages = line.partition(" # not: ")
        words = split(step)
        arrow = words.index("->")
        skipped = "python" in [language.strip() for language in languages.split(",")]
        sections[-1].steps.append(Step(number, words[:arrow], words[arrow + 1 :], skipped))
    return sections


def split(line: str) -> list[str]:
    """Split at single spaces outside JSON strings."""
    words, start, inside, escaped = [], 0, False, False
    for at, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\" and inside:
            escaped = True
        elif character == '"':
            inside = not inside
        elif character == " " and not inside:
            words.append(line[start:at])
            start = at + 1
    return [*words, line[start:]]


VECTORS = {columns[0]: bytes.fromhex(columns[1]) for columns in golden("vectors.txt")}


def key_of(word: str) -> str | bytes:
    """Key of a token; half of the tests use str, bytes come where the key is no text."""
    if word.startswith("hex:"):
        return bytes.fromhex(word[4:])
    if word.startswith("rep:"):
        _, count, byte = word.split(":")
        return byte * int(count)
    return json.loads(word)


def value_of(word: str) -> Any:
    """Value of a token."""
    if word.startswith("@"):
        return _native.decode(VECTORS[word[1:]])
    if word.startswith("text*"):
        count, _, text = word[5:].partition(":")
        return text * int(count)
    return json_value(word)


def json_value(text: str) -> Any:
    """JSON as the other languages read it: the markers of src/encoding/json become what they stand for."""
    return json.loads(text, object_hook=unmarked)


def unmarked(found: dict[str, Any]) -> Any:
    """Turn a marker object into its value, and take the escape of a map that looks like one away."""
    if len(found) != 1:
        return found
    ((name, content),) = found.items()
    if name == "$bytes" and isinstance(content, str):
        return base64.b64decode(content)
    if name == "$decimal" and isinstance(content, str):
        return Decimal(content)
    if name == "$set" and isinstance(content, list):
        return set(content)
    if name == "$struct" and isinstance(content, list):
        return Struct(*content)
    stripped = name.lstrip("$")
    if name.startswith("$$") and stripped in ("bytes", "decimal", "set", "struct"):
        return {name[1:]: content}
    return found


def same(found: Any, expected: Any) -> bool:
    """Equal in type and content; maps whatever the order of their entries."""
    if type(found) is not type(expected):
        return False
    if isinstance(found, dict):
        keys = {(type(key), key) for key in found}
        return keys == {(type(key), key) for key in expected} and all(same(found[k], expected[k]) for k in found)
    if isinstance(found, (list, tuple)):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(found, float):
        return math.copysign(1, found) == math.copysign(1, expected) and found == expected
    return bool(found == expected)


def ttl_fits(found: float | None, expected: float | None) -> bool:
    """Remaining seconds T with S-2 < T <= S; None lives for ever."""
    if found is None or expected is None:
        return found is expected
    return expected - 2 < found <= expected


def ttl_of(word: str) -> float | None:
    """Lifetime of a result: ``~S`` or ``null``."""
    return None if word == "null" else float(word.removeprefix("~"))


def number(word: str) -> int | float:
    """Number of seconds or another number, as the script writes it."""
    return json.loads(word)


def run_step(db: Db, step: Step) -> str | None:
    """Run one step; what was found instead of its result, or None."""
    try:
        found = answer(db, step.words)
    except ConcordError as error:
        return None if step.result == ["error", error.kind] else f"error {error}"
    if step.result[0] == "error":
        return f"ok {found!r}"
    return None if fits(db, step.words[0], found, step.result[1:]) else f"ok {found!r}"


def fits(db: Db, verb: str, found: Any, result: list[str]) -> bool:
    """Whether an answer is the expected one."""
    if verb == "get":
        return same(found, value_of(result[0]))
    if verb == "get_with_ttl":
        return same(found[0], value_of(result[0])) and ttl_fits(found[1], ttl_of(result[1]))
    if verb == "get_record":
        revision, ttl = (word.split("=", 1)[1] for word in result[1:])
        revision_fits = found.revision > 0 if revision == "?" else found.revision == int(revision)
        return same(found.value, value_of(result[0])) and revision_fits and ttl_fits(found.ttl, ttl_of(ttl))
    if verb == "keys":
        return found == json.loads(result[0])
    if verb == "pairs":
        return same([list(pair) for pair in found], json_value(result[0]))
    if verb in ("count", "delete_where"):
        return found == int(result[0])
    if verb == "ttl":
        return ttl_fits(found, ttl_of(result[0]))
    if verb == "increment":
        return same(found, json.loads(result[0]))
    if verb in ("get_all", "get_many", "touch_many", "put_many", "put_many_with_ttl", "delete_many"):
        return same(found, json_value(result[0]))
    if verb == "get_all_with_ttl":
        expected = json_value(result[0])
        return found.keys() == expected.keys() and all(
            same(value, expected[key]["value"]) and ttl_fits(ttl, expected[key]["ttl"])
            for key, (value, ttl) in found.items()
        )
    return result == [] and found is None


OPTIONS = {"ttl", "compress", "expected", "revision", "condition", "by", "initial", "consistency"}
OPTIONS |= {"prefix", "suffix", "contains", "range", "pattern", "flags", "where", "offset", "limit"}


def answer(db: Db, words: list[str]) -> Any:
    """Run a step's verb and answer in the shape of the scripts."""
    verb, arguments, options = words[0], [], {}
    for word in words[1:]:
        name, separator, text = word.partition("=")
        if separator and name in OPTIONS:
            options[name] = text
        elif word != "none":
            arguments.append(word)
    given = {name: option(name, text) for name, text in options.items()}
    if verb == "sleep_ms":
        return time.sleep(int(arguments[0]) / 1000)
    if verb in ("keys", "pairs", "count", "delete_where"):
        return query(db, verb, given)
    if verb in ("get_all", "get_all_with_ttl"):
        return getattr(db, verb)(**given)
    if verb in ("put_many", "put_many_with_ttl", "get_many", "delete_many", "touch_many"):
        return bulk(db, verb, arguments, given)
    key = key_of(arguments[0])
    if verb == "get":
        missing = object()
        found = db.get(key, missing, **given)
        return db[key] if found is missing else found
    if verb in ("put", "put_new", "put_if"):
        return getattr(db, verb)(key, value_of(arguments[1]), **given)
    if verb == "put_with_ttl":
        return db.put_with_ttl(key, value_of(arguments[1]), number(arguments[2]))
    if verb == "touch":
        return db.touch(key, number(arguments[1]))
    return getattr(db, verb)(key, **given)


def option(name: str, text: str) -> Any:
    """Option of a step as Python takes it."""
    if name == "expected":
        return ABSENT if text == ":absent" else value_of(text)
    if name in ("consistency", "flags"):
        return text
    if name in ("prefix", "suffix", "contains"):
        return key_of(text)
    if name in ("pattern", "where", "condition"):
        found = key_of(text)
        return found.decode() if isinstance(found, bytes) else found
    return json.loads(text)


def query(db: Db, verb: str, given: dict[str, Any]) -> Any:
    """Run a verb about what a selector picks; flags come with a compiled pattern."""
    flags = given.pop("flags", "")
    if flags:
        number = sum(FLAGS[letter] for letter in flags if letter != "u")
        pattern = given["pattern"] if "u" in flags else given["pattern"].encode()
        given["pattern"] = re.compile(pattern, number)
    prefix = given.pop("prefix", None)
    if verb in ("keys", "pairs"):
        walk = db.keys(prefix, **given) if verb == "keys" else db.items(prefix, **given)
        return list(walk)
    return getattr(db, verb)(prefix, **given)


def bulk(db: Db, verb: str, arguments: list[str], given: dict[str, Any]) -> Any:
    """Run a bulk verb; Python's shorter answers are written out."""
    items = json_value(arguments[0])
    if verb == "get_many":
        found = db.get_many(items, **given)
        return {key: {"ok": found[key]} if key in found else {"error": "not_found"} for key in items}
    if verb == "touch_many":
        touched = db.touch_many(items)
        return {key: "ok" if existed else {"error": "not_found"} for key, existed in touched.items()}
    if verb == "delete_many":
        db.delete_many(items)
        return dict.fromkeys(items, "ok")
    if verb == "put_many":
        db.put_many(items)
    else:
        db.put_many_with_ttl(items, number(arguments[1]))
    return {item[0]: "ok" for item in items}


__all__ = ["Section", "Step", "read_script", "run_step"]
