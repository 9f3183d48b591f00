"""Builds concord_kv._native: the core with cargo, then one limited-API extension that contains it.

Environment: `CONCORD_KV_LIB` names a prebuilt libconcord_kv.a (then cargo is not run), `CARGO_TARGET_DIR` is
respected as cargo does, `CARGO` names the program.
"""

import json
import os
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ABI = "cp310"

# What the Rust standard library needs from the system (rustc --print native-static-libs).
SYSTEM_LIBRARIES = ["gcc_s", "util", "rt", "pthread", "m", "dl", "c"]


def static_library() -> Path:
    """The core as a static library, built unless the environment names one."""
    given = os.environ.get("CONCORD_KV_LIB")
    if given:
        library = Path(given).resolve()
        if not library.is_file():
            raise SystemExit(f"CONCORD_KV_LIB: there is no file {library}")
        return library
    cargo = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "-p", "concord-kv-c"]
    try:
        subprocess.run(cargo, cwd=ROOT, check=True)
    except FileNotFoundError:
        raise SystemExit("building concord-kv needs a Rust toolchain (cargo), or CONCORD_KV_LIB") from None
    asked = [cargo[0], "metadata", "--format-version=1", "--no-deps", "--locked"]
    answer = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True)
    return Path(json.loads(answer.stdout)["target_directory"]) / "release" / "libconcord_kv.a"


class BuildWithCore(build_ext):
    """Builds the core first and links it in."""

    def build_extension(self, ext: Extension) -> None:
        library = static_library()
        ext.extra_objects = [str(library)]
        # Relinked whenever the core changed, not only when a C file did.
        ext.depends = [*ext.depends, str(library)]
        super().build_extension(ext)


def relative(path: Path) -> str:
    """A path as setuptools wants it: relative to setup.py."""
    return os.path.relpath(path, HERE)


native = Extension(
    "concord_kv._native",
    sources=sorted(relative(path) for path in (HERE / "native").glob("*.c")),
    depends=[relative(HERE / "native" / "native.h"), relative(ROOT / "include" / "concord.h")],
    include_dirs=[relative(ROOT / "include")],
    libraries=SYSTEM_LIBRARIES,
    extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
    # Nothing of the core is exported; its threads must never find their code unmapped.
    extra_link_args=["-Wl,--exclude-libs,ALL", "-Wl,--gc-sections", "-Wl,-z,nodelete", "-Wl,-s"],
    py_limited_api=True,
)

setup(
    ext_modules=[native],
    cmdclass={"build_ext": BuildWithCore},
    options={"bdist_wheel": {"py_limited_api": ABI}},
)
