"""Settings of the command `cadvi publish`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class PublishSettings:
    """What to publish, and where.

    Attributes:
        folder: a data set (one sub-folder of parquet files per config) or a model (adapter or full).
        repo_id: `owner/name` on the Hub (HF_ENDPOINT); created if it is missing.
        kind: what the folder holds.
        private: whether a new repository is private; an existing one stays as it is.
        license: the Hub's identifier of the licence, such as apache-2.0 or cc-by-4.0.
        contamination: data sets: other sets in which to look for the images, `{name on the card: place}`. A place is a
            question file or training mix (JSON lines, or one JSON list, with `image`), a text file with one image name
            per line, or the folder of a built config.
        sample: data sets: whether the card shows one pair of pictures per config. Turn it off if no picture may be
            published.
        base_model: models: repository of the model that was tuned; an adapter loads it by this name.
        datasets: models: repositories of the data sets that it was tuned on.
        results: models: JSON file `results[model][task][metric]`, for the card.
        results_model: models: the name of this model in `results`; not needed if it holds only one.
        results_dataset: models: repository of the question sets. With it, the scores also go to `.eval_results/`, from
            where the Hub shows them on the model's page.
    """

    folder: Path
    repo_id: str
    kind: Literal["dataset", "model"]
    private: bool = False
    license: str = "other"
    contamination: dict[str, Path] = field(default_factory=dict)
    sample: bool = True
    base_model: str | None = None
    datasets: list[str] = field(default_factory=list)
    results: Path | None = None
    results_model: str | None = None
    results_dataset: str | None = None
