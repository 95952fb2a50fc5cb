"""Options that take several words: `--metrics psnr ssim` as well as `--metrics psnr,ssim`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bimacosr.errors import OptionError

__all__ = ["ListCommand", "named_paths", "words"]


class ListCommand(click.Command):
    """A command without arguments: words after an option that may be repeated belong to it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further word, as click wants it."""
        repeated = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        spread: list[str] = []
        option, filled = "", False
        for word in args:
            if word.startswith("-"):
                option, equals, _ = word.partition("=")
                filled = bool(equals)
            elif option in repeated and filled:
                spread.append(option)
            else:
                filled = True
            spread.append(word)
        return super().parse_args(ctx, spread)


def words(given: Sequence[str]) -> tuple[str, ...] | None:
    """Split words at commas; None where nothing was given at all."""
    split = tuple(word for text in given for word in text.replace(",", " ").split())
    return split if given else None


def named_paths(given: Sequence[str], kind: Callable[[Path], str]) -> dict[str, Path]:
    """Paths by name: "NAME=PATH", or a path alone, which `kind` names.

    Raises:
        OptionError: a name is empty or stands twice.
    """
    paths: dict[str, Path] = {}
    for text in given:
        name, equals, rest = text.partition("=")
        if not equals or Path(text).exists() or "/" in name:
            name, rest = kind(Path(text)), text
        if not name or not rest:
            raise OptionError(f"{text!r} names nothing; give NAME=PATH or a path")
        if name in paths:
            raise OptionError(
                f"two methods are called {name}: {paths[name]} and {rest}; give NAME=PATH"
            )
        paths[name] = Path(rest)
    return paths
