"""SEED-Bench's questions about one image, with four options."""

from cadvi_hub.eval.benchmarks.benchmark import Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.seed_bench import LETTERS, read_seed_image

BENCHMARK = Benchmark(
    name="seed_image",
    columns=(ReportColumn("accuracy", "accuracy", 1 / 4, "SEED-Bench: questions about one picture, four options."),),
    options=LETTERS,
    images=1,
    compares=False,
    question_file=False,
    upstream=read_seed_image,
    provenance=Provenance("AILab-CVC/SEED-Bench", "CC-BY-NC-4.0", "all columns seen"),
)
