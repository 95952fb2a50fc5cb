"""The native UNet against the PyTorch student, on every instruction set of the machine.

In the margin style of the reference's weights no float32 rounding flips a sign, so that whole
networks can be compared; the plain style, where signs matter, is compared in a network so small
that hardly any activation lies near 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from bimacosr.binarize.convert import binarize
from bimacosr.config.networks import UNetSettings
from bimacosr.engine.native import instruction_sets, open_native
from bimacosr.engine.student import Student
from bimacosr.engine.unet import NativeUNet, _time_embedding
from bimacosr.errors import BackendError, OptionError
from bimacosr.networks.blocks import timestep_embedding
from bimacosr.networks.unet import UNetModelSwin, build_unet
from bimacosr.pack.format import Array, pack_signs
from tests.golden import reference as ref
from tests.golden import students

ISAS = instruction_sets()
SMALL = UNetSettings(
    image_size=16,
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=(1, 1),
    attention_resolutions=(16, 8),
    swin_embed_dim=32,
    num_head_channels=16,
    mlp_ratio=2.0,
)
SHAPES = {
    "window 4": replace(SMALL, window_size=4),
    "window 6, of 36 tokens": replace(
        SMALL, window_size=6, image_size=24, attention_resolutions=()
    ),
    "window 16, of four tiles": replace(
        SMALL, window_size=16, image_size=32, attention_resolutions=(32,)
    ),
    "three levels down to 4x4": replace(
        SMALL, channel_mult=(1, 2, 1), num_res_blocks=(1, 2, 1), attention_resolutions=(8,)
    ),
    "time step added": replace(SMALL, use_scale_shift_norm=False),
    "one level, no attention but the middle's": replace(
        SMALL, channel_mult=(1,), num_res_blocks=(2,), attention_resolutions=(), swin_depth=3
    ),
    "three heads, odd depth": replace(SMALL, swin_embed_dim=96, num_head_channels=32, swin_depth=1),
}

State = dict[str, Array]


def state_of(network: torch.nn.Module) -> State:
    return {key: value.float().numpy() for key, value in network.state_dict().items()}


@cache
def student(settings: UNetSettings, style: str = "margin") -> UNetModelSwin:
    """A student in float64, which has no rounding that counts here."""
    network = build_unet(settings).double().requires_grad_(False).eval()
    ref.fill(network, seed=0)
    converted = binarize(network, students.SETTINGS).requires_grad_(False)
    ref.fill(converted, seed=2, style=style)
    for parameter in converted.parameters():
        parameter.copy_(parameter.float())
    return converted


def inputs(height: int, width: int) -> tuple[Tensor, Tensor]:
    x = ref.normal("native/x", (1, 3, height, width), torch.float64).float().double()
    return x, ref.normal(
        "native/lq", (1, 3, height, width), torch.float64, std=0.5
    ).float().double()


@torch.no_grad()
def deviation(
    settings: UNetSettings, style: str, isa: str, height: int, width: int, offset: float = 0.0
) -> float:
    network = student(settings, style)
    x, lq = inputs(height, width)
    x = x + offset
    wanted = network(x, torch.tensor([14]), lq)
    native = NativeUNet(settings, state_of(network), isa)
    return ref.deviation(torch.from_numpy(native(x.float().numpy(), lq.float().numpy())), wanted)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_networks_of_many_shapes(shape: str, isa: str) -> None:
    settings = SHAPES[shape]
    multiple = settings.latent_multiple
    height = -(-16 // multiple) * multiple
    assert deviation(settings, "margin", isa, height, height + multiple) < ref.F32_NETWORK


@pytest.mark.parametrize("isa", ISAS)
def test_signs_that_matter(isa: str) -> None:
    settings = replace(SMALL, channel_mult=(1,), num_res_blocks=(1,), attention_resolutions=())
    settings = replace(settings, swin_depth=1)
    # an input for which PyTorch's own float32 run has the signs of its float64 run
    assert deviation(settings, "plain", isa, 16, 16, offset=1.0) < 1e-4


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("run", ["t14", "rect"])
def test_the_tiny_golden(run: str, isa: str) -> None:
    name = "student_tiny"
    network = students.build(name, torch.float32)
    students.fill(network, "C")
    native = NativeUNet(ref.unet_settings(students.golden(name)["config"]), state_of(network), isa)
    x, _, lq = students.inputs_of(name, "C", run, torch.float32)
    out = torch.from_numpy(native(x.numpy(), lq.numpy()))
    assert ref.deviation(out, ref.tensors(name)[f"C/{run}/out"]) < ref.F32_NETWORK


@cache
def full_state() -> State:
    shapes = {key: tuple(told[0]) for key, told in ref.meta("keys_student")["ours_r8"].items()}
    state: State = ref.synth().make_state(shapes, *students.STYLES["C"])
    return state


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("run", ["t14", "rect"])
def test_the_full_golden(run: str, isa: str) -> None:
    name = "student_full"
    native = NativeUNet(ref.unet_settings(students.golden(name)["config"]), full_state(), isa)
    x, _, lq = students.inputs_of(name, "C", run, torch.float32)
    out = torch.from_numpy(native(x.numpy(), lq.numpy()))
    assert ref.deviation(out, ref.tensors(name)[f"C/{run}/out"]) < ref.F32_NETWORK


LAYERS = {
    "input_blocks.1.0.in_layers.2": (32, 32, 9),
    "output_blocks.0.0.in_layers.2": (64, 128, 9),
    "output_blocks.0.0.skip_connection": (64, 128, 1),
    "middle_block.1.blocks.0.attn.qkv": (96, 32, 1),
    "middle_block.1.blocks.0.attn.proj": (32, 32, 1),
    "middle_block.1.blocks.0.mlp.fc1": (64, 32, 1),
    "middle_block.1.blocks.0.mlp.fc2": (32, 64, 1),
}


@torch.no_grad()
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_the_student(name: str, isa: str) -> None:
    network = student(SMALL, "plain")
    c_out, c_in, taps = LAYERS[name]
    arguments = Student(state_of(network)).layer(name, c_out, c_in, taps)
    layer = open_native().binary_layer(isa, **arguments)
    x = ref.normal(f"native/{name}", (c_in, 12, 20), torch.float64, std=4.0).float()
    if name.endswith("fc2"):
        x = torch.nn.functional.gelu(x)
        assert bool((x == 0).any())
    found = layer.run(x.numpy())
    seen = x.double()[None]
    module = network.get_submodule(name)
    by_token = name.endswith(("qkv", "proj"))
    wanted = module(seen.flatten(2).mT).mT.reshape(found[None].shape) if by_token else module(seen)
    assert ref.deviation(torch.from_numpy(found)[None], wanted) < ref.F32_LAYER


@pytest.mark.parametrize("isa", ISAS)
def test_threads_change_nothing(isa: str) -> None:
    x, lq = (value.float().numpy() for value in inputs(32, 48))
    state = state_of(student(SMALL, "plain"))
    one, many = (NativeUNet(SMALL, state, isa, threads)(x, lq) for threads in (1, 3))
    assert np.array_equal(one, many)


@pytest.mark.parametrize("isa", ISAS)
def test_a_network_runs_again_at_other_sizes(isa: str) -> None:
    native = NativeUNet(SMALL, state_of(student(SMALL)), isa)
    small, large = ([v.float().numpy() for v in inputs(*size)] for size in ((16, 16), (48, 32)))
    first = native(*small)
    native(*large)
    assert np.array_equal(native(*small), first)


def test_the_time_step_is_folded() -> None:
    network, (x, lq) = student(SMALL), inputs(16, 16)
    native = NativeUNet(SMALL, state_of(network), step=3)
    with torch.no_grad():
        wanted = network(x, torch.tensor([3]), lq)
        other = network(x, torch.tensor([14]), lq)
    out = torch.from_numpy(native(x.float().numpy(), lq.float().numpy()))
    assert ref.deviation(out, wanted) < ref.F32_NETWORK < ref.deviation(out, other)


@pytest.mark.parametrize("width", [32, 33, 160])
@pytest.mark.parametrize("step", [0, 3, 14])
def test_the_time_embedding_is_that_of_the_network(step: int, width: int) -> None:
    wanted = timestep_embedding(torch.tensor([step]), width)[0].numpy()
    np.testing.assert_allclose(_time_embedding(step, width), wanted, atol=2e-6)


def test_a_packed_state_gives_the_same() -> None:
    state = state_of(student(SMALL))
    packed: dict[str, npt.NDArray[Any]] = {}
    for key, value in state.items():
        owner = key.removesuffix(".weight")
        if key != owner and f"{owner}.lora.A.weight" in state:
            packed[f"{owner}.signs"] = pack_signs(value)
            packed[f"{owner}.scale"] = np.abs(value).mean(tuple(range(1, value.ndim)))
        elif key.endswith("indices_float"):
            packed[key.removesuffix("_float")] = value.astype(np.uint16)
        elif not key.endswith(("move0.bias", "channel_threshold")):
            packed[key] = value
    x, lq = (value.float().numpy() for value in inputs(16, 16))
    outputs = [torch.from_numpy(NativeUNet(SMALL, s)(x, lq)) for s in (state, packed)]
    assert ref.deviation(outputs[1], outputs[0]) < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("branches", [{"sparse": False}, {"low_rank": False}])
def test_ablations(branches: dict[str, bool]) -> None:
    """Without a sparse branch a downsampling has no shortcut either."""
    settings = replace(SMALL, attention_resolutions=())
    network = build_unet(settings).double().requires_grad_(False).eval()
    ref.fill(network, seed=0)
    ablated = binarize(network, replace(students.SETTINGS, **branches)).requires_grad_(False)
    ref.fill(ablated, seed=2, style="margin")
    for parameter in ablated.parameters():
        parameter.copy_(parameter.float())
    x, lq = inputs(16, 16)
    native = NativeUNet(settings, state_of(ablated))
    out = torch.from_numpy(native(x.float().numpy(), lq.float().numpy()))
    assert ref.deviation(out, ablated(x, torch.tensor([14]), lq)) < ref.F32_NETWORK


def test_profile_tells_where_the_time_went() -> None:
    native = NativeUNet(SMALL, state_of(student(SMALL)))
    assert set(native.profile().values()) == {0.0}
    native(*(value.float().numpy() for value in inputs(16, 16)))
    told = native.profile()
    assert min(told.values()) > 0
    assert {"multiply 3x3", "multiply 1x1", "attention"} < set(told)
    assert set(native.profile().values()) == {0.0}


def without(key: str) -> State:
    return {k: v for k, v in state_of(student(SMALL)).items() if k != key}


def changed(key: str, value: Array) -> State:
    return state_of(student(SMALL)) | {key: value}


def with_float_layer(name: str) -> State:
    return {
        key: value
        for key, value in state_of(student(SMALL)).items()
        if not key.startswith(name) or key in (f"{name}.weight", f"{name}.bias")
    }


NAME = "middle_block.0.in_layers.2"
INDICES = f"{NAME}.skip_connection.indices_float"
WRONG: dict[str, tuple[Callable[[], State], str]] = {
    "missing": (lambda: without("out.0.weight"), "out.0.weight is missing"),
    "surplus": (lambda: changed("extra.weight", np.zeros(3)), "has no extra.weight"),
    "shape": (lambda: changed("out.0.weight", np.zeros(3)), r"is \(3,\), not \(32,\)"),
    "float": (lambda: with_float_layer(NAME), f"{NAME} is missing or not 1-bit"),
    "binary": (lambda: changed("out.2.channel_threshold", np.zeros(3)), "out.2 is 1-bit"),
    "indices": (lambda: changed(INDICES, np.full((2, 128), 64.0)), "point outside"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_state_is_refused(kind: str) -> None:
    make, message = WRONG[kind]
    with pytest.raises(ValueError, match=message):
        NativeUNet(SMALL, make())


def test_wrong_inputs_are_refused() -> None:
    native = NativeUNet(SMALL, state_of(student(SMALL)))
    x = np.zeros((1, 3, 16, 16), np.float32)
    with pytest.raises(OptionError, match="multiples of 16"):
        native(x[..., :8, :], x[..., :8, :])
    with pytest.raises(OptionError, match=r"3 \+ 4 channels"):
        native(x, np.zeros((1, 4, 16, 16), np.float32))
    with pytest.raises(OptionError, match="do not make one input"):
        native(x, x[..., :8])
    with pytest.raises(BackendError, match="cannot run the instruction set 'sse9'"):
        NativeUNet(SMALL, state_of(student(SMALL)), "sse9")
