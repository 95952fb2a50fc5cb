"""Schedules, formulas, samplers and losses against the official outputs (tiny networks)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.diffusion import DiffusionSettings, DistillSettings
from bimacosr.diffusion.losses import (
    Loss,
    distillation_loss,
    patch_covariance_loss,
    resshift_loss,
)
from bimacosr.diffusion.process import Denoise, Process, enlarge, make_process
from bimacosr.diffusion.samplers import (
    ancestral,
    deterministic,
    deterministic_inverse,
    one_step,
)
from bimacosr.diffusion.schedule import make_schedule, respaced_steps
from bimacosr.errors import OptionError
from bimacosr.networks.unet import UNetModelSwin, build_unet
from bimacosr.networks.vq import VQAutoencoder, build_autoencoder
from tests.golden import reference as ref

DTYPES = {"f64": torch.float64, "f32": torch.float32}
SHAPE = (2, 3, 16, 16)
PREDICT_TYPES = ("xstart", "residual", "epsilon", "epsilon_scale")
# Of a student's own initialisation: singular vectors have any sign, sparse entries any order.
UNORDERED = (".lora.A.weight", ".lora.B.weight", ".skip_connection.values")
OPTIONS = {
    "distill_ddpm": "ancestral",
    "finetune_use_gt": "truth_weight",
    "learn_xT": "learn_inverse",
    "loss_in_image_space": "in_image_space",
    "uncertainty_hyper": "uncertainty",
    "uncertainty_num_aux": "uncertainty_answers",
    "xT_cov_loss": "covariance_weight",
}
T_A, T_B = torch.tensor([14, 3]), torch.tensor([0, 7])
TABLES = {
    "sqrt_etas": "sqrt_etas",
    "etas": "etas",
    "etas_prev": "etas_prev",
    "alpha": "alphas",
    "posterior_mean_coef1": "posterior_z_t",
    "posterior_mean_coef2": "posterior_z_0",
    "posterior_variance": "posterior_variance",
    "posterior_variance_clipped": "posterior_variance_clipped",
    "ddim_k": "deterministic_z_0",
    "ddim_m": "deterministic_z_t",
    "ddim_j": "deterministic_z_y",
}


@cache
def meta() -> dict[str, Any]:
    return ref.meta("diffusion")


def stored(name: str) -> Tensor:
    return ref.tensors("diffusion")[name]


def settings(**overrides: Any) -> DiffusionSettings:
    official = meta()["params"] | overrides
    for elsewhere in ("schedule_name", "scale_factor", "sf", "weighted_mse"):
        official.pop(elsewhere)
    return DiffusionSettings(power=official.pop("schedule_kwargs")["power"], **official)


def process(**overrides: Any) -> Process:
    return make_process(settings(**overrides))


def tensor(name: str, dtype: torch.dtype, std: float = 1.0) -> Tensor:
    return ref.normal(f"diffusion/{name}", SHAPE, dtype, std)


def close(ours: Tensor, name: str) -> None:
    """Within the tolerance of our precision and the stored one."""
    golden = stored(name)
    tolerance = ref.F64 if golden.dtype == torch.float64 else ref.F64_STORED_F32
    if ours.dtype == torch.float32:
        tolerance = ref.F32_NETWORK
    assert ref.deviation(ours, golden) < tolerance, name


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return DTYPES[request.param]


@cache
def unet(dtype: torch.dtype, seed: int) -> UNetModelSwin:
    network = build_unet(ref.unet_settings(ref.meta("unet_fp_tiny")["config"])).to(dtype)
    ref.fill(network, seed=seed)
    return network.eval()


@cache
def autoencoder(dtype: torch.dtype) -> VQAutoencoder:
    network = build_autoencoder(ref.autoencoder_settings(ref.meta("vq_tiny")["config"])).to(dtype)
    ref.fill(network.requires_grad_(False), seed=3)
    return network.eval()


@cache
def student(dtype: torch.dtype, state: str) -> UNetModelSwin:
    rule = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"), max_parameters=200_000)
    network = binarize(unet(dtype, 0), BinarizeSettings(rank=8, keep_float_conv=(rule,)))
    if state == "C":
        ref.fill(network, seed=2, style="margin")
    return network


def lq(dtype: torch.dtype) -> Tensor:
    return ref.uniform("diffusion/lr", SHAPE, dtype)


def hq(dtype: torch.dtype) -> Tensor:
    return ref.uniform("diffusion/hr", (2, 3, 64, 64), dtype)


@cache
def z_y(dtype: torch.dtype) -> Tensor:
    return autoencoder(dtype).encode(enlarge(lq(dtype), 4))


@cache
def z_gt(dtype: torch.dtype) -> Tensor:
    return autoencoder(dtype).encode(hq(dtype))


def condition(network: UNetModelSwin, dtype: torch.dtype) -> Denoise:
    return lambda z, t: network(z, t, lq(dtype))


def noise_of(scope: str, length: int, dtype: torch.dtype) -> Callable[[int], Tensor]:
    """The start is the common noise, the n-th step the n-th draw of the scope."""

    def noise(t: int) -> Tensor:
        if t == length:
            return tensor("noise", dtype)
        return tensor(f"{scope}/randn{length - 1 - t}", dtype)

    return noise


class TestSchedule:
    @pytest.mark.parametrize(
        "name",
        [
            "official",
            "eps",
            "journal_like",
            "kappa1_pixel",
            "linear_power1",
            "respaced4",
            "respaced5",
            "steps4",
        ],
    )
    def test_tables(self, name: str) -> None:
        overrides = meta()["schedules"][name]["overrides"]
        schedule = make_schedule(settings(**overrides))
        assert list(schedule.network_steps) == meta()["schedules"][name]["timestep_map"]
        ours = {key: getattr(schedule, table) for key, table in TABLES.items()}
        of_noise = overrides.get("predict_type") == "epsilon"
        weight = schedule.noise_loss_weight if of_noise else schedule.z_0_loss_weight
        ours["weight_loss_mse"] = weight
        ours["posterior_log_variance_clipped"] = np.log(schedule.posterior_variance_clipped)
        ours["etas_prev_clipped"] = np.append(schedule.etas_prev[1], schedule.etas_prev[1:])
        ours["ddim_coef1"] = schedule.etas_prev * schedule.etas
        ours["ddim_coef2"] = schedule.etas_prev / schedule.etas
        prefix = f"schedule/{name}/"
        names = {key.removeprefix(prefix) for key in ref.tensors("diffusion") if prefix in key}
        assert ours.keys() == names
        for key, table in ours.items():
            np.testing.assert_allclose(table, stored(prefix + key), rtol=1e-12, atol=1e-15)

    def test_respacing(self) -> None:
        for n, kept in meta()["space_timesteps_15"].items():
            if n != "1":
                assert list(respaced_steps(15, int(n))) == kept

    def test_respacing_to_one_step_is_refused_in_words(self) -> None:
        assert meta()["respacing_1_official"].startswith("IndexError")
        with pytest.raises(OptionError, match="timestep_respacing is 1; it must be 2 to 15"):
            settings(timestep_respacing=1)


class TestFormulas:
    def test_forward(self, dtype: torch.dtype) -> None:
        chain = process()
        z_0, z, noise = tensor("x0", dtype), tensor("y", dtype), tensor("noise", dtype)
        close(chain.q_mean(z_0, z, T_A), "q_mean")
        close(chain.q_sample(z_0, z, T_A, noise), "q_sample")
        close(chain.q_sample(z_0, z, T_B, noise), "q_sample_b")
        close(chain.prior_sample(z, noise), "prior_sample")
        variance = chain.schedule.variance[T_A.numpy()]
        np.testing.assert_allclose(variance, stored("q_variance"), rtol=1e-12)
        np.testing.assert_allclose(np.log(variance), stored("q_log_variance"), rtol=1e-12)

    def test_posterior(self, dtype: torch.dtype) -> None:
        chain, places = process(), T_B.numpy()
        mean = chain.posterior_mean(tensor("xt", dtype, std=2.0), tensor("x0", dtype), T_B)
        close(mean, "q_posterior_mean")
        variance = chain.schedule.posterior_variance[places]
        np.testing.assert_allclose(variance, stored("q_posterior_variance"), rtol=1e-12)
        clipped = np.log(chain.schedule.posterior_variance_clipped[places])
        golden = stored("q_posterior_log_variance_clipped")
        np.testing.assert_allclose(clipped, golden, rtol=1e-12)

    def test_input_scaling(self, dtype: torch.dtype) -> None:
        z_t = tensor("xt", dtype, std=2.0)
        close(process().scale_input(z_t, T_A), "scale_input")
        close(process(normalize_input=False).scale_input(z_t, T_A), "scale_input_none")
        close(process(latent_flag=False).scale_input(z_t, T_A), "scale_input_pixel")

    @pytest.mark.parametrize("clip", [False, True])
    @pytest.mark.parametrize("predict_type", PREDICT_TYPES)
    def test_prediction(self, predict_type: str, clip: bool, dtype: torch.dtype) -> None:
        chain = process(predict_type=predict_type, clip=clip)
        output, z_t = tensor("model_output", dtype), tensor("xt", dtype, std=2.0)
        z_0 = chain.predict_z_0(lambda z, t: output + 0.1 * z, z_t, tensor("y", dtype), T_B)
        name = f"p_mean/{predict_type}/clip{int(clip)}"
        close(z_0, f"{name}/pred_xstart")
        close(chain.posterior_mean(z_t, z_0, T_B), f"{name}/mean")

    def test_start_of_the_pipeline(self, dtype: torch.dtype) -> None:
        close(enlarge(lq(dtype), 4), "bicubic_x4")
        close(z_y(dtype), "z_y")


class TestSamplers:
    @pytest.fixture(autouse=True)
    def without_gradients(self) -> Iterator[None]:
        with torch.no_grad():
            yield

    def trajectory(
        self, sampler: Any, chain: Process, scope: str, dtype: torch.dtype
    ) -> list[Tensor]:
        trajectory: list[Tensor] = []
        noise = noise_of(scope, len(chain.schedule), dtype)
        denoise = condition(unet(dtype, 0), dtype)
        on_step = lambda t, z: trajectory.append(z)  # noqa: E731
        out = sampler(denoise, z_y(dtype), chain, noise, on_step=on_step)
        assert torch.equal(out, trajectory[-1])
        return trajectory

    def test_ancestral(self, dtype: torch.dtype) -> None:
        trajectory = self.trajectory(ancestral, process(), "ancestral", dtype)
        close(torch.stack(trajectory), "ancestral/samples")
        close(trajectory[-1], "ancestral/pred_xstart_last")

    def test_ancestral_with_one_noise_for_the_batch(self, dtype: torch.dtype) -> None:
        def noise(t: int) -> Tensor:
            return tensor(f"ancestral_noise_none/randn{15 - t}", dtype)[:1].expand(SHAPE)

        z = ancestral(condition(unet(dtype, 0), dtype), z_y(dtype), process(), noise)
        close(z, "ancestral_noise_none_repeat/sample_last")

    def test_ancestral_respaced(self, dtype: torch.dtype) -> None:
        chain = process(timestep_respacing=4)
        trajectory = self.trajectory(ancestral, chain, "ancestral4", dtype)
        close(torch.stack(trajectory), "ancestral_respaced4/samples")

    def test_deterministic(self, dtype: torch.dtype) -> None:
        trajectory = self.trajectory(deterministic, process(), "", dtype)
        close(torch.stack(trajectory), "ddim/samples")

    def test_deterministic_respaced(self, dtype: torch.dtype) -> None:
        trajectory = self.trajectory(deterministic, process(timestep_respacing=5), "", dtype)
        close(torch.stack(trajectory), "ddim_respaced5/samples")

    def test_deterministic_on_pixels(self, dtype: torch.dtype) -> None:
        """Without an autoencoder: the picture is z_y itself, and predictions are clamped.

        The reference does not name its picture; this one gives the stored samples to 4e-14.
        """
        picture = ref.uniform("diffusion/lrp", SHAPE, dtype)
        chain = process(kappa=1.0, latent_flag=False, clip=True)
        network = unet(dtype, 0)
        z = deterministic(
            lambda z, t: network(z, t, picture), picture, chain, noise_of("", 15, dtype)
        )
        close(z, "pixel_ddim/samples_last")

    def test_one_step(self, dtype: torch.dtype) -> None:
        (z,) = self.trajectory(one_step, process(), "", dtype)
        close(z, "one_step/latent")
        close(z, "one_step_ddim/latent")
        close(autoencoder(dtype).decode(z), "one_step/image")

    def test_deterministic_inverse(self, dtype: torch.dtype) -> None:
        trajectory: list[Tensor] = []
        denoise = condition(unet(dtype, 0), dtype)
        on_step = lambda t, z: trajectory.append(z)  # noqa: E731
        deterministic_inverse(denoise, z_gt(dtype), z_y(dtype), process(), on_step=on_step)
        close(torch.stack(trajectory), "ddim_inverse/samples")

    def test_network_as_velocity(self, dtype: torch.dtype) -> None:
        """The official "reflow" inverse: one step along the network's output at place 0."""
        chain = process()
        t = chain.places(0, z_gt(dtype))
        velocity = chain.run_network(condition(unet(dtype, 0), dtype), z_gt(dtype), t)
        close(z_gt(dtype) - velocity, "inverse_reflow")


def check_loss(
    loss: Loss, scope: str, network: nn.Module, dtype: torch.dtype, tolerance: float | None = None
) -> dict[str, Tensor]:
    """Terms, latents, every stored gradient, and in float64 the statistics of all gradients."""
    names = [n.removeprefix(f"{scope}/") for n in ref.tensors("diffusion") if f"{scope}/" in n]
    assert {n.removeprefix("term/") for n in names if "term/" in n} == loss.terms.keys()
    parameters = dict(network.named_parameters())
    got = torch.autograd.grad(loss.total.mean(), list(parameters.values()), allow_unused=True)
    gradients = {k: g for k, g in zip(parameters, got, strict=True) if g is not None}
    ours = {"z_t": loss.z_t, "pred_zstart": loss.z_0}
    ours |= {f"term/{name}": term for name, term in loss.terms.items()}
    ours |= {f"grad/{name}": gradient for name, gradient in gradients.items()}
    if "studentA" in scope:
        names = [n for n in names if not n.endswith(UNORDERED)]
    for name in names:
        if tolerance is None:
            close(ours[name], f"{scope}/{name}")
        else:
            assert ref.deviation(ours[name], stored(f"{scope}/{name}")) < tolerance, name
    if dtype == torch.float64:
        check_gradient_statistics(gradients, scope, tolerance or ref.F64)
    return gradients


def check_gradient_statistics(gradients: dict[str, Tensor], scope: str, tolerance: float) -> None:
    statistics = meta()["grad_stats_f64"][scope]
    assert gradients.keys() == statistics.keys()
    # biases before a group norm have no gradient but rounding: the floor keeps it out
    floor = 1e-3 * max(golden[1] for golden in statistics.values())
    for name, golden in statistics.items():
        if "studentA" in scope and name.endswith(UNORDERED):
            continue
        assert ref.statistics_deviation(gradients[name], golden, floor) < tolerance, name


class TestResshiftLoss:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("predict_type", PREDICT_TYPES)
    def test_loss(self, predict_type: str, weighted: bool, dtype: torch.dtype) -> None:
        network = unet(dtype, 0)
        loss = resshift_loss(
            condition(network, dtype),
            process(predict_type=predict_type),
            z_0=z_gt(dtype),
            z_y=z_y(dtype),
            t=T_A,
            noise=tensor("noise", dtype),
            weighted=weighted,
        )
        check_loss(loss, f"loss_resshift/{predict_type}_w{int(weighted)}", network, dtype)


def distill(
    network: UNetModelSwin, options: dict[str, Any], scope: str, dtype: torch.dtype
) -> Loss:
    chosen = {OPTIONS[name]: value for name, value in options.items()}
    if chosen.pop("ancestral", False):
        chosen["teacher"] = "ancestral"
    return distillation_loss(
        condition(network, dtype),
        condition(unet(dtype, 4), dtype),
        process(),
        DistillSettings(**chosen),
        z_0=z_gt(dtype),
        z_y=z_y(dtype),
        noise=noise_of(scope, 15, dtype),
        aux_noise=lambda i: tensor(f"{scope}/randn{i}", dtype),
        image_pm1=hq(dtype),
        decode=autoencoder(dtype).decode,
    )


class TestDistillation:
    @pytest.mark.parametrize(
        "name",
        ["base", "ddpm", "learn_xT", "gt_half", "sinsr", "cov", "uncertainty", "image_space"],
    )
    def test_float_student(self, name: str, dtype: torch.dtype) -> None:
        scope = f"loss_distill_float/{name}"
        loss = distill(unet(dtype, 0), meta()["distill_options"][name], scope, dtype)
        # the official covariance term keeps its variance in float32
        tolerance = 1e-6 if name == "cov" and dtype == torch.float64 else None
        check_loss(loss, scope, unet(dtype, 0), dtype, tolerance)

    @pytest.mark.parametrize("name", ["base", "sinsr"])
    def test_binary_student_c(self, name: str, dtype: torch.dtype) -> None:
        scope = f"loss_distill_studentC/{name}"
        network = student(dtype, "C")
        loss = distill(network, meta()["distill_options"][name], scope, dtype)
        check_loss(loss, scope, network, dtype)

    def test_binary_student_a(self) -> None:
        scope, dtype = "loss_distill_studentA_f64/base", torch.float64
        network = student(dtype, "A")
        gradients = check_loss(distill(network, {}, scope, dtype), scope, network, dtype)
        layer = "input_blocks.1.0.in_layers.2"
        low_rank = gradients[f"{layer}.lora.A.weight"]
        golden = stored(f"{scope}/grad/{layer}.lora.A.weight")
        assert ref.deviation(low_rank.abs(), golden.abs()) < ref.F64
        sparse = gradients[f"{layer}.skip_connection.values"].sort().values
        golden = stored(f"{scope}/grad/{layer}.skip_connection.values").sort().values
        assert ref.deviation(sparse, golden) < ref.F64

    def test_parameters_without_gradient(self) -> None:
        network = student(torch.float32, "C")
        loss = distill(network, {}, "loss_distill_studentC/base", torch.float32)
        network.zero_grad()
        loss.total.sum().backward()
        without = [name for name, p in network.named_parameters() if p.grad is None]
        assert sorted(without) == sorted(meta()["student_params_without_grad"])

    def test_covariance(self, dtype: torch.dtype) -> None:
        z = tensor("cov", dtype).requires_grad_()
        loss = patch_covariance_loss(z, float(process().schedule.variance[-1]))
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        tolerance = 1e-6 if dtype == torch.float64 else ref.F32_NETWORK
        assert ref.deviation(loss, stored("cov_loss")) < tolerance
        assert ref.deviation(gradient, stored("cov_loss_grad")) < tolerance
