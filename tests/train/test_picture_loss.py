"""The terms on pictures: who gets which gradient, and what a picture teacher changes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from bimacosr.config.train import LossWeights, PhaseSettings
from bimacosr.data.loading import Batch
from bimacosr.train.discriminator import PatchDiscriminator, ResultMemory
from bimacosr.train.draws import StepDraws
from bimacosr.train.picture_loss import PictureLoss
from bimacosr.train.picture_teacher import PictureTeacher
from bimacosr.train.pool import TeacherPool, digest_of

DRAWS = StepDraws(0, 0, [0, 1])


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    lq, hq = (torch.rand(2, 3, s, s, generator=generator) for s in (8, 32))
    return Batch(lq, hq, torch.tensor([0, 1]))


class Doubling(nn.Module):
    """A picture teacher; counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def forward(self, lq: Tensor) -> Tensor:
        self.asked += 1
        return lq.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_network_and_discriminator_each_have_their_own_gradient() -> None:
    torch.manual_seed(0)
    loss = PictureLoss(None, PatchDiscriminator(), scale=4)
    sr = batch().hq.flip(3).requires_grad_()
    phase = PhaseSettings(weights=LossWeights(latent=0, adversarial=1))
    terms = loss.terms(sr, batch(), phase, DRAWS)
    parameters = list(loss.trained.parameters())
    assert torch.autograd.grad(terms["adversarial"], sr, retain_graph=True)[0].abs().sum() > 0
    unused = torch.autograd.grad(
        terms["adversarial"], parameters, allow_unused=True, retain_graph=True
    )
    assert all(gradient is None for gradient in unused)
    terms["discriminator"].backward()
    assert sr.grad is None
    assert all(p.grad is not None and p.requires_grad for p in parameters)


def test_the_discriminator_sees_old_results_again() -> None:
    memory = ResultMemory(2)
    shades = [torch.full((4, 3, 8, 8), shade / 255) for shade in range(60)]
    seen = set()
    for step, sr in enumerate(shades):
        mixed = memory.mixed(sr, StepDraws(0, step, [0, 1, 2, 3]))
        assert torch.equal(mixed[:2], sr[:2])
        seen.add((step, round(float(mixed[2, 0, 0, 0]) * 255)))
    assert {old for step, old in seen if step >= 55} == {40, 50}  # the newest two of every tenth
    other = ResultMemory(2)
    other.load_state_dict(memory.state_dict())
    draws = StepDraws(0, 61, [0, 1])
    assert torch.equal(other.mixed(shades[0], draws), memory.mixed(shades[0], draws))


def test_photographs_may_be_real_beside_the_teachers_pictures() -> None:
    class Seen(PatchDiscriminator):
        def forward(self, pictures: Tensor) -> Tensor:
            shown.append(pictures)
            return super().forward(pictures)

    shown: list[Tensor] = []
    loss = PictureLoss(None, Seen(), teacher=PictureTeacher(Doubling()), scale=4)
    weights = LossWeights(latent=0, adversarial=1)
    phase = PhaseSettings(weights=weights, teacher_share=1, photo_share=0.5)
    loss.terms(batch().hq, batch(), phase, DRAWS)
    assert torch.equal(shown[0][0], batch().hq[0])
    assert not torch.equal(shown[0][1], batch().hq[1])


def test_terms_without_a_weight_are_not_computed() -> None:
    loss = PictureLoss(scale=4)
    phase = PhaseSettings(weights=LossWeights(latent=0, l1=1))
    assert loss.terms(batch().hq, batch(), phase, DRAWS).keys() == {"l1"}


def test_the_teachers_picture_is_part_of_the_target() -> None:
    teacher = Doubling()
    loss = PictureLoss(teacher=PictureTeacher(teacher), scale=4)
    weights = LossWeights(latent=0, l1=1)
    taught, truth = teacher(batch().lq), batch().hq
    taught = taught + (truth - taught).mean((2, 3), keepdim=True)  # in the colours of the truth
    whole = PhaseSettings(weights=weights, teacher_share=1)
    assert float(loss.terms(taught, batch(), whole, DRAWS)["l1"]) == 0
    half = PhaseSettings(weights=weights, teacher_share=0.5)
    target = (taught + truth) / 2
    assert float(loss.terms(target, batch(), half, DRAWS)["l1"]) < 1e-6


def test_the_teachers_picture_is_made_once(tmp_path: Path) -> None:
    teacher = Doubling()
    kept = PictureTeacher(teacher, TeacherPool(tmp_path, digest_of("facts", teacher)))
    first = kept.target(batch(), DRAWS, 1)
    assert torch.equal(kept.target(batch(), DRAWS, 1), first)
    assert teacher.asked == 1
    (tmp_path / digest_of("facts", teacher) / "0000/1.safetensors").write_bytes(b"damaged")
    assert torch.equal(kept.target(batch(), DRAWS, 1), first)
    assert teacher.asked == 2


def test_draws_depend_on_the_sample_and_not_on_its_place() -> None:
    like = torch.zeros(3, 2, 4, 4)
    whole = StepDraws(1, 5, [7, 8, 9])
    assert torch.equal(whole.part(slice(1, 3)).normal(like[1:]), whole.normal(like)[1:])
    assert torch.equal(StepDraws(1, 99, [9, 7, 8]).normal(like)[1], whole.normal(like)[0])
    assert not torch.equal(whole.normal(like, 1), whole.normal(like))
    assert torch.equal(whole.part(slice(1, 3)).places(1000), whole.places(1000)[1:])
    assert not torch.equal(StepDraws(2, 5, [7, 8, 9]).normal(like), whole.normal(like))
