"""Fuzz the readers of packed files, guided by which code a file reaches.

    python -m fuzzing FOLDER [options of libFuzzer]     what scripts/fuzz_packed starts
    python -m fuzzing FILE                              one file once

FOLDER keeps every file that reached new code, and is where the next run begins.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bimacosr"]):
    from fuzzing.damage import damaged, damaged_part
    from fuzzing.readers import load, originals

TORCH_EVERY = 64
"""One case of so many, picked by its content, is read by PyTorch, too."""


def _mutate(content: bytes, most: int, seed: int) -> bytes:
    """Another file: damage that knows the format, or libFuzzer's, which knows what is compared."""
    chance = random.Random(seed)
    way = chance.randrange(8)
    try:
        if way < 4:
            content = damaged(content, chance)
        elif way < 7:
            content = damaged_part(
                content, chance, lambda part: atheris.Mutate(part, len(part) + 64)
            )
        else:
            content = atheris.Mutate(content, most)
    except Exception:  # what is damaged already need not come apart
        content = atheris.Mutate(content, most)
    return content[:most]


def main() -> None:
    """Run libFuzzer, which ends the process."""
    corpus = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound = originals(folder)
        if not corpus.is_file():
            corpus.mkdir(parents=True, exist_ok=True)
            for kind, path in sound.items():
                shutil.copy(path, corpus / kind)
        case = folder / "case.safetensors"

        def one_input(content: bytes) -> None:
            case.unlink(missing_ok=True)  # the file of the last case may still be mapped
            case.write_bytes(content)
            load(case, sound["vq"], with_torch=zlib.crc32(content) % TORCH_EVERY == 0)

        atheris.Setup(sys.argv, one_input, custom_mutator=_mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
