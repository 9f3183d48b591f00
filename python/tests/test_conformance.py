"""The conformance scripts of all languages, run against Python."""

from __future__ import annotations

import pytest
from conftest import ROOT
from script import read_script, run_step

import concord_kv

SCRIPTS = sorted((ROOT / "tests" / "conformance").glob("*.txt"))


def test_there_are_scripts():
    assert len(SCRIPTS) >= 8


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path):
    wrong = []
    for section in read_script(path):
        with concord_kv.open() as db:
            for step in section.steps:
                found = None if step.skipped else run_step(db, step)
                if found is not None:
                    line = " ".join([*step.words, "->", *step.result])
                    wrong.append(f"{path.name}:{step.number}: {line[:300]}\n    found: {found[:300]}")
    assert not wrong, "\n".join(wrong)
