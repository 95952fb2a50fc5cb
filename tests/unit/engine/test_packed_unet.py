"""The native UNet from the arrays of a packed file, beside the PyTorch network of that file."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict

import numpy as np
import pytest
import torch

from bimacosr.engine.unet import NativeUNet
from bimacosr.pack.modules import pack_network, rebuild_network
from tests.golden import students
from tests.unit.engine.test_unet import SMALL, inputs, student


@pytest.mark.parametrize("step", [14, None], ids=["folded", "whole"])
def test_it_computes_what_the_file_holds(step: int | None) -> None:
    model = pack_network(
        deepcopy(student(SMALL)).float(),
        name="student",
        family="swin",
        network=asdict(SMALL),
        binarize_settings=students.SETTINGS,
        diffusion={},
        license_name="CC0-1.0",
        step=step,
    )
    x, lq = (tensor.float() for tensor in inputs(16, 32))
    with torch.no_grad():
        expected = rebuild_network(model).double()(x.double(), torch.tensor([14]), lq.double())
    result = NativeUNet(SMALL, model.tensors)(x.numpy(), lq.numpy())
    rms = float(expected.square().mean().sqrt())
    assert np.abs(result - expected.numpy()).max() < 2e-4 * rms
