"""Signs and their gradients, at the points where mistakes hide: 0, 1, and one float beyond."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bimacosr.binarize.signs import (
    binary_activation,
    binary_weight,
    clipped_activation,
    sign_bireal,
    sign_clip,
    sign_of,
    sign_reste,
)

POINTS = torch.tensor([-3.0, -1.0, -0.75, -0.25, -0.0, 0.0, 0.25, 0.5, 1.0, 1.5])
BEYOND_1 = 1 + 2**-23


def gradient(function: object, x: Tensor, cotangent: Tensor | None = None) -> Tensor:
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(torch.ones_like(y) if cotangent is None else cotangent)
    assert x.grad is not None
    return x.grad


class TestSignOf:
    def test_zero_gives_zero_or_one(self) -> None:
        assert sign_of(POINTS).tolist() == [-1, -1, -1, -1, 0, 0, 1, 1, 1, 1]
        assert sign_of(POINTS, 1).tolist() == [-1, -1, -1, -1, 1, 1, 1, 1, 1, 1]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    @pytest.mark.parametrize("of_zero", [0, 1])
    def test_type_is_kept(self, dtype: torch.dtype, of_zero: int) -> None:
        assert sign_of(POINTS.to(dtype), of_zero).dtype == dtype

    def test_the_smallest_numbers_have_a_sign(self) -> None:
        tiny = torch.tensor([2.0**-149, -(2.0**-149)])
        assert sign_of(tiny).tolist() == sign_of(tiny, 1).tolist() == [1, -1]


class TestBiReal:
    def test_gradient_is_a_triangle(self) -> None:
        wanted = [0, 0, 0.5, 1.5, 2, 2, 1.5, 1, 0, 0]
        assert gradient(sign_bireal, POINTS).tolist() == wanted

    def test_gradient_multiplies_what_comes_from_above(self) -> None:
        cotangent = torch.arange(10.0)
        assert torch.equal(
            gradient(sign_bireal, POINTS, cotangent), cotangent * gradient(sign_bireal, POINTS)
        )

    @pytest.mark.parametrize("of_zero", [0, 1])
    def test_value_is_the_sign(self, of_zero: int) -> None:
        assert torch.equal(sign_bireal(POINTS, of_zero), sign_of(POINTS, of_zero))


class TestClip:
    def test_gradient_is_1_up_to_and_at_the_limit(self) -> None:
        x = torch.tensor([-BEYOND_1, -1, 0, 1, BEYOND_1])
        assert gradient(sign_clip, x).tolist() == [0, 1, 1, 1, 0]
        assert gradient(lambda v: sign_clip(v, 1.5), POINTS).tolist() == [0] + [1] * 9

    def test_value_is_the_sign(self) -> None:
        assert torch.equal(sign_clip(POINTS), sign_of(POINTS))
        assert torch.equal(sign_clip(POINTS, of_zero=1), sign_of(POINTS, 1))


class TestReste:
    def test_gradient_is_1_up_to_and_at_one_and_a_half(self) -> None:
        x = torch.tensor([-1.5 * BEYOND_1, -1.5, 0, 1.5, 1.5 * BEYOND_1])
        assert gradient(sign_reste, x).tolist() == [0, 1, 1, 1, 0]
        assert sign_reste(x, 1).tolist() == [-1, -1, 1, 1, 1]


class TestClippedActivation:
    x = torch.tensor([[0.5, -0.25, 0.0, 3.25]])  # mean 1

    def test_one_term(self) -> None:
        assert clipped_activation(self.x, channel_dim=1).tolist() == [[1, -1, 0, 1]]
        grad = gradient(lambda v: clipped_activation(v, channel_dim=1), self.x)
        assert grad.tolist() == [[1, 1, 1, 0]]

    def test_second_term_takes_what_the_first_leaves(self) -> None:
        # it leaves -0.5, 0.75, 0, 2.25, of mean 0.875
        y = clipped_activation(self.x, channel_dim=1, order=2)
        assert y.tolist() == [[0.125, -0.125, 0, 1.875]]
        # d(rest)/dx is 0 where the first sign passes its gradient, 1 where it does not
        grad = gradient(lambda v: clipped_activation(v, channel_dim=1, order=2), self.x)
        assert grad.tolist() == [[1, 1, 1, 0]]


class TestActivation:
    def test_one_scale_a_pixel(self) -> None:
        x = torch.tensor([[1.0, -3.0], [-2.0, 0.0]]).T.reshape(1, 2, 2, 1)  # channels 1,-3 | -2,0
        y = binary_activation(x, channel_dim=1)
        assert y[0, :, 0, 0].tolist() == [2, -2]
        assert y[0, :, 1, 0].tolist() == [-1, 0]

    def test_one_scale_a_token(self) -> None:
        tokens = torch.tensor([[[1.0, -3.0], [-2.0, 0.0]]])
        y = binary_activation(tokens, channel_dim=-1, of_zero=1)
        assert y.tolist() == [[[2, -2], [-1, 1]]]

    def test_the_scale_is_not_differentiated(self) -> None:
        x = torch.tensor([[0.5, -0.25, 0.0, 3.0]])
        scale = 3.75 / 4
        grad = gradient(lambda v: binary_activation(v, channel_dim=1), x)
        assert grad.tolist() == [[scale * 1, scale * 1.5, scale * 2, 0]]

    def test_relative_gradient_does_not_depend_on_the_size_of_x(self) -> None:
        x = torch.tensor([[0.5, -0.25, 0.0, 3.25]])  # mean 1
        for size in (1e-3, 1.0, 1e3):
            grad = gradient(
                lambda v: binary_activation(v, channel_dim=1, relative_gradient=True), size * x
            )
            torch.testing.assert_close(grad, torch.tensor([[1.0, 1.5, 2.0, 0.0]]))

    @pytest.mark.parametrize("relative", [False, True])
    @pytest.mark.parametrize("of_zero", [0, 1])
    def test_a_pixel_of_zeros_stays_finite(self, relative: bool, of_zero: int) -> None:
        def act(x: Tensor) -> Tensor:
            return binary_activation(x, channel_dim=1, of_zero=of_zero, relative_gradient=relative)

        x = torch.zeros(1, 4, 2, 2)
        assert torch.equal(act(x), x)
        assert torch.equal(gradient(act, x), x)

    def test_the_value_is_the_same_for_both_gradients(self) -> None:
        x = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0))
        one, other = (
            binary_activation(x, channel_dim=1, relative_gradient=r) for r in (False, True)
        )
        assert torch.equal(one, other)


class TestWeight:
    @pytest.mark.parametrize("shape", [(3, 5), (4, 6, 3, 3), (2, 3, 1, 1)])
    def test_one_scale_an_output_channel(self, shape: tuple[int, ...]) -> None:
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        binary = binary_weight(weight)
        for row, source in zip(binary, weight, strict=True):
            assert torch.equal(row.sign(), source.sign())
            # exactly one magnitude: nothing of the surrogate gradient is left in the value
            assert row.abs().unique().tolist() == [source.abs().mean().item()]

    def test_zero_stays_zero(self) -> None:
        assert binary_weight(torch.tensor([[0.0, -2.0]])).tolist() == [[0, -1]]

    def test_gradient_passes_up_to_and_at_1(self) -> None:
        weight = torch.tensor([[-BEYOND_1, -1, -0.5, 0, 1, BEYOND_1, 30]])
        cotangent = torch.arange(1.0, 8.0)[None]
        grad = gradient(binary_weight, weight, cotangent)
        assert grad.tolist() == [[0, 2, 3, 4, 5, 0, 0]]

    def test_second_term_takes_what_the_first_leaves(self) -> None:
        weight = torch.tensor([[0.5, -0.25, 0.0, 3.25]])
        assert binary_weight(weight, 2).tolist() == [[0.125, -0.125, 0, 1.875]]
        assert gradient(lambda w: binary_weight(w, 2), weight).tolist() == [[1, 1, 1, 0]]
