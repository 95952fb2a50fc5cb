"""Read a YAML file that nobody vouches for into plain values, and hand them out checked.

There are no tags, so none makes an object, and no aliases, so none multiplies anything; sizes and
depths are bounded, and a key may stand only once. References such as ``${train.save_freq}`` are
resolved, to one value each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from bimacosr.errors import OptionError

__all__ = ["Section", "read_tree"]

_MAX_BYTES = 64 << 10
"""Official files have 2 to 6 KiB."""

_MAX_DEPTH = 16
_MAX_HOPS = 8
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class _Loader(yaml.SafeLoader):
    """The safe loader, without tags, aliases, deep nesting and repeated keys."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """One node and what is in it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise OptionError(f"line {mark.line + 1} has an alias (*{event.anchor})")
        if getattr(event, "tag", None) is not None:
            raise OptionError(f"line {mark.line + 1} has a tag ({event.tag})")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise OptionError(f"it is nested more than {_MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping, each of whose keys stands once and is text."""
        seen = set()
        for key, _ in node.value:
            name = key.value
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise OptionError(f"line {line} has a key that is no plain name")
            if name in seen:
                raise OptionError(f"line {line} sets {name!r} a second time")
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_tree(path: Path) -> dict[str, Any]:
    """The top mapping of a YAML file, in plain values.

    Raises:
        OptionError: the file cannot be read, is no YAML mapping, or does what the module forbids.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise OptionError(
            f"the configuration {path} cannot be read: {error.strerror or error}"
        ) from error
    if len(raw) > _MAX_BYTES:
        raise OptionError(f"the configuration {path} has more than {_MAX_BYTES} bytes")
    try:
        tree = yaml.load(raw.decode("utf-8"), _Loader)
    except OptionError as error:
        raise OptionError(f"the configuration {path} is refused: {error}") from error
    except (yaml.YAMLError, ValueError) as error:  # bad text, bad dates and numbers
        why = getattr(error, "problem", None) or str(error).split("\n")[0]
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise OptionError(f"the configuration {path} is no plain YAML: {why}{where}") from error
    if not isinstance(tree, dict):
        raise OptionError(f"the configuration {path} holds no settings by name")
    return tree


class Section:
    """A mapping of the tree, of which each setting is taken by name; what is left is unknown.

    Args:
        values: The mapping.
        name: Its dotted name, empty for the top.
        root: The whole tree, for references.
    """

    def __init__(
        self, values: dict[str, Any], name: str = "", root: dict[str, Any] | None = None
    ) -> None:
        self.values, self.name = values, name
        self.root = values if root is None else root
        self.taken: set[str] = set()
        self.inner: dict[str, list[Section]] = {}

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def section(self, key: str) -> Section:
        """The mapping under `key`; an empty one if there is none.

        Raises:
            OptionError: it is no mapping.
        """
        if key not in self.inner:
            values = self.values.get(key)
            self.inner[key] = [self._group(self.dotted(key), {} if values is None else values)]
        return self.inner[key][0]

    def sections(self, key: str) -> list[Section]:
        """The mappings of the list under `key`; none if there is no list.

        Raises:
            OptionError: it is no list of mappings.
        """
        if key not in self.inner:
            values = self.values.get(key) or []
            if not isinstance(values, list):
                raise OptionError(f"{self.dotted(key)} is {values!r}; it must be a list")
            name = self.dotted(key)
            self.inner[key] = [self._group(f"{name}.{i}", v) for i, v in enumerate(values)]
        return self.inner[key]

    def take(self, key: str, kind: str, default: Any = None) -> Any:
        """The value under `key`, checked, or `default` where there is none or null.

        Args:
            key: Its name in this section.
            kind: "int", "number", "bool", "text", or one of these with "s" for a list, which comes
                back as a tuple.
            default: What to give instead.

        Raises:
            OptionError: it is of another kind.
        """
        self.taken.add(key)
        value = self.resolved(self.values.get(key))
        if value is None:
            return default
        one = kind.removesuffix("s") if kind != "texts" else "text"
        if one == kind:
            return self._checked(key, value, kind)
        if not isinstance(value, list):
            raise OptionError(f"{self.dotted(key)} is {value!r}; it must be a list")
        return tuple(self._checked(key, self.resolved(entry), one) for entry in value)

    def need(self, key: str, kind: str) -> Any:
        """The value under `key`, which must be there; see `take`.

        Raises:
            OptionError: it is missing, or of another kind.
        """
        value = self.take(key, kind)
        if value is None:
            raise OptionError(f"{self.dotted(key)} is missing")
        return value

    def numbers(self, key: str, count: int | None = None) -> tuple[float, ...]:
        """The numbers under `key`, which must be there, and as many as `count`.

        Raises:
            OptionError: they are missing, or are no numbers, or not as many.
        """
        values = tuple(float(value) for value in self.need(key, "numbers"))
        if count is not None and len(values) != count:
            raise OptionError(f"{self.dotted(key)} has {len(values)} numbers; it must have {count}")
        return values

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        """The name under `key`, which must be one of `known`.

        Raises:
            OptionError: it is missing or another one.
        """
        name: str = self.need(key, "text")
        if name not in known:
            raise OptionError(
                f"{self.dotted(key)} is {name!r}, which bimacosr does not know; it knows"
                f" {', '.join(known)}"
            )
        return name

    def given(self, kinds: dict[str, str], **names: str) -> dict[str, Any]:
        """Those settings that are there and not null.

        Args:
            kinds: What to look for: its name here, and its kind (see `take`).
            names: What to call it in the result, where that differs.
        """
        found = {key: self.take(key, kind) for key, kind in kinds.items()}
        return {names.get(key, key): value for key, value in found.items() if value is not None}

    def fixed(self, key: str, kind: str, only: Any) -> None:
        """Check a setting that must be `only`, if it is there.

        Raises:
            OptionError: it is something else.
        """
        value = self.take(key, kind, only)
        if value != only:
            raise OptionError(f"{self.dotted(key)} is {value!r}; bimacosr has only {only!r}")

    def unknown(self) -> tuple[str, ...]:
        """Dotted names of what nobody took, in the order of the file."""
        names: list[str] = []
        for key in self.values:
            if key in self.inner:
                names += [name for section in self.inner[key] for name in section.unknown()]
            elif key not in self.taken:
                names.append(self.dotted(key))
        return tuple(names)

    def dotted(self, key: str) -> str:
        """The full name of `key`."""
        return f"{self.name}.{key}" if self.name else key

    def resolved(self, value: Any) -> Any:
        """The value, or what it refers to.

        Raises:
            OptionError: a reference leads nowhere, in circles, or to a group.
        """
        hops = 0
        while isinstance(value, str) and (found := _REFERENCE.fullmatch(value)):
            target: Any = self.root
            for part in found[1].split("."):
                target = target.get(part) if isinstance(target, dict) else None
            hops += 1
            if target is None or isinstance(target, dict) or hops > _MAX_HOPS:
                raise OptionError(f"{value} refers to no single setting of the file")
            value = target
        return value

    def _group(self, name: str, values: Any) -> Section:
        if not isinstance(values, dict):
            raise OptionError(f"{name} is {values!r}; it must be a group of settings")
        return Section(values, name, self.root)

    def _checked(self, key: str, value: Any, kind: str) -> Any:
        if kind == "number" and isinstance(value, str):
            value = _number(value)  # YAML takes 5e-5, without a point, for text
        kinds = {"int": int, "number": (int, float), "bool": bool, "text": str}
        right = isinstance(value, kinds[kind])  # type: ignore[arg-type]
        if not right or (isinstance(value, bool) and kind != "bool"):
            words = {"int": "a whole number", "number": "a number", "bool": "true or false"}
            raise OptionError(
                f"{self.dotted(key)} is {value!r}; it must be {words.get(kind, 'text')}"
            )
        if kind == "number" and not math.isfinite(value):
            raise OptionError(f"{self.dotted(key)} is {value}; it must be a finite number")
        return value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
