"""Train the default model: an edge network, float first, then 1-bit by BiMaCoSR.

    python scripts/train_edge.py --photos ../shared/data/train --val ../shared/data/val \
        --weights ../shared/weights --out out/edge

Four phases, each with its own cosine of the learning rate:

    float       L1                                          a float network
    binary      L1                                          its 1-bit student, all three branches
    perceptual  L1 + LPIPS-squeeze on blurred, shifted pictures + phase and flat-area losses
    adversarial the same with the belief of a patch discriminator

With `--teacher-share`, the pictures of an image-space teacher, made by `make_targets.py`, take the
place of the photographs in the losses. With `--start`, a trained network is carried on; with more
`--blocks` it is deepened first.

Degraded pairs are made once, in memory, from the seed. Everything random is a function of the
seed and the step, so a run that was killed continues with the same command to the same weights.
The loss never sees what judges (LPIPS with AlexNet, NIQE).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.degradation import mild_x4, realesrgan_x4
from bimacosr.config.edge import EdgeSettings
from bimacosr.data.degradation import degrade
from bimacosr.data.draws import Draws
from bimacosr.metrics.lpips import load_lpips
from bimacosr.networks.edge import EdgeNet
from bimacosr.train.deepen import deepen
from bimacosr.train.discriminator import (
    PatchDiscriminator,
    ResultMemory,
    discriminator_loss,
    generator_loss,
)
from bimacosr.train.draws import StepDraws
from bimacosr.train.losses import flat_area_loss, phase_loss, shifted_blurred
from bimacosr.train.targets import TargetCache

BINARIZE = BinarizeSettings(
    sign_of_zero=1,
    sign_gradient="bireal_relative",
    keep_float_conv=(KeepFloatRule(keywords=("first", "last")),),
)
MILD_SHARE = 0.6  # of the pairs; the rest is Real-ESRGAN's full degradation
SHIFTS = 8  # pixels by which the perceptual loss moves its pictures, at most


@dataclass(frozen=True)
class Phase:
    """One stretch of the training."""

    name: str
    steps: int
    learning_rate: float
    binary: bool
    perceptual: float = 0.0
    phase: float = 0.0
    flat: float = 0.0
    adversarial: float = 0.0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of clean crops")
    parser.add_argument("--val", type=Path, required=True, help="folder of crops to choose by")
    parser.add_argument("--weights", type=Path, required=True, help="folder of metric weights")
    parser.add_argument("--out", type=Path, required=True, help="folder for state and log")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=32, help="low-quality pixels a side")
    parser.add_argument("--steps", type=int, nargs=4, default=(2500, 9000, 6000, 2250))
    parser.add_argument("--perceptual", type=float, default=0.06, help="weight of LPIPS-squeeze")
    parser.add_argument("--phase", type=float, default=2.0, help="weight of the phase loss")
    parser.add_argument("--flat", type=float, default=2.0, help="weight of the flat-area loss")
    parser.add_argument(
        "--adversarial", type=float, default=0.003, help="weight of the discriminator"
    )
    parser.add_argument(
        "--remember", type=int, default=0, help="old batches that the discriminator sees again"
    )
    parser.add_argument(
        "--photo-share",
        type=float,
        default=0.0,
        help="of photographs in what the discriminator takes as real, beside the teacher's",
    )
    parser.add_argument("--ema", type=float, default=0.999, help="decay of the averaged weights")
    parser.add_argument("--blur", type=float, default=0.7, help="before LPIPS-squeeze, pixels")
    parser.add_argument("--rates", type=float, nargs=4, default=(1e-3, 1e-3, 6e-4, 3e-4))
    parser.add_argument("--start", type=Path, help="average.pt or state.pt of a 1-bit run")
    parser.add_argument(
        "--teacher-share", type=float, default=0.0, help="of the teacher in L1's target"
    )
    parser.add_argument("--variants", type=int, default=4, help="degraded versions of each crop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=1000, help="steps")
    parser.add_argument("--max-minutes", type=float, default=float("inf"))
    parser.add_argument("--no-compile", action="store_true", help="run without torch.compile")
    return parser.parse_args()


# ---------------------------------------------------------------- pictures


def read_crop(path: Path) -> Tensor:
    """A crop as 3,H,W uint8, its sides cut to multiples of 4."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    h, w = (side // 4 * 4 for side in pixels.shape[:2])
    return torch.from_numpy(pixels[:h, :w]).permute(2, 0, 1).contiguous()


def degraded(crop: Tensor, seed: int) -> Tensor:
    """The low-quality half of a crop, 3,H/4,W/4 uint8; mild or strong as the seed says."""
    draws = Draws(seed)
    settings = mild_x4() if draws.happens(MILD_SHARE) else realesrgan_x4()
    return (degrade(crop[None].float() / 255, settings, draws)[0] * 255).round().byte()


class Pairs:
    """Clean crops and their degraded versions, all in memory."""

    def __init__(self, folder: Path, variants: int, seed: int, cache: Path) -> None:
        files = sorted(folder.glob("*.webp"))
        self.hq = [read_crop(path) for path in files]
        if cache.exists():
            self.lq = torch.load(cache, weights_only=True)
        else:
            self.lq = []
            for i, crop in enumerate(self.hq):
                base = (seed * 1_000_003 + i) * 64
                self.lq.append(torch.stack([degraded(crop, base + v) for v in range(variants)]))
            torch.save(self.lq, cache)
        self.targets: TargetCache | None = None

    def use_targets(self, path: Path) -> None:
        """From now on give the teacher's pictures too, and only crops that have one."""
        self.targets = TargetCache(path, self.lq)
        if not self.targets.variants:
            raise SystemExit(f"{path} has not one picture for each crop: run make_targets.py")

    def batch(
        self, rng: np.random.Generator, size: int, patch: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Random patches, flipped and turned, in [0, 1]: LQ, HQ, the teacher's (else HQ again)."""
        samples = [self._sample(rng, patch) for _ in range(size)]
        low, high, taught = (torch.stack(p).float() / 255 for p in zip(*samples, strict=True))
        return low, high, taught

    def _sample(self, rng: np.random.Generator, patch: int) -> list[Tensor]:
        i = int(rng.integers(len(self.hq)))
        variants = self.targets.variants if self.targets else len(self.lq[i])
        v = int(rng.integers(variants))
        pictures = [self.lq[i][v], self.hq[i]]
        pictures.append(self.targets.target(i, v) if self.targets else self.hq[i])
        y, x = (int(rng.integers(side - patch + 1)) for side in pictures[0].shape[1:])
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        for k, scale in enumerate((1, 4, 4)):
            top, left, side = scale * y, scale * x, scale * patch
            cut = pictures[k][:, top : top + side, left : left + side]
            cut = torch.rot90(cut, turn, (1, 2))
            pictures[k] = cut.flip(2) if flip else cut
        return pictures


# ---------------------------------------------------------------- network


def restore(network: nn.Module, lq: Tensor, *, autocast: bool = False) -> Tensor:
    """One step with kappa 0: LQ B,3,h,w in [0, 1] to SR B,3,4h,4w, not clipped."""
    photo = lq * 2 - 1
    bicubic = F.interpolate(photo, scale_factor=4, mode="bicubic", align_corners=False)
    z_y = F.pixel_unshuffle(bicubic, 4)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        residual = network(z_y, torch.zeros(len(lq)), photo)
    return F.pixel_shuffle(z_y - residual.float(), 4) * 0.5 + 0.5


def make_network(args: argparse.Namespace) -> EdgeNet:
    """A fresh float network from the seed."""
    torch.manual_seed(args.seed)
    settings = EdgeSettings(channels=args.channels, blocks=args.blocks)
    return EdgeNet(settings.channels, settings.blocks, settings.scale)


@torch.no_grad()
def validate(network: nn.Module, pairs: list[tuple[Tensor, Tensor]], judge: nn.Module) -> dict:
    """LPIPS with AlexNet and PSNR (RGB) over the validation pairs."""
    scores = []
    for low, high in pairs:
        sr = restore(network, low).clamp(0, 1)
        mse = (sr - high).square().mean()
        scores.append((float(judge(sr, high)), float(-10 * mse.log10())))
    lpips, psnr = np.mean(scores, axis=0)
    return {"val_lpips": round(float(lpips), 4), "val_psnr": round(float(psnr), 3)}


def validation_pairs(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """Every second crop of `folder`, its middle 256 x 256, degraded by its number."""
    pairs = []
    for i, path in enumerate(sorted(folder.glob("*.webp"))[::2]):
        crop = read_crop(path)[:, 128:384, 128:384].contiguous()
        low = (degrade(crop[None].float() / 255, mild_x4(), Draws(i))).float()
        pairs.append((low, crop[None].float() / 255))
    return pairs


# ---------------------------------------------------------------- training


class Trainer:
    """The state of a run and its steps."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        args.out.mkdir(parents=True, exist_ok=True)
        self.phases = self._plan()
        perceptual = load_lpips("squeeze", args.weights)
        self.run_perceptual = self._compiled(perceptual.to(memory_format=torch.channels_last))
        self.judge = load_lpips("alex", args.weights)
        self.pairs = Pairs(args.photos, args.variants, args.seed, args.out / "pairs.pt")
        if args.teacher_share:
            self.pairs.use_targets(args.out / "targets.u8")
        self.val = validation_pairs(args.val)
        self.step, self.started = 0, time.monotonic()
        self.current: Phase | None = None
        self.network = make_network(args)
        self.average = make_network(args)
        self.memory = ResultMemory(args.remember) if args.remember else None
        self.discriminator = PatchDiscriminator()
        self.discriminator_optimiser = torch.optim.AdamW(
            self.discriminator.parameters(), 2e-4, betas=(0.5, 0.99), weight_decay=0
        )

    def _plan(self) -> list[Phase]:
        args, (first, second, third, fourth) = self.args, self.args.steps
        weights = {"perceptual": args.perceptual, "phase": args.phase, "flat": args.flat}
        return [
            Phase("float", first, args.rates[0], binary=False),
            Phase("binary", second, args.rates[1], binary=True),
            Phase("perceptual", third, args.rates[2], binary=True, **weights),
            Phase(
                "adversarial",
                fourth,
                args.rates[3],
                binary=True,
                adversarial=args.adversarial,
                **weights,
            ),
        ]

    def phase_at(self, step: int) -> tuple[Phase, int]:
        """The phase that `step` belongs to, and the step's number in it."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        raise StopIteration

    def enter(self, phase: Phase) -> None:
        """Begin a phase: 1-bit layers where they begin, a fresh optimiser, compiled code."""
        if phase.binary and not hasattr(self.network.body[0].conv, "relu"):
            self.network = binarize(self.average, BINARIZE)
            self.average = binarize(self.average, BINARIZE)
        self.network = self.network.to(memory_format=torch.channels_last)
        self.run = self._compiled(self.network)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), phase.learning_rate, betas=(0.9, 0.99), weight_decay=0
        )
        self.current = phase

    def _compiled(self, module: nn.Module) -> nn.Module:
        return module if self.args.no_compile else torch.compile(module)  # type: ignore[return-value]

    def loss(
        self, sr: Tensor, hr: Tensor, taught: Tensor, phase: Phase, rng: np.random.Generator
    ) -> Tensor:
        """The loss of a batch in this phase; `taught` is the teacher's picture, or the truth."""
        aim = hr.lerp(taught, self.args.teacher_share)
        loss = (sr - aim).abs().mean()
        if phase.perceptual:
            loss = loss + phase.perceptual * self.perceived(sr, taught, rng)
        if phase.phase:
            loss = loss + phase.phase * phase_loss(sr, aim)
        if phase.flat:
            loss = loss + phase.flat * flat_area_loss(sr, taught)
        if phase.adversarial:
            photos = round(len(hr) * self.args.photo_share)
            genuine = torch.cat([hr[:photos], taught[photos:]])
            false = sr.detach()
            if self.memory:
                false = self.memory.mixed(false, StepDraws(self.args.seed, self.step, []))
            self.teach_discriminator(false, genuine)
            with torch.no_grad():
                real = self.believe(genuine)
            loss = loss + phase.adversarial * generator_loss(real, self.believe(sr))
        return loss

    def perceived(self, sr: Tensor, real: Tensor, rng: np.random.Generator) -> Tensor:
        """LPIPS-squeeze of slightly blurred pictures, moved by a random shift."""
        dy, dx = (int(rng.integers(SHIFTS)) for _ in range(2))
        h, w = (side - SHIFTS for side in sr.shape[2:])  # one size for every shift
        a, b = (
            shifted_blurred(p[..., : h + dy, : w + dx], (dy, dx), self.args.blur)
            for p in (sr, real)
        )
        with torch.autocast("cpu", torch.bfloat16):
            return self.run_perceptual(a, b).float().mean()

    def believe(self, pictures: Tensor) -> Tensor:
        """What the discriminator says; bfloat16 inside."""
        with torch.autocast("cpu", torch.bfloat16):
            belief: Tensor = self.discriminator(
                pictures.contiguous(memory_format=torch.channels_last)
            )
        return belief.float()

    def teach_discriminator(self, sr: Tensor, real: Tensor) -> None:
        """One step of the discriminator."""
        loss = discriminator_loss(self.believe(real), self.believe(sr))
        self.discriminator_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator_optimiser.step()

    def advance(self) -> dict:
        """One step; what to log of it."""
        phase, local = self.phase_at(self.step)
        if phase is not self.current:
            self.enter(phase)
        warm, turn = min(1.0, (local + 1) / 200), local / phase.steps
        cosine = 0.5 * (1 + math.cos(math.pi * turn))
        rate = phase.learning_rate * warm * (0.02 + 0.98 * cosine)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng((self.args.seed, self.step))
        low, high, taught = self.pairs.batch(rng, self.args.batch, self.args.patch)
        # The teacher shifts colours: its mean is set right, since ours shall be.
        taught = taught + (high - taught).mean((2, 3), keepdim=True)
        low = low.contiguous(memory_format=torch.channels_last)
        loss = self.loss(restore(self.run, low, autocast=True), high, taught, phase, rng)
        if not torch.isfinite(loss):
            raise SystemExit(f"the loss is {loss.item()} at step {self.step}: lower the rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        decay = min(self.args.ema, (local + 1) / (local + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        self.step += 1
        return {"step": self.step, "phase": phase.name, "loss": loss.item(), "rate": rate}

    # ------------------------------------------------------------ state

    def save(self) -> None:
        """Write the whole state, atomically, and what there is to judge of this step."""
        assert self.current is not None
        judged = {
            "step": self.step,
            "average": self.average.state_dict(),
            "settings": {"channels": self.args.channels, "blocks": self.args.blocks},
        }
        torch.save(judged, self.args.out / f"average-{self.step}.pt")
        state = judged | {
            "binary": self.current.binary,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "discriminator_optimiser": self.discriminator_optimiser.state_dict(),
            "memory": self.memory.kept if self.memory else [],
            "phase": self.phases.index(self.current),
        }
        partial = self.args.out / "state.pt.part"
        torch.save(state, partial)
        partial.replace(self.args.out / "state.pt")

    def resume(self) -> None:
        """Continue where `state.pt` stands; without one, from the network to start from."""
        path = self.args.out / "state.pt"
        if not path.exists():
            if self.args.start:
                self.start_from(self.args.start)
            return
        state = torch.load(path, weights_only=True)
        if state["binary"]:
            self.network = binarize(self.network, BINARIZE)
            self.average = binarize(self.average, BINARIZE)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.step = state["step"]
        if self.memory:
            self.memory.kept = state["memory"]
        self.enter(self.phases[state["phase"]])
        self.optimiser.load_state_dict(state["optimiser"])
        if "discriminator" in state:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])

    def start_from(self, path: Path) -> None:
        """Take over a trained 1-bit network, deepened if need be, and its discriminator."""
        start = torch.load(path, weights_only=True)
        weights = deepen(start["average"], start["settings"]["blocks"], self.args.blocks)
        self.network, self.average = (
            binarize(network, BINARIZE) for network in (self.network, self.average)
        )
        for network in (self.network, self.average):
            network.load_state_dict(weights)
        if "discriminator" in start:
            self.discriminator.load_state_dict(start["discriminator"])
            self.discriminator_optimiser.load_state_dict(start["discriminator_optimiser"])

    def log(self, row: dict) -> None:
        """A line to the log and the terminal."""
        line = json.dumps(row | {"seconds": round(time.monotonic() - self.started, 1)})
        print(line, flush=True)
        with (self.args.out / "log.jsonl").open("a") as file:
            file.write(line + "\n")

    def train(self) -> None:
        """Run to the end of the plan or of the time."""
        self.resume()
        self.log({"plan": [asdict(phase) for phase in self.phases], "from": self.step})
        total, losses = sum(phase.steps for phase in self.phases), []
        while self.step < total:
            row = self.advance()
            losses.append(row["loss"])
            if self.step % self.args.save_every == 0 or self.step == total:
                row["loss"] = round(float(np.mean(losses)), 5)
                losses = []
                self.log(row | validate(self.average, self.val, self.judge))
                self.save()
            if time.monotonic() - self.started > 60 * self.args.max_minutes:
                break
        self.save()


def main() -> None:
    """Read the arguments and train."""
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    Trainer(args).train()


if __name__ == "__main__":
    main()
