"""The wheel: built with a compiler and pip alone, tried in a bare environment, safe without AVX.

And what docs/install.md says of the environment.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"

linux_x86 = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="for Linux on x86-64"
)


def needs(*tools: str) -> pytest.MarkDecorator:
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(lacking), reason=f"{', '.join(lacking)} is not installed")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@linux_x86
@needs("c++")
def test_a_wheel_is_built_repaired_and_tried_without_pytorch() -> None:
    result = run(SCRIPTS / "wheel", sys.executable)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "manylinux" in result.stdout
    assert "our part" in result.stdout  # the last words of the trial


@pytest.mark.slow
@linux_x86
@needs("c++", "cmake", "objdump", "qemu-x86_64")
def test_a_processor_without_avx_meets_none() -> None:
    result = run(SCRIPTS / "no_avx", sys.executable)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "scalar: done" in result.stdout
    assert "the picture without AVX" in result.stdout


IN_PLACE = """
#include <immintrin.h>
namespace bimacosr {
namespace avx2 {
float twice(float x) {
  const __m256 v = _mm256_set1_ps(x);
  return _mm256_cvtss_f32(_mm256_add_ps(v, v));
}
}
namespace avx512 { float cube(float x) { return avx2::twice(x) * x; } }
namespace amx { float thrice(float x) { return avx2::twice(x) + x; } }
namespace amx_bfloat16 { float once(float x) { return avx2::twice(x) - x; } }
}
"""
STRAYS = {
    "nothing": "",
    "a function for everyone": "float stray(float x) { return x * x; }",
    "a copy of a template": "template <class T> T stray(T x) { return x * x; }"
    "template float stray(float);",
    "a table filled at loading": "struct Stray { float x = bimacosr::avx2::twice(2); } table;",
}


@linux_x86
@needs("c++", "objdump")
@pytest.mark.parametrize("stray", STRAYS)
def test_the_inspection_finds_what_is_out_of_place(stray: str, tmp_path: Path) -> None:
    source, built = tmp_path / "planted.cpp", tmp_path / "planted.o"
    source.write_text(IN_PLACE + STRAYS[stray])
    compiled = run("c++", "-O2", "-mavx2", "-fPIC", "-c", source, "-o", built)
    assert compiled.returncode == 0, compiled.stderr
    result = run(sys.executable, SCRIPTS / "avx_outside.py", built)
    if stray == "nothing":
        assert result.returncode == 0, result.stderr
        return
    assert result.returncode == 1
    assert "stray" in result.stderr or "_GLOBAL__sub_I" in result.stderr


@linux_x86
@needs("c++", "objdump")
def test_the_inspection_refuses_what_it_cannot_see_into(tmp_path: Path) -> None:
    source, built = tmp_path / "plain.cpp", tmp_path / "plain.o"
    source.write_text("int nothing(int x) { return x; }")
    assert run("c++", "-O2", "-c", source, "-o", built).returncode == 0
    result = run(sys.executable, SCRIPTS / "avx_outside.py", built)
    assert result.returncode == 1
    assert "stripped" in result.stderr


def test_every_environment_variable_is_documented() -> None:
    pattern = re.compile(r"BIMACOSR_[A-Z]+")
    files = (ROOT / "src").rglob("*.py")
    read = {name for file in files for name in pattern.findall(file.read_text())}
    assert "BIMACOSR_ISA" in read
    assert read == set(pattern.findall((ROOT / "docs" / "install.md").read_text()))
