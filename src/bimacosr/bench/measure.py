"""One benchmark from its settings to its result, as plain data.

find who takes part -> describe the machine -> for each case: build, race, compare -> summarise
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bimacosr.bench.compare import compare, summarise
from bimacosr.bench.contestants import Field, build, choose_field, of_precision
from bimacosr.bench.machine import describe_machine, describe_run, load_average
from bimacosr.bench.memory import peak_memory
from bimacosr.bench.race import Run, race
from bimacosr.bench.roofline import layer_isa, measure_ceilings, place_under
from bimacosr.bench.samples import Clock
from bimacosr.bench.task import Benchmark, Task, Way
from bimacosr.config.bench import BenchSettings
from bimacosr.config.upscale import Precision
from bimacosr.engine.native import choose_instruction_set, open_native
from bimacosr.errors import BackendError, BimacosrError, OptionError
from bimacosr.models.catalogue import DEFAULT_MODEL

__all__ = ["FORMAT", "Tell", "measure"]

FORMAT = 2
"""Of the result; raised when a reader of older ones would misread it."""

VQ = "vq-f4"
WAYS: tuple[Way, ...] = ("encoder", "decoder")
MODELS: dict[Benchmark, str] = {
    "layers": "bimacosr-student",
    "unet": "bimacosr-student",
    "autoencoder": VQ,
    "pipeline": DEFAULT_MODEL,
}
"""The model, if none is named."""

OURS = "native"
PROFILED_RUNS = 5

Tell = Callable[[str], None]
"""Called with a line about what is being done."""


def measure(benchmark: Benchmark, settings: BenchSettings, tell: Tell) -> dict[str, Any]:
    """Run a benchmark.

    Returns:
        Plain data, as `--json` writes it: machine, versions, load, who is missing, seconds, ratios.

    Raises:
        BackendError: the engine or PyTorch, which makes the networks, is not there.
        OptionError: a setting is out of its range, or a peer unknown.
        ModelError: there is no such model.
    """
    field = choose_field(benchmark, settings.peers, settings.peers_dir, settings.threads)
    task = _task(benchmark, settings)
    session = _Session(field=field, settings=settings, tell=tell)
    result: dict[str, Any] = {
        "benchmark": benchmark,
        "format": FORMAT,
        "machine": describe_machine(),
        **describe_run(),
        "model": task.model,
        "size": [task.height, task.width],
        "threads": task.threads,
        "isa": task.isa,
        "clock": session.clock,
        "rounds": settings.rounds,
        "load_at_start": load_average(),
        "missing": field.missing,
        "unfit": field.unfit,
    }
    parts = {
        "layers": session.layers,
        "unet": session.unet,
        "autoencoder": session.autoencoder,
        "pipeline": session.pipeline,
    }
    try:
        result |= parts[benchmark](task)
    except ImportError as error:
        raise BackendError(
            f"the benchmark {benchmark} needs PyTorch ({error}): pip install 'bimacosr[torch]'"
        ) from error
    result["summary"] = summarise(result["cases"])
    result["load_at_end"] = load_average()
    return result


def _task(benchmark: Benchmark, settings: BenchSettings) -> Task:
    pipeline = benchmark == "pipeline"
    side = 128 if pipeline else 64
    folder = settings.peers_dir
    return Task(
        benchmark=benchmark,
        model=settings.model or MODELS[benchmark],
        height=settings.height or side,
        width=settings.width or side,
        threads=settings.threads,
        isa=choose_instruction_set(settings.isa),
        autoencoder=settings.autoencoder,
        peers_dir=None if folder is None else str(folder.absolute()),
    )


@dataclass(frozen=True, kw_only=True)
class _Session:
    """Who takes part, and for how long; its methods give the parts of a result."""

    field: Field
    settings: BenchSettings
    tell: Tell

    @property
    def clock(self) -> Clock:
        """Other work on the machine hardly changes processor time, but several threads share it."""
        return "cpu" if self.settings.threads == 1 else "wall"

    def layers(self, task: Task) -> dict[str, Any]:
        """Every distinct 1-bit layer of a network."""
        from bimacosr.bench.shapes import layer_shapes  # needs PyTorch

        layers = layer_shapes(task.model, task.height, task.width)
        cases = []
        for number, (shape, count) in enumerate(layers.shapes.items(), 1):
            self.tell(f"{number}/{len(layers.shapes)}: {shape.name}")
            facts = {
                "layers": count,
                "macs": shape.macs,
                "shape": asdict(shape),
                "isa": layer_isa(task.isa, shape),
            }
            case = self.case(shape.name, shape.kind, replace(task, layer=shape))
            cases.append(case | facts)
        result: dict[str, Any] = {"cases": cases, "layers_left_out": layers.left_out}
        ceilings = measure_ceilings(sorted({case["isa"] for case in cases}))
        if ceilings:
            result["ceilings"] = ceilings
            result["roofline"] = place_under(ceilings, cases, self.clock, task.threads)
        largest = max(layers.shapes, key=lambda shape: shape.macs)
        ran = {name for case in cases for name in case["contestants"]}
        return result | self.memory(largest.name, replace(task, layer=largest), ran)

    def unet(self, task: Task) -> dict[str, Any]:
        """A whole student beside float networks of its shape."""
        from bimacosr.bench.students import student_file  # needs PyTorch

        with tempfile.TemporaryDirectory() as folder:
            self.tell(f"preparing {task.model}")
            student = student_file(task.model, Path(folder))
            task = replace(task, weights=str(student.weights), network=student.network)
            name = f"UNet {task.height}x{task.width}"
            case = self.case(name, "unet", task)
            return {"cases": [case], **self.memory(name, task, case["contestants"])}

    def autoencoder(self, task: Task) -> dict[str, Any]:
        """Encoder and decoder, in each precision beside peers of that precision."""
        from bimacosr.bench.students import autoencoder_file  # needs PyTorch

        if self.settings.model not in (None, VQ):
            raise OptionError(f"the benchmark autoencoder is of {VQ} alone")
        precisions: tuple[Precision, ...] = ("fp32",)
        if open_native().has_bfloat16(task.isa):
            precisions = ("fp32", "bf16")
        with tempfile.TemporaryDirectory() as folder:
            self.tell(f"preparing {VQ}")
            task = replace(task, weights=str(autoencoder_file(Path(folder))))
            cases = []
            for precision in precisions:
                session = replace(self, field=of_precision(self.field, precision))
                for way in WAYS:
                    name = f"{way} {precision}"
                    self.tell(name)
                    half = replace(task, way=way, precision=precision)
                    cases.append(session.case(name, precision, half))
            result = {"cases": cases}
            session = replace(self, field=of_precision(self.field, "fp32"))
            largest = replace(task, way=WAYS[-1])
            return result | session.memory(cases[1]["name"], largest, cases[1]["contestants"])

    def pipeline(self, task: Task) -> dict[str, Any]:
        """From a picture in memory to its enlargement in memory."""
        name = f"{task.height}x{task.width} to {4 * task.height}x{4 * task.width}"
        case = self.case(name, "pipeline", task)
        return {"cases": [case], **self.memory(name, task, case["contestants"])}

    def case(self, name: str, kind: str, task: Task) -> dict[str, Any]:
        """Build everybody, let them race, compare."""
        runs: dict[str, Run] = {}
        left_out: dict[str, str] = {}
        for contestant in self.field.present:
            self.tell(f"  {contestant.name}")
            try:
                run = build(contestant, task)
                run()
            except Exception as error:  # what peers raise is not ours to list
                if contestant.name == OURS:
                    raise
                left_out[contestant.name] = _reason(error)
            else:
                runs[contestant.name] = run
        samples = race(runs, self.settings.rounds, budget_s=self.settings.budget_s)
        case = {"name": name, "class": kind, "left_out": left_out}
        case |= compare(samples, self.field.present, self.clock)
        profile = getattr(runs[OURS], "profile", None)
        return case if profile is None else case | {"profile_ms": _profile(runs[OURS], profile)}

    def memory(self, name: str, task: Task, ran: Collection[str]) -> dict[str, Any]:
        """Peak memory of everybody who ran, if it is wanted."""
        if not self.settings.memory:
            return {}
        peaks = {}
        for contestant in self.field.present:
            if contestant.name in ran:
                self.tell(f"memory of {contestant.name}")
                try:
                    peaks[contestant.name] = peak_memory(contestant, task)
                except BimacosrError as error:
                    self.tell(str(error))
        return {"memory": {"case": name, "bytes": peaks}}


def _profile(run: Run, profile: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Milliseconds of one run by kind of work, as the engine itself tells; means of some runs."""
    profile()  # forget what was before
    for _ in range(PROFILED_RUNS):
        run()
    return {kind: value / PROFILED_RUNS for kind, value in profile().items()}


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
