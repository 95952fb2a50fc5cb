"""Ways to damage a packed file, by a source of chance: the same one damages alike.

Most of them make the checksum right again, so that what lies behind it is reached.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Parts", "damaged", "damaged_part"]

_KINDS = {
    "F16": np.float16,
    "F32": np.float32,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
}
_INNER = ("network", "binarize", "diffusion", "autoencoder", "one_bit", "step")
_VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 63, 64, 65, 255, 65536, 2**31, 2**62, 10**30, -(2**63), 0.5, -0.0, 1e300),
    *(float("nan"), float("inf"), True, False, None, "", "1", "horq", "xnor", "bidm", "reactnet"),
    *(
        "edge",
        "swin",
        "vq",
        "\ud800",
        "x" * 10_000,
        [],
        {},
        [[]],
        [1] * 9,
        [-1, 2],
        ["a"],
        {"a": {}},
    ),
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
    """`content`, a sound file, damaged in one way, or in several."""
    way = chance.choice((change_bytes, change_layout, change_header, change_arrays, change_arrays))
    return way(content, chance)


def damaged_part(content: bytes, chance: random.Random, mutate: Callable[[bytes], bytes]) -> bytes:
    """`content`, a sound file, with the text of its header or the bytes of an array as `mutate`
    makes them, which need not keep their length; the checksum is right again."""
    parts = Parts(content)
    if chance.random() < 0.5:
        header = mutate(json.dumps(parts.header).encode()).decode(errors="replace")
        return parts.join(lambda _: None, header)
    name = chance.choice(sorted(parts.data))
    parts.data[name] = mutate(parts.data[name])
    return parts.join(lambda _: None)


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
                    entry["dtype"] = chance.choice((*_KINDS, "I64", "BOOL", "F8_E4M3", "?"))
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
