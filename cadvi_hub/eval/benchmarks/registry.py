"""All benchmark sets by name. To add one, write its file and add its name to the list below.

A set of your own is `choices`, or `choices_<name>` where you have several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
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
SWAPPED = "_swapped"  # ends the name of a task with swapped images
_NAMED_OWN = re.compile(rf"choices_(?![\w-]*{SWAPPED}$)[\w-]{{1,80}}", re.ASCII)


class Benchmarks(dict[str, Benchmark]):
    """Name → set, in the order of reports. `choices_<name>` is in it, too, although it is not listed."""

    def __missing__(self, name: str) -> Benchmark:
        if name in self:
            return replace(self["choices"], name=name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and bool(_NAMED_OWN.fullmatch(name)))

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are sets, in the order of reports; named ones of your own come last."""
        chosen = {name for name in names if name in self}
        return [*(name for name in self if name in chosen), *sorted(chosen - set(self))]


BENCHMARKS = Benchmarks({name: import_module(f"{__package__}.{name}").BENCHMARK for name in _FILES})


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
