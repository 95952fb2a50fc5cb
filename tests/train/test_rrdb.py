"""The image-space teacher: its arithmetic, and the reader of ncnn's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.errors import ModelError
from bimacosr.train.rrdb import RRDBNet, load_ncnn

MARKS = {"<f2": 0x01306B47, "<f4": 0}


def small_network(seed: int) -> RRDBNet:
    torch.manual_seed(seed)
    return RRDBNet(channels=4, blocks=1, growth=3)


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def write_ncnn(folder: Path, network: nn.Module, kind: str) -> Path:
    """A `.param` with the convolutions of `network`, and its `.bin`."""
    param = folder / "tiny.param"
    lines, data = ["7767517", "0 0", "Input data 0 1 data"], b""
    for i, layer in enumerate(convolutions(network)):
        weight = layer.weight.detach().numpy()
        lines.append(f"Convolution c{i} 1 1 a b 0={layer.out_channels} 1=3 5=1 6={weight.size} 9=2")
        stored = weight.astype(kind).tobytes()
        data += MARKS[kind].to_bytes(4, "little") + stored + bytes(-len(stored) % 4)
        assert layer.bias is not None
        data += layer.bias.detach().numpy().astype("<f4").tobytes()
    param.write_text("\n".join(lines) + "\n")
    param.with_suffix(".bin").write_bytes(data)
    return param


@pytest.mark.parametrize("kind", ["<f2", "<f4"])
def test_weights_come_back_from_ncnn_files(tmp_path: Path, kind: str) -> None:
    written, read = small_network(1), small_network(2)
    load_ncnn(read, write_ncnn(tmp_path, written, kind))
    for a, b in zip(convolutions(written), convolutions(read), strict=True):
        expected = a.weight.detach().numpy().astype(kind).astype(np.float32)
        np.testing.assert_array_equal(b.weight.detach().numpy(), expected)
        assert torch.equal(b.bias, a.bias)  # type: ignore[arg-type]


def test_the_forward_pass_is_that_of_the_paper() -> None:
    network = small_network(3)
    layers = iter(convolutions(network))
    photo = torch.rand(1, 3, 5, 7)

    def convolve(x: Tensor) -> Tensor:
        layer = next(layers)
        return F.conv2d(x, layer.weight, layer.bias, padding=1)

    def bend(x: Tensor) -> Tensor:
        return torch.where(x < 0, 0.2 * x, x)

    first = x = convolve(photo)
    for _ in range(3):
        seen = [x]
        for _ in range(4):
            seen.append(bend(convolve(torch.cat(seen, 1))))
        x = x + 0.2 * convolve(torch.cat(seen, 1))
    x = first + convolve(first + 0.2 * x)
    for _ in range(2):
        x = bend(convolve(x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    expected = convolve(bend(convolve(x)))
    assert expected.shape == (1, 3, 20, 28)
    torch.testing.assert_close(network(photo), expected)


def test_another_network_is_refused(tmp_path: Path) -> None:
    param = write_ncnn(tmp_path, small_network(1), "<f4")
    with pytest.raises(ModelError, match=r"tiny\.param: 21 convolutions .* not those"):
        load_ncnn(RRDBNet(channels=4, blocks=2, growth=3), param)


def test_files_cut_short_or_quantised_are_refused(tmp_path: Path) -> None:
    param = write_ncnn(tmp_path, small_network(1), "<f2")
    data = param.with_suffix(".bin")
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match="cut short"):
        load_ncnn(small_network(1), param)
    data.write_bytes((0x000D4B38).to_bytes(4, "little") + whole[4:])
    with pytest.raises(ModelError, match="stored as 0xd4b38"):
        load_ncnn(small_network(1), param)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    param = write_ncnn(tmp_path, small_network(1), "<f2")
    param.with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match=r"tiny\.bin cannot be read \(No such file"):
        load_ncnn(small_network(1), param)
