"""Publish data sets and models on the Hub, each with its card. Publishing the same folder again changes nothing.

An interrupted upload continues when it is run again. The token is the one of `huggingface_hub` (HF_TOKEN or
`hf auth login`); this module never handles it.

Models go through the same `upload` as data sets: huggingface_hub's `upload_folder` needs a folder with exactly the
published files, and does not say which of them were new. Its `ModelCard` templates do not escape untrusted text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_json
from cadvi_hub.hub.contamination import find_overlaps
from cadvi_hub.hub.dataset_card import dataset_card, unfinished_card
from cadvi_hub.hub.dataset_contents import BUILD_RECORD, read_configs
from cadvi_hub.hub.eval_results import eval_results
from cadvi_hub.hub.model_card import ADAPTER_CONFIG, TRAINING_LOG, model_card, read_scores
from cadvi_hub.hub.samples import draw_sample
from cadvi_hub.hub.settings import PublishSettings
from cadvi_hub.hub.upload import CARD, Published, Repository, check_repo_id, upload

EVAL_YAML = "eval.yaml"  # at the root of question sets: their tasks, for the Hub
ASSETS = "assets"  # folder in the repository for the card's pictures
# The files that `from_pretrained` reads, and licences. Optimizer states, pickles and logs do not match.
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


def publish(settings: PublishSettings) -> Published:
    """Publish the folder as a data set or a model.

    Raises:
        InputError: the folder cannot be published, the Hub refuses, or the connection is lost.
    """
    return publish_dataset(settings) if settings.kind == "dataset" else publish_model(settings)


def publish_dataset(settings: PublishSettings) -> Published:
    """Publish every config of a data set folder, `<config>/<split>-*.parquet`, with a card of counted values.

    The counts of each config's build are published as `<config>/build.json`, which `cadvi view` reads.

    Raises:
        InputError: a config is incomplete, a file is not as it was built, the repository has a config that the folder
            lacks, a set of `contamination` cannot be read, or the Hub refuses.
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
            raise InputError(f"dataset {settings.repo_id}", problem, "Add it to the folder, or delete it on the Hub")
        return True

    contents[CARD] = card.encode()
    if (settings.folder / EVAL_YAML).is_file():
        contents[EVAL_YAML] = settings.folder / EVAL_YAML
    unfinished = unfinished_card(configs, settings.repo_id, settings.license)
    digests = {f"{config.name}/{name}": sha256 for config in configs for name, sha256 in config.digests.items()}
    return upload(Repository(settings.repo_id, "dataset", settings.private), contents, is_ours, unfinished, digests)


def _counted(build: Mapping[str, Any]) -> bytes:
    """A build's record for the Hub: only counts, because recipe and places can name folders of a machine."""
    drops = {reason: {"count": count} for reason, count in build.get("drops", {}).items()}
    return json.dumps({"rows": build.get("rows"), "drops": drops}, indent=2, sort_keys=True).encode()


def publish_model(settings: PublishSettings) -> Published:
    """Publish a model folder: weights as safetensors, configuration, processor, and a card.

    An adapter's configuration is published with `base_model` in it, so that it finds its base on the Hub.

    Raises:
        InputError: no safetensors, a file that is not as the training wrote it, an adapter without `base_model`,
            unreadable records, or the Hub refuses.
    """
    check_repo_id(settings.repo_id)
    for repo_id in (*filter(None, [settings.base_model, settings.results_dataset]), *settings.datasets):
        check_repo_id(repo_id)
    if not settings.folder.is_dir():
        raise InputError(str(settings.folder), "no such folder", "Name the folder of an adapter or a model")
    files = sorted(path for path in settings.folder.iterdir() if path.is_file() and path.name != CARD)
    contents: dict[str, Path | bytes] = {
        path.name: path for path in files if any(fnmatch(path.name, pattern) for pattern in MODEL_FILES)
    }
    left_out = tuple(path.name for path in files if path.name not in contents)
    if not any(name.endswith(".safetensors") for name in contents):
        problem = f"it has no weights as safetensors, only {', '.join(left_out) or 'nothing'}"
        raise InputError(str(settings.folder), problem, "Save the model with save_pretrained")
    if ADAPTER_CONFIG in contents:
        if settings.base_model is None:
            hint = "Publish the base first, and set base_model to its repository"
            raise InputError(str(settings.folder / ADAPTER_CONFIG), "an adapter needs its base on the Hub", hint)
        config = read_json(settings.folder / ADAPTER_CONFIG, "Train the adapter again") | {
            "base_model_name_or_path": settings.base_model
        }
        contents[ADAPTER_CONFIG] = json.dumps(config, indent=2, sort_keys=True).encode()
    card = model_card(settings)
    if left_out:
        logger.warning("not published, because no reader of the model needs it: %s", ", ".join(left_out))
    contents[CARD] = card.encode()
    if settings.results_dataset:
        if settings.results is None:
            raise InputError("results_dataset", "there are no results for it", "Name a results.json by --results")
        model = read_scores(settings.results, settings.results_model)[0]
        contents |= eval_results(settings.results, model, settings.results_dataset)
    published = upload(
        Repository(settings.repo_id, "model", settings.private),
        contents,
        is_ours=lambda path: path.endswith((".safetensors", ".safetensors.index.json")),
        digests={name: sha256 for name, sha256 in _recorded(settings.folder) if isinstance(contents.get(name), Path)},
    )
    return replace(published, left_out=left_out)


def _recorded(folder: Path) -> list[tuple[str, str]]:
    """Name and SHA-256 of the files that a training wrote to `folder`, an adapter's or its merged model's."""
    for place, prefix in ((folder, ""), (folder.parent, f"{folder.name}/")):
        if (place / TRAINING_LOG).is_file():
            files = read_json(place / TRAINING_LOG, "Train it again").get("files")
            entries = files.items() if isinstance(files, dict) else ()
            found = [
                (name.removeprefix(prefix), entry["sha256"]) for name, entry in entries if name.startswith(prefix)
            ]
            own = [(name, sha256) for name, sha256 in found if "/" not in name]
            # `cadvi merge` copies the record of the adapter; its files are not there.
            return own if all((folder / name).is_file() for name, _ in own) else []
    return []
