"""The cards of a data set: the full one, and the one that is shown during the upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cadvi_hub.hub.cards import Verbatim, escape, percent, render_card, sections, size_category
from cadvi_hub.hub.contamination import Overlap
from cadvi_hub.hub.dataset_contents import Config
from cadvi_hub.hub.licences import licences_of
from cadvi_hub.hub.samples import Sample

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData

TEMPLATES = "dataset_cards"
# No data set has this file. A config that names it fails to load, with this name in the error, instead of loading only
# the files that are already there.
UNFINISHED = "the-upload-of-this-data-set-is-not-finished"
_MOST_SHOWN = 20
_LONGEST_TEXT = 2000  # characters of a sample's text


def dataset_card(
    configs: Sequence[Config],
    repo_id: str,
    license_id: str,
    overlaps: Sequence[Overlap] = (),
    samples: Mapping[str, tuple[str, Sample]] | None = None,
) -> str:
    """README.md of the data set `repo_id`. Its YAML names every config's files, splits and features.

    Args:
        overlaps: the contamination table.
        samples: per config, the path of the sample's picture in the repository, and the sample.
    """
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict

    infos, data_files = {}, {}
    for config in configs:
        splits = SplitDict()
        for split in config.splits.values():
            splits.add(SplitInfo(split.name, num_bytes=split.arrow_bytes, num_examples=split.rows))
        infos[config.name] = DatasetInfo(
            features=config.features,
            splits=splits,
            download_size=sum(split.bytes for split in config.splits.values()),
            dataset_size=sum(split.arrow_bytes for split in config.splits.values()),
        )
        data_files[config.name] = {split.name: f"{config.name}/{split.pattern}" for split in config.splits.values()}
    metadata = _metadata(license_id, data_files)
    metadata.size_categories = [size_category(sum(config.rows for config in configs))]
    DatasetInfosDict(infos).to_dataset_card_data(metadata)
    return render_card(
        TEMPLATES,
        metadata,
        configs=configs,
        licences=licences_of({source for config in configs for source in config.sources}),
        license=license_id,
        most_shown=_MOST_SHOWN,
        overlaps=overlaps,
        percent=percent,
        prose=lambda text: Verbatim(escape(text, _LONGEST_TEXT)),
        repo_id=Verbatim(repo_id),
        samples={} if samples is None else samples,
        sections=sections,
        unnamed={overlap.config: overlap.unnamed for overlap in overlaps if overlap.unnamed},
    )


def unfinished_card(configs: Sequence[Config], repo_id: str, license_id: str) -> str:
    """README.md during the upload: every config names a missing file, so that none loads incompletely."""
    metadata = _metadata(license_id, {config.name: dict.fromkeys(config.splits, UNFINISHED) for config in configs})
    return render_card(TEMPLATES, metadata, template="unfinished.md.jinja", repo_id=Verbatim(repo_id))


def _metadata(license_id: str, data_files: Mapping[str, Mapping[str, str]]) -> DatasetCardData:
    """A card's YAML, with the glob of each split of each config."""
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    metadata = DatasetCardData(
        license=license_id,
        language="en",
        task_categories=["image-text-to-text", "visual-question-answering"],
        tags=["cad-vi", "comparison", "multi-image"],
    )
    files = {
        config: {"data_files": [{"split": split, "path": path} for split, path in splits.items()]}
        for config, splits in data_files.items()
    }
    MetadataConfigs(files).to_dataset_card_data(metadata)
    return metadata
