"""All benchmark sets by name. To add one, write its file and add its name to the list below."""

from __future__ import annotations

from importlib import import_module

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.benchmark import Benchmark

_FILES = (
    "bison",
    "svo_probes",
    "nlvr2",
    "eqben",
    "eqben_group",
    "cola",
    "seed_image",
    "seed_video",
    "cad_qa",
    "cad_summary",
    "single_image",
    "mmvp",
    "winoground",
    "naturalbench",
    "vismin_bench",
    "vlm_subtle_bench",
    "blink",
    "muirbench",
    "mantis_eval",
    "q_bench2",
    "interleave_differences",
    "interleave_choices",
    "vlm_subtle_captions",
    "choices",
)
BENCHMARKS: dict[str, Benchmark] = {name: import_module(f"{__package__}.{name}").BENCHMARK for name in _FILES}

SWAPPED = "_swapped"  # ends the name of a task with swapped images


def benchmark_of(task: str) -> Benchmark:
    """The set of `task`, which may be the set with swapped images."""
    return BENCHMARKS[task.removesuffix(SWAPPED)]


def find_benchmark(name: str, where: str) -> Benchmark:
    """The set `name`.

    Raises:
        InputError: there is none; the error names `where`.
    """
    if name not in BENCHMARKS:
        raise InputError(where, f"unknown task {name!r}", f"Use one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
