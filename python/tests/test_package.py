"""The package: what it exports, its hints, and that its documentation runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT

import concord_kv
from concord_kv import _native, aio, db, selection, values

NATIVE = Path(_native.__file__)


def test_the_extension_is_for_every_python_and_exports_only_its_init():
    assert NATIVE.name == "_native.abi3.so"
    symbols = subprocess.run(["nm", "-D", "--defined-only", NATIVE], check=True, capture_output=True, text=True).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["PyInit__native"]


def test_versions_agree():
    assert concord_kv.__version__ == version("concord-kv") == _native.version()


def test_everything_that_is_exported_is_there_and_documented():
    for name in concord_kv.__all__:
        assert getattr(concord_kv, name).__doc__, name
    for kind in (concord_kv.Db, aio.AioDb):
        for name, member in inspect.getmembers(kind):
            assert name.startswith("_") or member.__doc__, name


def test_the_stubs_name_what_the_extension_has():
    package = Path(concord_kv.__file__).parent
    assert (package / "py.typed").exists()
    stubs = ast.parse((package / "_native.pyi").read_text())
    for node in stubs.body:
        if isinstance(node, ast.FunctionDef):
            assert callable(getattr(_native, node.name))
        elif isinstance(node, ast.ClassDef):
            kind = getattr(_native, node.name)
            declared = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            assert all(hasattr(kind, name) for name in declared)
            assert {name for name in vars(kind) if not name.startswith("__")} <= declared


@pytest.mark.parametrize("module", [concord_kv, aio, db, selection, values])
def test_the_examples_run(module):
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_readme_runs():
    readme = ROOT / "python" / "README.md"
    code = "\n".join(block.split("```")[0] for block in readme.read_text().split("```python\n")[1:])
    assert "concord_kv" in code
    exec(compile(code, str(readme), "exec"), {"__name__": "readme"})
