"""The losses: what a perfect network costs, what gets a gradient, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bimacosr.config.diffusion import DiffusionSettings, DistillSettings, sinsr_distillation
from bimacosr.diffusion.losses import (
    Loss,
    distillation_loss,
    patch_covariance_loss,
    resshift_loss,
)
from bimacosr.diffusion.process import make_process
from bimacosr.diffusion.samplers import deterministic
from bimacosr.errors import OptionError

SHAPE = (2, 3, 12, 12)
PROCESS = make_process(DiffusionSettings())


def normal(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Z_0, Z_Y = normal(100), normal(101)


def teacher(z: Tensor, t: Tensor) -> Tensor:
    return 0.8 * z + 0.01 * t.reshape(-1, 1, 1, 1)


def distill(student: Any, settings: DistillSettings, **arguments: Any) -> Loss:
    return distillation_loss(
        student, teacher, PROCESS, settings, z_0=Z_0, z_y=Z_Y, noise=normal, **arguments
    )


class TestResshift:
    def test_a_perfect_network_costs_nothing(self) -> None:
        loss = resshift_loss(
            lambda z, t: Z_0, PROCESS, z_0=Z_0, z_y=Z_Y, t=torch.tensor([0, 9]), noise=normal(0)
        )
        assert loss.total.tolist() == [0, 0]
        assert torch.equal(loss.z_0, Z_0)

    def test_weights_are_those_of_the_bound(self) -> None:
        arguments: dict[str, Any] = {
            "z_0": Z_0,
            "z_y": Z_Y,
            "t": torch.tensor([0, 9]),
            "noise": normal(0),
        }
        plain = resshift_loss(teacher, PROCESS, **arguments)
        weighted = resshift_loss(teacher, PROCESS, weighted=True, **arguments)
        assert torch.equal(weighted.terms["mse"], plain.total)
        weights = torch.from_numpy(PROCESS.schedule.z_0_loss_weight[[0, 9]])
        torch.testing.assert_close(weighted.total, weights * plain.total)


class TestDistillation:
    def test_a_student_that_knows_the_teachers_result_costs_nothing(self) -> None:
        taught = deterministic(teacher, Z_Y, PROCESS, normal)
        loss = distill(lambda z, t: taught, DistillSettings())
        assert loss.total.tolist() == [0, 0]
        assert loss.terms.keys() == {"mse", "loss"}

    def test_terms_and_their_weights(self) -> None:
        settings = DistillSettings(learn_inverse=True, truth_weight=0.5, covariance_weight=0.1)
        terms = distill(teacher, settings).terms
        assert list(terms) == ["mse", "mse_xT", "mse_gt", "mse_xT_cov", "loss"]
        expected = terms["mse"] + terms["mse_xT"] + 0.5 * terms["mse_gt"]
        torch.testing.assert_close(terms["loss"], expected + 0.1 * terms["mse_xT_cov"])

    def test_the_inverted_truth_has_no_gradient_without_covariance(self) -> None:
        calls = []

        def student(z: Tensor, t: Tensor) -> Tensor:
            calls.append((int(t[0]), torch.is_grad_enabled()))
            return teacher(z, t)

        distill(student, sinsr_distillation())
        assert calls == [(14, True), (0, True), (0, False), (14, True)]
        calls.clear()
        distill(student, DistillSettings(truth_weight=1.0, covariance_weight=0.1))
        assert calls == [(14, True), (0, True), (14, True)]

    def test_the_teacher_gets_no_gradient(self) -> None:
        seen = []

        def watched(z: Tensor, t: Tensor) -> Tensor:
            seen.append(torch.is_grad_enabled())
            return teacher(z, t)

        distillation_loss(
            teacher, watched, PROCESS, DistillSettings(), z_0=Z_0, z_y=Z_Y, noise=normal
        )
        assert seen == [False] * 15

    def test_a_student_without_doubt_learns_the_truth(self) -> None:
        loss = distill(lambda z, t: Z_0, DistillSettings(uncertainty=0.5), aux_noise=normal)
        assert loss.total.tolist() == [0, 0]

    def test_a_student_full_of_doubt_learns_from_the_teacher(self) -> None:
        plain = distill(teacher, DistillSettings())
        doubtful = distill(teacher, DistillSettings(uncertainty=1e9), aux_noise=normal)
        torch.testing.assert_close(doubtful.total, plain.total)

    def test_in_image_space_both_sides_are_decoded(self) -> None:
        settings = DistillSettings(truth_weight=1.0, in_image_space=True)
        loss = distill(teacher, settings, image_pm1=3 * Z_0, decode=lambda z: 3 * z)
        plain = distill(teacher, DistillSettings(truth_weight=1.0))
        torch.testing.assert_close(loss.terms["mse"], 9 * plain.terms["mse"])
        torch.testing.assert_close(loss.terms["mse_gt_rgb"], 9 * plain.terms["mse_gt"])


class TestCovariance:
    def test_white_noise_costs_less_than_a_wrong_variance(self) -> None:
        noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        right = float(patch_covariance_loss(noise, 1.0))
        assert right < 0.001
        assert float(patch_covariance_loss(noise, 2.0)) > 10 * right
        assert float(patch_covariance_loss(noise + 7, 1.0)) == pytest.approx(right, rel=1e-3)

    def test_channels_add_up(self) -> None:
        z = normal(0)
        parts = sum(patch_covariance_loss(z[:, c : c + 1], 1.0) for c in range(3))
        torch.testing.assert_close(patch_covariance_loss(z, 1.0), parts)

    def test_too_small(self) -> None:
        with pytest.raises(OptionError, match=r"latent is 8x8; .* more than one 8x8 patch"):
            patch_covariance_loss(torch.zeros(1, 3, 8, 8), 1.0)


class TestRefused:
    def test_missing_noise(self) -> None:
        with pytest.raises(OptionError, match="uncertainty needs aux_noise"):
            distill(teacher, DistillSettings(uncertainty=0.5))

    @pytest.mark.parametrize("missing", ["image_pm1", "decode"])
    def test_missing_pictures_or_decoder(self, missing: str) -> None:
        arguments: dict[str, Any] = {"image_pm1": Z_0, "decode": lambda z: z}
        arguments[missing] = None
        with pytest.raises(OptionError, match="needs the true pictures and the decoder"):
            distill(teacher, DistillSettings(in_image_space=True), **arguments)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"teacher": "one"}, "teacher is 'one'; it must be 'deterministic' or 'ancestral'"),
            ({"truth_weight": -1.0}, r"truth_weight is -1\.0; it must be 0 or above"),
            ({"covariance_weight": 0.1}, "covariance_weight needs truth_weight, which is 0"),
            ({"uncertainty_answers": 1}, "uncertainty_answers is 1; it must be at least 2"),
        ],
    )
    def test_settings(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            DistillSettings(**change)
