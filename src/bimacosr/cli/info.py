"""`bimacosr info`: versions, devices and models; with `--costs`, what one model costs."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata, util
from typing import Any

import click

from bimacosr import __version__
from bimacosr.errors import BimacosrError, ModelError
from bimacosr.models.catalogue import DEFAULT_MODEL, MODELS, ModelEntry

__all__ = ["collect", "info"]

_PACKAGES = ("numpy", "pillow", "safetensors", "torch")


@click.command()
@click.option(
    "--costs",
    metavar="MODEL",
    help="Count parameters, bytes and operations of MODEL: a name of the list, a packed model, a"
    " checkpoint (.pth, .safetensors), or without weights resshift, sinsr, METHOD-student"
    " (bimacosr, xnor...).",
)
@click.option(
    "--size", metavar="HxW", help="Size for --costs, low-quality pixels. [default: 64x64]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(costs: str | None, size: str | None, as_json: bool) -> None:
    """Print versions, devices, and the models with their facts; or the costs of one model."""
    if costs is None:
        if size is not None:
            raise click.UsageError("--size goes with --costs")
        _print_facts(as_json)
        return
    from bimacosr.cli.costs import collect_costs, print_costs
    from bimacosr.cli.report import Report

    try:
        facts = collect_costs(costs, size or "64x64")
    except BimacosrError as error:
        Report().failed(str(error))
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        print_costs(facts)


def _print_facts(as_json: bool) -> None:
    facts = collect()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"bimacosr {facts['version']}, Python {facts['python']}, {facts['platform']}")
    versions = (
        f"{name} {version or 'not installed'}" for name, version in facts["packages"].items()
    )
    click.echo("packages: " + ", ".join(versions))
    click.echo(f"processors: {facts['processors']}")
    click.echo(
        "devices: " + (", ".join(facts["devices"]) or "none (pip install 'bimacosr[torch]')")
    )
    for model in facts["models"]:
        click.echo("")
        click.echo(f"model {model['name']}{' (default)' if model['default'] else ''}")
        for key, value in model.items():
            if key not in ("name", "default"):
                click.echo(f"  {key.replace('_', ' ')}: {_shown(value)}")


def collect() -> dict[str, Any]:
    """Everything that `info` prints, as plain data."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "processors": os.cpu_count(),
        "devices": _devices(),
        "default_model": DEFAULT_MODEL,
        "models": [_facts(entry) for entry in MODELS.values()],
    }


def _facts(entry: ModelEntry) -> dict[str, Any]:
    from bimacosr.pack.format import read_packed

    facts: dict[str, Any] = {"name": entry.name, "default": entry.name == DEFAULT_MODEL}
    facts["summary"] = entry.summary
    try:
        model = read_packed(entry.path)
    except ModelError as error:
        return facts | {"error": str(error)}
    bits = sum(64 * array.size for name, array in model.tensors.items() if name.endswith(".signs"))
    halves = sum(a.size for name, a in model.tensors.items() if not name.endswith(".signs"))
    return facts | {
        "file": str(entry.path),
        "bytes": entry.path.stat().st_size,
        "license": model.license,
        "family": model.family,
        "network": model.network,
        "one_bit_weights": bits,
        "sixteen_bit_values": halves,
        **model.extra,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    if util.find_spec("torch") is None:
        return []
    import torch

    found = ["cpu"]
    found += [
        f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())
    ]
    return found + (["mps"] if torch.backends.mps.is_available() else [])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return str(value)
