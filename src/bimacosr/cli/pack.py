"""`bimacosr pack`: a trained student into one small file, and whether such a file is sound."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bimacosr.cli.report import Report
from bimacosr.errors import BimacosrError, ModelError, OptionError
from bimacosr.io.failures import shown

if TYPE_CHECKING:
    from torch import Tensor

    from bimacosr.config.binarize import BinarizeSettings
    from bimacosr.config.official import OfficialConfig
    from bimacosr.pack.format import PackedModel
    from bimacosr.pack.verify import PackedFacts

__all__ = ["pack"]

_FILE = click.Path(path_type=Path)
_RULE = ("input_blocks.0.0", "out.2")


@click.command()
@click.argument("file", type=_FILE, metavar="CHECKPOINT|FILE")
@click.option("-o", "--output", type=_FILE, help="Packed file to write, such as model.safetensors.")
@click.option(
    "--config", type=_FILE, help="Official YAML of the student. [default: told by the checkpoint]"
)
@click.option(
    "--method",
    help="Its binarization, without --config, where the keys do not tell: xnor, horq and reste look"
    " like float weights, reactnet like bbcu.",
)
@click.option("--name", help="Name of the model. [default: that of the checkpoint]")
@click.option(
    "--license",
    "license_name",
    default="NOASSERTION",
    show_default=True,
    help="Licence of the weights, as an SPDX identifier.",
)
@click.option(
    "--multi-step",
    is_flag=True,
    help="Keep the time embedding, for sampling in many steps; without it the file is smaller and"
    " good for one step.",
)
@click.option("--verify", is_flag=True, help="Write nothing; check every part of the packed FILE.")
def pack(file: Path, output: Path | None, verify: bool, **options: Any) -> None:
    """Pack the CHECKPOINT of a 1-bit student into a small file, or verify such a FILE.

    Students of BiMaCoSR and of its rivals (.pth, .safetensors), and edge models. The VQ
    autoencoder is packed, too, so that it can be read without PyTorch.
    """
    if verify and (output is not None or _given(options)):
        raise click.UsageError("--verify goes with a packed FILE alone")
    if not verify and output is None:
        raise click.UsageError("name the packed file to write: -o model.safetensors")
    try:
        try:
            from bimacosr.pack.verify import verify_packed
        except ImportError as error:
            raise ModelError(
                f"packing needs PyTorch ({error}): pip install 'bimacosr[torch]'"
            ) from error
        if output is not None:
            _write(file, output, **options)
        click.echo(shown(_line(output or file, verify_packed(output or file))))
    except BimacosrError as error:
        Report().failed(str(error))
        sys.exit(1)


def _given(options: Mapping[str, Any]) -> bool:
    return options["license_name"] != "NOASSERTION" or any(
        value for name, value in options.items() if name != "license_name"
    )


def _line(path: Path, facts: PackedFacts) -> str:
    model = facts.model
    step = "" if model.step is None else f", time step {model.step}"
    parts = ", ".join(f"{kind} {size:,}" for kind, size in facts.parts.items() if size)
    if not facts.layers:
        return (
            f"{path} is sound: {model.name}, family {model.family}, {len(model.tensors)} arrays in"
            f" float32, licence {model.license}; {facts.size:,} bytes ({parts})"
        )
    return (
        f"{path} is sound: {model.name}, family {model.family}, method {model.binarize['method']},"
        f" {facts.layers} 1-bit layers, {facts.one_bit_weights:,} 1-bit weights{step}, licence"
        f" {model.license}; {facts.size:,} bytes ({parts})"
    )


def _write(
    checkpoint: Path,
    output: Path,
    *,
    config: Path | None,
    method: str | None,
    name: str | None,
    license_name: str,
    multi_step: bool,
) -> None:
    """Pack `checkpoint` into the file `output`.

    Raises:
        BimacosrError: a file cannot be used or written, or the network cannot be packed.
    """
    from bimacosr.checkpoints.official import read_config
    from bimacosr.checkpoints.read import read_state
    from bimacosr.pack.format import write_packed
    from bimacosr.pack.modules import pack_network
    from bimacosr.train.checkpoint import is_checkpoint
    from bimacosr.train.export import packed_student
    from bimacosr.train.weights import open_weights

    if os.path.realpath(checkpoint) == os.path.realpath(output):
        raise OptionError(f"the packed file would replace {checkpoint}; give another name")
    if is_checkpoint(checkpoint):
        if config is not None or method is not None or multi_step:
            raise OptionError(f"{checkpoint} says itself what it is: give no --config or --method")
        student = open_weights(str(checkpoint))
        model = packed_student(student, name=name or checkpoint.stem, license_name=license_name)
        write_packed(output, model)
        return
    if config is not None and method is not None:
        raise OptionError("the configuration says which method it is; leave out the method")
    told = None if config is None else read_config(config)
    if told is not None and told.unknown:
        names = ", ".join(told.unknown)
        click.echo(shown(f"{config} has settings that are not known here: {names}"), err=True)
    state = read_state(checkpoint)
    facts: dict[str, Any] = {
        "name": checkpoint.stem if name is None else name,
        "license_name": license_name,
        "extra": {"packed_from": checkpoint.name},
    }
    plain = told is None and method is None and not multi_step
    try:
        if "body.0.conv.weight" in state:
            from bimacosr.pack.edge import edge_student

            if not plain:
                raise OptionError("an edge model takes no configuration, method or steps")
            model = pack_network(**edge_student(state), **facts)
        elif "encoder.conv_in.weight" in state:
            if not plain:
                raise OptionError("an autoencoder takes no configuration, method or steps")
            model = _packed_autoencoder(state, facts)
        else:
            model = pack_network(**_swin_student(state, told, method, multi_step), **facts)
    except (ModelError, OptionError) as error:
        raise ModelError(f"{checkpoint} cannot be packed: {error}") from error
    write_packed(output, model)


def _packed_autoencoder(state: Mapping[str, Tensor], facts: dict[str, Any]) -> PackedModel:
    from bimacosr.checkpoints.detect import detect_autoencoder
    from bimacosr.pack.autoencoder import pack_autoencoder

    arrays = {key: tensor.numpy() for key, tensor in state.items()}
    return pack_autoencoder(arrays, detect_autoencoder(state), **facts)


def _swin_student(
    state: Mapping[str, Tensor],
    config: OfficialConfig | None,
    method: str | None,
    multi_step: bool,
) -> dict[str, Any]:
    """A student of the paper family, as the arguments of `pack_network`."""
    from dataclasses import asdict

    from bimacosr.checkpoints.load import assemble_unet
    from bimacosr.config.diffusion import DiffusionSettings
    from bimacosr.config.networks import vq_f4
    from bimacosr.diffusion.schedule import make_schedule
    from bimacosr.pack.autoencoder import autoencoder_entry

    unet = assemble_unet(
        state,
        settings=None if config is None else config.unet,
        binarize=_binarization(state, config, method),
    )
    if unet.binarize is None:
        raise ModelError(
            "it is a float network, which has nothing to pack; if it is a student of xnor, horq or"
            " reste, whose keys look so, name the method"
        )
    if config is not None and config.autoencoder is None:
        raise OptionError("the configuration describes a network without autoencoder, on pixels")
    diffusion = DiffusionSettings() if config is None else config.diffusion
    first_stage = vq_f4() if config is None else config.autoencoder
    assert first_stage is not None
    return {
        "student": unet.network,
        "family": "swin",
        "network": asdict(unet.settings),
        "binarize_settings": unet.binarize,
        "diffusion": asdict(diffusion),
        "step": None if multi_step else make_schedule(diffusion).network_steps[-1],
        "autoencoder": autoencoder_entry(first_stage),
    }


def _binarization(
    state: Mapping[str, Tensor], config: OfficialConfig | None, method: str | None
) -> BinarizeSettings | None:
    """How the layers are 1-bit, as far as the user told it.

    Where only the method is told, its layers are those that the checkpoint shows, or else those of
    the official configurations: all but the first and the last convolution.
    """
    from bimacosr.binarize.registry import find_method
    from bimacosr.checkpoints.detect import detect_binarization
    from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule

    if config is not None:
        return config.binarize
    if method is None:
        return None
    find_method(method)
    rule = KeepFloatRule(keywords=_RULE)
    seen = detect_binarization(state, method)
    return seen or BinarizeSettings(method=method, keep_float_conv=(rule,))
