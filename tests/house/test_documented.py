"""Everything public says what it is, every setting is explained, and nothing grows too big."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "bimacosr"
FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(file.relative_to(PACKAGE)) for file in FILES]
SETTINGS = sorted((PACKAGE / "config").glob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def documented_parts(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Public functions and classes of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for child in node.body:
                    if isinstance(child, Function) and not child.name.startswith("_"):
                        yield f"{node.name}.{child.name}", child


def is_overload(node: ast.AST) -> bool:
    return isinstance(node, Function) and any(
        ast.unparse(decorator) == "overload" for decorator in node.decorator_list
    )


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_modules_classes_and_functions_have_a_docstring(file: Path) -> None:
    text = file.read_text()
    if not text:
        return
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the module"
    lacking = [
        name
        for name, node in documented_parts(tree)
        if not is_overload(node) and not ast.get_docstring(node)
    ]
    assert lacking == []


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: file.stem)
def test_every_setting_has_a_docstring_under_it(file: Path) -> None:
    for node in ast.parse(file.read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                told = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                assert told, f"{node.name}.{ast.unparse(field.target)}"


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: file.stem)
def test_settings_are_frozen(file: Path) -> None:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
            assert "frozen=True" in decorators, node.name
            assert "kw_only=True" in decorators, node.name


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_nothing_grows_too_big(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            assert node.end_lineno is not None
            docstring = ast.get_docstring(node, clean=False) or ""
            size = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
            assert size <= 60, node.name
