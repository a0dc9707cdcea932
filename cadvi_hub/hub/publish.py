"""Data sets and models to the Hub, each with its card; publishing the same folder again changes nothing.

An upload that was cut short goes on where it stood when it is run again. The token is the one of `huggingface_hub`
(HF_TOKEN or `hf auth login`) and is never handled here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from cadvi_hub.core.errors import InputError
from cadvi_hub.hub.contamination import find_overlaps
from cadvi_hub.hub.dataset_card import dataset_card, unfinished_card
from cadvi_hub.hub.dataset_contents import BUILD_RECORD, read_configs
from cadvi_hub.hub.model_card import ADAPTER_CONFIG, model_card, read_json
from cadvi_hub.hub.samples import draw_sample
from cadvi_hub.hub.upload import CARD, Published, Repository, check_repo_id, upload

ASSETS = "assets"  # folder in the repository for the card's pictures
# What `from_pretrained` reads, and licences. Optimizer states, pickles and logs match none of these.
MODEL_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    ADAPTER_CONFIG,
    "processor_config.json",
    "*preprocessor_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.jinja",
    "LICENSE*",
    "NOTICE*",
)

logger = logging.getLogger(__name__)


@dataclass
class PublishSettings:
    """What to publish, and where.

    Attributes:
        folder: a data set (one sub-folder of parquet files per config) or a model (adapter or full).
        repo_id: `owner/name` on the Hub that HF_ENDPOINT names; made if it is missing.
        kind: what the folder holds.
        private: whether a new repository is private; one that exists stays as it is.
        license: the Hub's identifier of the licence, as apache-2.0 or cc-by-4.0.
        contamination: data sets: other sets to look for the images in, as `{name on the card: place}`; a place is a
            question file or training mix (JSON lines, or one JSON list, with `image`), a text file with one image name
            per line, or the folder of a built config.
        sample: data sets: whether the card shows one pair of pictures per config; leave it off where no picture may be
            given away.
        base_model: models: repository of the model that was tuned; an adapter loads it by this name.
        datasets: models: repositories of the data sets that it was tuned on.
        results: models: JSON file `results[model][task][metric]`, for the card.
        results_model: models: which model of `results` this is; not needed when there is one only.
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


def publish(settings: PublishSettings) -> Published:
    """Publish the folder as what it is.

    Raises:
        InputError: the folder is not fit to publish, or the Hub refuses or loses the connection.
    """
    return publish_dataset(settings) if settings.kind == "dataset" else publish_model(settings)


def publish_dataset(settings: PublishSettings) -> Published:
    """Publish every config of a data set folder, `<config>/<split>-*.parquet`, with a card of what was counted.

    The numbers of each config's build go up as `<config>/build.json`, where `cadvi view` finds them.

    Raises:
        InputError: a config is incomplete, the repository has a config that the folder lacks, a set of `contamination`
            cannot be read, or the Hub refuses.
    """
    check_repo_id(settings.repo_id)
    configs = read_configs(settings.folder)
    overlaps = find_overlaps({config.name: config.files for config in configs}, settings.contamination)
    drawn = {config.name: draw_sample(config.name, config.files) for config in configs} if settings.sample else {}
    samples = {name: (f"{ASSETS}/{name}.jpg", sample) for name, sample in drawn.items() if sample}
    card = dataset_card(configs, settings.repo_id, settings.license, overlaps, samples)
    contents: dict[str, Path | bytes] = {
        f"{config.name}/{path.name}": path for config in configs for path in config.files
    }
    contents |= {path: sample.picture for path, sample in samples.values()}
    contents |= {f"{config.name}/{BUILD_RECORD}": _counted(config.build) for config in configs if config.build}
    names = {config.name for config in configs}
    pictures = {f"{ASSETS}/{name}.jpg" for name in names}

    def is_ours(path: str) -> bool:
        if path in pictures:
            return True
        config, _, name = path.partition("/")
        if name == BUILD_RECORD:
            return config in names
        if not name.endswith(".parquet"):
            return False
        if config not in names:
            problem = f"it has a config {config!r} that {settings.folder} lacks"
            raise InputError(f"dataset {settings.repo_id}", problem, "Put it into the folder, or delete it on the Hub")
        return True

    contents[CARD] = card.encode()
    unfinished = unfinished_card(configs, settings.repo_id, settings.license)
    return upload(Repository(settings.repo_id, "dataset", settings.private), contents, is_ours, unfinished)


def _counted(build: Mapping[str, Any]) -> bytes:
    """A build's record for the Hub: the numbers alone, since recipe and places tell of the machine that built."""
    drops = {reason: {"count": count} for reason, count in build.get("drops", {}).items()}
    return json.dumps({"rows": build.get("rows"), "drops": drops}, indent=2, sort_keys=True).encode()


def publish_model(settings: PublishSettings) -> Published:
    """Publish a model folder: weights as safetensors, configuration, processor, and a card.

    An adapter's configuration goes up with `base_model` in it, so that it finds its base on the Hub.

    Raises:
        InputError: no safetensors, an adapter without `base_model`, unreadable records, or the Hub refuses.
    """
    check_repo_id(settings.repo_id)
    for repo_id in (*filter(None, [settings.base_model]), *settings.datasets):
        check_repo_id(repo_id)
    if not settings.folder.is_dir():
        raise InputError(str(settings.folder), "no such folder", "Name the folder of an adapter or a model")
    files = sorted(path for path in settings.folder.iterdir() if path.is_file() and path.name != CARD)
    contents: dict[str, Path | bytes] = {
        path.name: path for path in files if any(fnmatch(path.name, pattern) for pattern in MODEL_FILES)
    }
    left_out = tuple(path.name for path in files if path.name not in contents)
    if not any(name.endswith(".safetensors") for name in contents):
        problem = f"no weights as safetensors, only {', '.join(left_out) or 'nothing'}"
        raise InputError(str(settings.folder), problem, "Save the model with save_pretrained")
    if ADAPTER_CONFIG in contents:
        if settings.base_model is None:
            hint = "Publish the base first, and set base_model to its repository"
            raise InputError(str(settings.folder / ADAPTER_CONFIG), "an adapter needs its base on the Hub", hint)
        config = read_json(settings.folder / ADAPTER_CONFIG) | {"base_model_name_or_path": settings.base_model}
        contents[ADAPTER_CONFIG] = json.dumps(config, indent=2, sort_keys=True).encode()
    card = model_card(
        settings.folder,
        settings.repo_id,
        settings.license,
        settings.base_model,
        settings.datasets,
        settings.results,
        settings.results_model,
    )
    if left_out:
        logger.warning("left out, not needed to load the model: %s", ", ".join(left_out))

    def is_ours(path: str) -> bool:
        return path.endswith((".safetensors", ".safetensors.index.json"))

    contents[CARD] = card.encode()
    published = upload(Repository(settings.repo_id, "model", settings.private), contents, is_ours)
    return replace(published, left_out=left_out)
