"""Questions about a single picture: what does a model forget while it learns to compare?"""

from cadvi_hub.eval.benchmarks.benchmark import Benchmark, ReportColumn

ABOUT = "Questions about a single picture: what a model lost by learning to compare."
BENCHMARK = Benchmark(
    name="single_image",
    columns=(ReportColumn("accuracy", "accuracy", None, ABOUT),),
    own_options=True,
    images=1,
    compares=False,
)
