"""SEED-Bench's questions about a video, asked about two of its frames, with four options."""

from cadvi_hub.eval.benchmarks.benchmark import Benchmark, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.seed_bench import LETTERS, read_seed_video
from cadvi_hub.eval.benchmarks.video import VideoFrames

BENCHMARK = Benchmark(
    name="seed_video",
    columns=(
        ReportColumn(
            "accuracy", "accuracy", 1 / 4, "SEED-Bench: questions about two frames of a video, four options."
        ),
    ),
    options=LETTERS,
    compares=False,
    question_file=False,
    upstream=read_seed_video,
    pictures=VideoFrames,
    provenance=Provenance("AILab-CVC/SEED-Bench", "CC-BY-NC-4.0", "all columns seen"),
)
