"""A recipe file into its settings and back: each value of its type, no unknown name.

Relative paths in a recipe are relative to where the command runs, as on the command line.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from bimacosr.checkpoints.yaml_tree import read_tree
from bimacosr.config.data import LowQualitySettings, low_quality
from bimacosr.config.train import TrainRecipe
from bimacosr.errors import OptionError

__all__ = [
    "changed_tree",
    "plain_recipe",
    "plain_values",
    "read_recipe",
    "recipe_from",
    "recipe_text",
]

Settings = TypeVar("Settings")

_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "text",
    Path: "a path",
}


def read_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    fixed: Mapping[str, Any] | None = None,
) -> TrainRecipe:
    """The recipe in a YAML file.

    Args:
        path: A file that `read_tree` reads.
        overrides: "name=value" with a dotted name, such as "phases.0.steps=100"; the value is YAML.
        fixed: Values by dotted name that go over all others; None leaves what is there.

    Raises:
        OptionError: the file cannot be read, or a setting is unknown, of another type or out of its
            range; the sentence names the file and the setting.
    """
    try:
        return recipe_from(changed_tree(read_tree(path), overrides, fixed or {}))
    except OptionError as error:
        raise OptionError(f"the recipe {path} cannot be used: {error}") from error


def changed_tree(
    tree: dict[str, Any], overrides: Sequence[str], fixed: Mapping[str, Any]
) -> dict[str, Any]:
    """The tree with the changes of the command line, see `read_recipe`."""
    for override in overrides:
        name, equals, text = override.partition("=")
        if not (name and equals):
            raise OptionError(f"{override!r} is no setting; write it as name=value")
        try:
            set_value(tree, name, yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise OptionError(f"the value of {override!r} is no plain YAML") from error
    for name, value in fixed.items():
        if value is not None:
            set_value(tree, name, value)
    return tree


def recipe_from(tree: Mapping[str, Any]) -> TrainRecipe:
    """The recipe that plain values describe, as YAML or a checkpoint holds them.

    Raises:
        OptionError: as for `read_recipe`.
    """
    data = tree.get("data", {})
    if isinstance(data, Mapping):
        tree = {**tree, "data": {"seed": tree.get("seed", 0), **data}}
    return settings_from(TrainRecipe, tree, "")


def plain_recipe(recipe: TrainRecipe) -> dict[str, Any]:
    """The recipe in plain values, every field of it; `recipe_from` is the way back."""
    plain: dict[str, Any] = plain_values(asdict(recipe))
    return plain


def plain_values(value: Any) -> Any:
    """Nested settings as what YAML holds: mappings, lists, numbers, text."""
    if isinstance(value, dict):
        return {key: plain_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def recipe_text(recipe: TrainRecipe) -> str:
    """The recipe as YAML, every field of it."""
    text: str = yaml.safe_dump(plain_recipe(recipe), sort_keys=False, allow_unicode=True)
    return text


def set_value(tree: dict[str, Any], name: str, value: Any) -> None:
    """Set one value of the tree; a number in the dotted `name` is a place in a list.

    Raises:
        OptionError: the name leads nowhere.
    """
    place: Any = tree
    *way, last = name.split(".")
    for part in way:
        place = place.setdefault(part, {}) if isinstance(place, dict) else _entry(place, part, name)
    if isinstance(place, dict):
        place[last] = value
    else:
        _entry(place, last, name)
        place[int(last)] = value


def settings_from(kind: type[Settings], tree: Any, name: str) -> Settings:
    """The settings `kind` that the mapping `tree`, found at the dotted `name`, describes."""
    if not isinstance(tree, Mapping):
        raise OptionError(f"{name or 'it'} is {_brief(tree)}; it must be a group of settings")
    hints = get_type_hints(kind)
    for key in tree:
        if key not in hints:
            raise OptionError(
                f"{_dotted(name, str(key))} is no setting; there are {', '.join(sorted(hints))}"
            )
    values = {
        field.name: _value(hints[field.name], tree[field.name], _dotted(name, field.name))
        for field in fields(kind)  # type: ignore[arg-type]
        if field.name in tree
    }
    try:
        return kind(**values)
    except TypeError as error:  # a field without a default
        raise OptionError(f"{name or 'it'} lacks a setting ({error})") from error


def _value(hint: Any, value: Any, name: str) -> Any:
    """`value` as YAML gives it, in the type `hint`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is LowQualitySettings and isinstance(value, str):
        return low_quality(value)
    if is_dataclass(hint):
        return settings_from(hint, value, name)  # type: ignore[arg-type]
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
        raise OptionError(
            f"{name} is {_brief(value)}; it must be one of {', '.join(map(str, arguments))}"
        )
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _value(next(a for a in arguments if a is not type(None)), value, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise OptionError(f"{name} is {_brief(value)}; it must be a list")
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise OptionError(f"{name} has {len(value)} entries; it must have {len(kinds)}")
        return tuple(
            _value(k, v, f"{name}.{i}") for i, (k, v) in enumerate(zip(kinds, value, strict=True))
        )
    return _scalar(hint, value, name)


def _scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is float:
        number = _number(value)
        if number is not None and math.isfinite(number):
            return number
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif type(value) is hint:
        return value
    raise OptionError(f"{name} is {_brief(value)}; it must be {_WORDS[hint]}")


def _number(value: Any) -> float | None:
    """A number; YAML takes 1e-3, without a point, for text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _entry(place: Any, part: str, name: str) -> Any:
    if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
        return place[int(part)]
    raise OptionError(f"{name} leads nowhere: the file has no {part!r} there")


def _dotted(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
