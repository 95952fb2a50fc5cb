"""The house rules on imports: floors, what is loaded when, and what a module offers."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
FILES = sorted((SOURCE / "bimacosr").rglob("*.py"))
LINT = """
import sys
from importlinter import cli

# an editable installation has an import hook, which would find the true package
sys.meta_path[:] = [hook for hook in sys.meta_path if "editable" not in type(hook).__module__]
cli.lint_imports_command()
"""


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = [module_name(file) for file in FILES]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the import linter on the package in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
    options = ["--no-cache", "--no-logo", "--config", str(folder / "pyproject.toml")]
    command = [sys.executable, "-c", LINT, *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package to plant mistakes in."""
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(SOURCE, tmp_path / "src", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


class TestFloors:
    def test_the_contract_is_kept(self) -> None:
        result = lint(ROOT)
        assert result.returncode == 0, result.stdout
        assert "Contracts: 1 kept, 0 broken." in result.stdout

    @pytest.mark.parametrize(
        ("importer", "imported"),
        [
            ("tiling.feathered", "upscale"),  # upwards
            ("config.edge", "io.color"),  # upwards, by several floors
            ("networks.edge", "binarize.convert"),  # sideways
            ("upscale", "reference"),  # sideways
        ],
    )
    def test_a_planted_import_is_refused(self, copy: Path, importer: str, imported: str) -> None:
        file = copy / "src" / "bimacosr" / (importer.replace(".", "/") + ".py")
        with file.open("a") as source:
            source.write(f"\nimport bimacosr.{imported}\n")
        result = lint(copy)
        assert result.returncode == 1
        assert "Contracts: 0 kept, 1 broken." in result.stdout
        top = importer.split(".")[0], imported.split(".")[0]
        message = "bimacosr.{} is not allowed to import bimacosr.{}"
        assert message.format(*top) in result.stdout

    def test_a_module_without_a_floor_is_refused(self, copy: Path) -> None:
        (copy / "src" / "bimacosr" / "stray.py").write_text('"""Nobody placed me."""\n')
        result = lint(copy)
        assert result.returncode == 1
        assert "bimacosr.stray" in result.stdout


def loaded_by(*modules: str) -> set[str]:
    """Top names in `sys.modules` after a fresh interpreter has imported `modules`."""
    script = f"import sys, {', '.join(modules)}; print(*{{m.split('.')[0] for m in sys.modules}})"
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


class TestWhatIsLoaded:
    def test_the_package_alone_loads_no_numbers(self) -> None:
        loaded = loaded_by("bimacosr")
        assert "bimacosr" in loaded
        assert not loaded & {"numpy", "torch", "PIL", "safetensors", "click", "rich"}

    def test_the_command_line_starts_without_torch(self) -> None:
        assert "torch" not in loaded_by("bimacosr.cli")

    def test_everything_that_is_no_pytorch_works_without_it(self) -> None:
        rooms = ("io", "models", "config")
        names = [name for name in NAMES if name.split(".")[1:2] and name.split(".")[1] in rooms]
        names += ["bimacosr." + name for name in ("tiling", "noise", "upscale", "resolver")]
        names += ["bimacosr.pack.format", "bimacosr.engine"]
        loaded = loaded_by(*names)
        assert "numpy" in loaded
        assert "torch" not in loaded


def public_list(file: Path) -> list[str] | None:
    """The names in a file's `__all__`, or None if it has none."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def sort_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def offers_something(file: Path) -> bool:
    """Whether the file has anything public of its own."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    body = ast.parse(file.read_text()).body
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in body)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
class TestPublicNames:
    def test_the_list_is_there_and_sorted(self, file: Path) -> None:
        names = public_list(file)
        if names is None:
            assert not offers_something(file), "a module with public names needs __all__"
            return
        assert names == sorted(set(names), key=sort_key)

    def test_every_name_in_it_exists(self, file: Path) -> None:
        names = public_list(file) or []
        if not names:
            return
        module = importlib.import_module(module_name(file))
        assert [name for name in names if not hasattr(module, name)] == []

    def test_what_is_imported_from_elsewhere_is_public_there(self, file: Path) -> None:
        """The list is complete: no room reaches into another one's private part."""
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("bimac"):
                continue
            assert node.level == 0
            owner = SOURCE / str(node.module).replace(".", "/")
            source = owner / "__init__.py" if owner.is_dir() else owner.with_suffix(".py")
            offered = set(public_list(source) or ())
            for alias in node.names:
                submodule = owner.is_dir() and (
                    (owner / alias.name).is_dir() or (owner / f"{alias.name}.py").is_file()
                )
                assert submodule or alias.name in offered, f"{node.module}.{alias.name}"
