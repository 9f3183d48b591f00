"""What the tests share: stores, the golden values, the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import concord_kv

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "values"


def golden(name: str) -> list[list[str]]:
    """Lines of a golden file, each split into its columns."""
    text = (GOLDEN / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.split("\n") if line and not line.startswith("#")]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """Tests open what they say, whatever the environment says."""
    for name in [name for name in os.environ if name.startswith("CONCORD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def db():
    """A fresh store in memory."""
    with concord_kv.open() as store:
        yield store
