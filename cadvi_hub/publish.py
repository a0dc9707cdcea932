"""Data sets and models to the Hub, each with its card; publishing the same folder again changes nothing.

Large files go up one by one and stay there when the connection is lost, so that running again goes on where it
stopped; they become visible by a commit at the end. The token is the one of `huggingface_hub` (HF_TOKEN or
`hf auth login`) and is never handled here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tqdm import tqdm

from cadvi_hub.dataset_cards.contents import dataset_card, read_configs
from cadvi_hub.errors import InputError
from cadvi_hub.model_cards.contents import ADAPTER_CONFIG, model_card, read_json

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.hf_api import RepoFile

CARD = "README.md"
FILES_PER_COMMIT = 50  # as `datasets` does; larger commits time out on the Hub
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
    base_model: str | None = None
    datasets: list[str] = field(default_factory=list)
    results: Path | None = None
    results_model: str | None = None


@dataclass(frozen=True)
class Published:
    """What a publication did.

    Attributes:
        url: page of the repository.
        commit: id of its newest commit.
        uploaded: paths that are new or changed.
        unchanged: number of files that the Hub had already.
        deleted: paths of an older publication that the folder no longer has.
        left_out: files of a model folder that are not published.
    """

    url: str
    commit: str
    uploaded: tuple[str, ...]
    unchanged: int
    deleted: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def publish(settings: PublishSettings) -> Published:
    """Publish the folder as what it is.

    Raises:
        InputError: the folder is not fit to publish, or the Hub refuses or loses the connection.
    """
    return publish_dataset(settings) if settings.kind == "dataset" else publish_model(settings)


def publish_dataset(settings: PublishSettings) -> Published:
    """Publish every config of a data set folder, `<config>/<split>-*.parquet`, with a card of what was counted.

    Raises:
        InputError: a config is incomplete, the repository has a config that the folder lacks, or the Hub refuses.
    """
    check_repo_id(settings.repo_id)
    configs = read_configs(settings.folder)
    card = dataset_card(configs, settings.repo_id, settings.license)
    paths = [path for config in configs for split in config.splits.values() for path in split.files]
    contents: dict[str, Path | bytes] = {f"{path.parent.name}/{path.name}": path for path in paths}
    names = {config.name for config in configs}

    def is_ours(path: str) -> bool:
        if not path.endswith(".parquet") or "/" not in path:
            return False
        config = path.split("/")[0]
        if config not in names:
            fault = f"it has a config {config!r} that {settings.folder} lacks"
            raise InputError(f"dataset {settings.repo_id}", fault, "Put it into the folder, or delete it on the Hub")
        return True

    return _push(settings, {**contents, CARD: card.encode()}, is_ours)


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
        fault = f"no weights as safetensors, only {', '.join(left_out) or 'nothing'}"
        raise InputError(str(settings.folder), fault, "Save the model with save_pretrained")
    if ADAPTER_CONFIG in contents:
        if settings.base_model is None:
            mend = "Publish the base first, and set base_model to its repository"
            raise InputError(str(settings.folder / ADAPTER_CONFIG), "an adapter needs its base on the Hub", mend)
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

    return _push(settings, {**contents, CARD: card.encode()}, is_ours, left_out)


def check_repo_id(repo_id: str) -> None:
    """Raise InputError unless `repo_id` is `owner/name` in the Hub's spelling."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(repr(repo_id), "it is no repository name", "Write it as owner/name") from error
    if "/" not in repo_id:
        raise InputError(repr(repo_id), "it has no owner", "Write it as owner/name")


def _push(
    settings: PublishSettings,
    contents: dict[str, Path | bytes],
    is_ours: Callable[[str], bool],
    left_out: tuple[str, ...] = (),
) -> Published:
    """Make the repository hold `contents`, and none of the other files that `is_ours`; nothing is committed twice."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

    api, repo_id, kind = HfApi(library_name="cadvi-hub"), settings.repo_id, settings.kind
    with hub_faults(f"{kind} {repo_id} on {api.endpoint}"):
        url = api.create_repo(repo_id, repo_type=kind, private=settings.private, exist_ok=True)
        head = api.repo_info(repo_id, repo_type=kind).sha
        listing = api.list_repo_tree(repo_id, repo_type=kind, recursive=True, revision=head)
        there = {entry.path: entry for entry in listing if isinstance(entry, RepoFile)}
        stale = sorted(path for path in there if is_ours(path) and path not in contents)
        wanted = [CommitOperationAdd(path, content) for path, content in contents.items()]
        changed = [addition for addition in wanted if not _is_there(addition, there.get(addition.path_in_repo))]
        for addition in tqdm(changed, desc=f"upload to {repo_id}", unit="file"):
            api.preupload_lfs_files(repo_id, [addition], repo_type=kind, free_memory=False)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [CommitOperationDelete(path) for path in stale]
        operations += changed  # the card comes last
        for start in range(0, len(operations), FILES_PER_COMMIT):
            head = api.create_commit(
                repo_id,
                operations[start : start + FILES_PER_COMMIT],
                commit_message=f"Publish {len(contents)} files with cadvi-hub",
                repo_type=kind,
                parent_commit=head,
            ).oid
    uploaded = tuple(addition.path_in_repo for addition in changed)
    return Published(str(url), str(head), uploaded, len(wanted) - len(changed), tuple(stale), left_out)


def _is_there(addition: CommitOperationAdd, there: RepoFile | None) -> bool:
    """Whether the Hub's file has the same content, by the digest that the Hub keeps."""
    from huggingface_hub.utils.sha import git_hash

    if there is None or there.size != addition.upload_info.size:
        return False
    if there.lfs is not None:
        return there.lfs.sha256 == addition.upload_info.sha256.hex()
    with addition.as_file() as file:
        return there.blob_id == git_hash(file.read())


@contextmanager
def hub_faults(place: str) -> Iterator[None]:
    """Turn what the Hub's clients raise into an InputError that names `place`, without the token."""
    import httpx
    from huggingface_hub import get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except InputError:
        raise
    except OfflineModeIsEnabled as error:
        raise InputError(place, "offline mode is on", "Unset HF_HUB_OFFLINE") from error
    except (httpx.HTTPError, RuntimeError, OSError) as error:  # uploads wrap theirs into a RuntimeError
        cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        detail = " ".join(str(cause).split()).replace(get_token() or "\0", "…")
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
        again = "Run it again: what was uploaded is kept"
        fault, mend = {
            None: (f"the connection was lost ({detail})", again),
            401: ("the Hub refuses the token", "Set HF_TOKEN or run `hf auth login`, with a token that may write"),
            403: (f"the token may not write there ({detail})", "Check the owner, or use a token with that right"),
            404: ("no such repository", "Check its name, and that the token may see it"),
            409: ("somebody else is changing it", again),
            412: ("somebody else changed it meanwhile", again),
        }.get(status, (f"the Hub answered {status} ({detail})", again))
        raise InputError(place, fault, mend) from error
