"""Damage packed files at random and load them: every one must load or be refused in one sentence.

    python scripts/fuzz_packed.py --minutes 10
    python scripts/fuzz_packed.py --seed 1234 --cases 1     # one case again

A case is a packed file (edge-x4, or a tiny student of the paper family), damaged by its seed: bytes
changed, the file cut, its layout or header edited, its arrays filled with other numbers, most of
them with a checksum that is right again. It is read by numpy, made a network by PyTorch, and, if it
is an edge model and the engine is built, run by the native engine on 8x8 pixels. Anything but a
`BimacosrError` ends the run with the seed; the file stays at `--keep`.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import random
import signal
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.networks import UNetSettings
from bimacosr.errors import BackendError, BimacosrError
from bimacosr.models.catalogue import MODELS
from bimacosr.networks.unet import build_unet
from bimacosr.pack.format import read_packed, write_packed
from bimacosr.pack.layers import packed_layers
from bimacosr.pack.modules import pack_network, rebuild_network

_SECONDS_A_CASE = 60
_KINDS = {"F16": np.float16, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64}
_INNER = ("network", "binarize", "diffusion", "autoencoder", "one_bit", "step")
_VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 63, 64, 65, 255, 65536, 2**31, 2**62, 10**30, -(2**63), 0.5, -0.0, 1e300),
    *(float("nan"), float("inf"), True, False, None, "", "1", "horq", "xnor", "bidm", "reactnet"),
    *("edge", "swin", "\ud800", "x" * 10_000, [], {}, [[]], [1] * 9, [-1, 2], ["a"], {"a": {}}),
)


class Parts:
    """A packed file in pieces: layout, header, and the bytes of each array."""

    def __init__(self, content: bytes) -> None:
        (length,) = struct.unpack("<Q", content[:8])
        self.layout: dict[str, Any] = json.loads(content[8 : 8 + length])
        self.header: Any = json.loads(self.layout.pop("__metadata__")["bimacosr"])
        data = content[8 + length :]
        self.data = {
            name: data[slice(*entry.pop("data_offsets"))] for name, entry in self.layout.items()
        }

    def join(self, edit: Callable[[dict[str, Any]], None], header: str | None = None) -> bytes:
        """The file again; `edit` changes the layout last, `header` stands for the header's JSON."""
        digest, offset, layout = hashlib.sha256(), 0, {}
        for name, entry in sorted(self.layout.items()):
            kind = np.dtype(_KINDS.get(entry["dtype"], np.uint8)).str
            digest.update(f"{name}:{kind}:{tuple(entry['shape'])}".encode("utf-8", "replace"))
            digest.update(self.data[name])
        for name, entry in self.layout.items():
            end = offset + len(self.data[name])
            layout[name] = {**entry, "data_offsets": [offset, end]}
            offset = end
        if header is None:
            if isinstance(self.header, dict) and "sha256" in self.header:
                self.header["sha256"] = digest.hexdigest()
            header = json.dumps(self.header)
        layout["__metadata__"] = {"bimacosr": header}
        edit(layout)
        text = json.dumps(layout).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + b"".join(self.data.values())


def damaged(content: bytes, chance: random.Random) -> bytes:
    """`content`, damaged in one way, or in several."""
    way = chance.choice((change_bytes, change_layout, change_header, change_arrays, change_arrays))
    return way(content, chance)


def change_bytes(content: bytes, chance: random.Random) -> bytes:
    """Flip, overwrite, insert or cut; the checksum is wrong then."""
    raw = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        head = chance.random() < 0.7
        at = chance.randrange(min(len(raw), 4000) if head else len(raw))
        match chance.randrange(5):
            case 0:
                raw[at] ^= 1 << chance.randrange(8)
            case 1:
                raw[at : at + 8] = chance.randbytes(8)
            case 2:
                raw[at:at] = chance.randbytes(chance.randint(1, 64))
            case 3:
                raw = raw[: max(1, at)]
            case _:
                raw[:8] = struct.pack("<Q", chance.choice((0, 1, 8, len(raw), 2**40, 2**64 - 1)))
    return bytes(raw)


def change_layout(content: bytes, chance: random.Random) -> bytes:
    """Give arrays other types, shapes and places, without moving their bytes."""

    def edit(layout: dict[str, Any]) -> None:
        for _ in range(chance.randint(1, 3)):
            entry = layout[chance.choice([name for name in layout if name != "__metadata__"])]
            match chance.randrange(5):
                case 0:
                    entry["dtype"] = chance.choice((*_KINDS, "F32", "I64", "BOOL", "F8_E4M3", "?"))
                case 1:
                    entry["shape"] = chance.choice(
                        ([], [0], [2**63], [2**32, 2**32], [-1], [1] * 70, entry["shape"][::-1])
                    )
                case 2:
                    place = chance.randrange(2)
                    entry["data_offsets"][place] += chance.choice((-2, -1, 1, 8, 2**40))
                case 3:
                    entry["data_offsets"] = chance.choice(([0, 0], [8, 0], [-8, 0], [0], ["0", 8]))
                case _:
                    entry[chance.choice(("dtype", "shape", "data_offsets"))] = changed(None, chance)

    return Parts(content).join(edit)


def change_header(content: bytes, chance: random.Random) -> bytes:
    """Change members of the header, at any depth, or its text."""
    parts = Parts(content)
    if chance.random() < 0.15:
        text = json.dumps(parts.header)
        texts = ("[" * 50_000, '{"a":' * 2000 + "1" + "}" * 2000, text[: len(text) // 2], "\0", "9")
        return parts.join(lambda _: None, chance.choice((*texts, text.replace("2.0", "1e999"))))
    for _ in range(chance.randint(1, 2)):
        parts.header = changed(parts.header, chance)
        if not isinstance(parts.header, dict):
            break
    return parts.join(lambda _: None)


def change_arrays(content: bytes, chance: random.Random) -> bytes:
    """Other numbers, shapes and names, with layout and checksum right again."""
    parts = Parts(content)
    for _ in range(chance.randint(1, 4)):
        name = chance.choice(sorted(parts.layout))
        entry, raw = parts.layout[name], parts.data[name]
        match chance.randrange(7):
            case 0:
                parts.data[name] = chance.randbytes(len(raw))
            case 1:
                odd = np.array([0x7C00, 0xFC00, 0x7E00, 0x7BFF, 0xFBFF, 1, 0x8000], "<u2")
                words = np.frombuffer(raw, "<u2").copy() if len(raw) % 2 == 0 else odd.copy()
                if words.size and len(raw) % 2 == 0:
                    words[chance.randrange(words.size)] = odd[chance.randrange(odd.size)]
                    parts.data[name] = words.tobytes()
            case 2:
                parts.data[name] = chance.choice((b"\xff", b"\0", b"\x7f")) * len(raw)
            case 3:
                del parts.layout[name], parts.data[name]
            case 4:
                other = chance.choice((*sorted(parts.layout), "new", "body.0.conv.zeros", "a\0b"))
                parts.layout[other], parts.data[other] = dict(entry), raw
            case 5:
                entry["shape"] = chance.choice(
                    (entry["shape"][::-1], [*entry["shape"], 1], [int(np.prod(entry["shape"]))])
                )
            case _:
                entry["shape"], parts.data[name] = [0], b""
        if not parts.layout:
            break
    return parts.join(lambda _: None)


def changed(value: Any, chance: random.Random) -> Any:
    """A copy of a JSON value with one part, somewhere inside, replaced, dropped or added."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        copy = dict(value)
        inner = [key for key in _INNER if key in copy]
        key = chance.choice(inner if inner and chance.random() < 0.8 else sorted(copy))
        if chance.random() < 0.1:
            copy["unknown"] = copy.pop(key)
        else:
            copy[key] = changed(copy[key], chance)
        return copy
    if isinstance(value, list) and value and chance.random() < 0.7:
        items = list(value)
        at = chance.randrange(len(items))
        items[at] = changed(items[at], chance)
        return items if chance.random() < 0.8 else items * 2
    if type(value) is int and chance.random() < 0.4:
        return value + chance.choice((-1, 1, 8, 64))
    return chance.choice(_VALUES)


def load(path: Path) -> str:
    """Read a file in every way.

    Returns:
        How far it came: "loaded", or the way that refused it.
    """
    done = "numpy"
    try:
        model = read_packed(path)
        done = "layers"
        if model.one_bit:
            packed_layers(model)
        done = "torch"
        rebuild_network(model)
        refused = False
    except BimacosrError:
        refused = True
        if done == "numpy":
            return done
    if model.family == "edge":
        try:
            _run_native(model)
        except BackendError:
            pass
        except BimacosrError:
            return done if refused else "native"
    return done if refused else "loaded"


def _run_native(model: Any) -> None:
    from bimacosr.engine import NativeBackend

    lq = np.random.default_rng(0).random((8, 8, 3), np.float32)
    NativeBackend(model).restore(lq, row=0, column=0, seed=0)


def tiny_student() -> Any:
    """A packed student of the paper family with numbers from a seed."""
    torch.manual_seed(11)
    settings = UNetSettings(
        model_channels=32,
        channel_mult=(1, 2),
        num_res_blocks=(1, 1),
        attention_resolutions=(64, 32),
        swin_embed_dim=32,
        num_head_channels=16,
        mlp_ratio=2,
    )
    rule = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"))
    method = BinarizeSettings(rank=2, keep_float_conv=(rule,))
    return pack_network(
        binarize(build_unet(settings), method),
        name="tiny",
        family="swin",
        network=asdict(settings),
        binarize_settings=method,
        diffusion=asdict(DiffusionSettings()),
        license_name="CC0-1.0",
        step=14,
    )


def originals(folder: Path) -> tuple[bytes, ...]:
    """The sound files that cases are made of."""
    path = folder / "tiny.safetensors"
    write_packed(path, tiny_student())
    return MODELS["edge-x4"].path.read_bytes(), path.read_bytes()


def run_case(seed: int, sound: tuple[bytes, ...], path: Path) -> str:
    """Damage a file by `seed`, write it to `path`, and load it; see `load`."""
    chance = random.Random(seed)
    path.unlink(missing_ok=True)
    path.write_bytes(damaged(chance.choice(sound), chance))
    return load(path)


def main() -> None:
    """Run cases until the time is up or one fails."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--cases", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case")
    parser.add_argument("--keep", type=Path, default=Path("fuzz_case.safetensors"))
    args = parser.parse_args()
    faulthandler.enable()
    found: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        sound = originals(Path(folder))
    end = time.monotonic() + 60 * args.minutes
    seed = args.seed
    while seed < args.seed + args.cases and time.monotonic() < end:
        began = time.monotonic()
        signal.alarm(_SECONDS_A_CASE)  # a case that hangs ends the process
        try:
            found[run_case(seed, sound, args.keep)] += 1
        except BaseException:
            print(f"seed {seed} fails; its file is {args.keep}", flush=True)
            raise
        signal.alarm(0)
        slowest = max(slowest, time.monotonic() - began)
        seed += 1
    args.keep.unlink(missing_ok=True)
    told = ", ".join(f"{how} {count}" for how, count in sorted(found.items()))
    print(f"{seed - args.seed} cases, no crash; slowest {slowest:.2f} s; {told}")


if __name__ == "__main__":
    main()
