"""What a data set folder holds, counted from the parquet files themselves, and the card that says so."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.cards import Verbatim, percent, render_card, sections, size_category
from cadvi_hub.errors import InputError

if TYPE_CHECKING:
    from datasets import Features

BUILD_RECORD = "build.json"
CONFIG_NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
_SHARD = re.compile(r"(?P<split>[a-z]+)(?:-(?P<index>\d{5})-of-(?P<total>\d{5}))?\.parquet")
_TEXT_COLUMNS = ("source", "annotator", "prompt_hash", "decoding", "commonalities", "differences")
_MOST_SHOWN = 20


@dataclass
class Split:
    """The files of one split; `bytes` on disk, `arrow_bytes` uncompressed."""

    name: str
    files: list[Path] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    arrow_bytes: int = 0

    @property
    def pattern(self) -> str:
        """Glob of the file names."""
        return self.files[0].name if len(self.files) == 1 else f"{self.name}-*.parquet"


@dataclass
class Config:
    """One config of a data set, measured.

    Attributes:
        build: the record that the build left in `build.json`, empty if there is none.
        sources: rows per source.
        provenance: rows per annotator, prompt hash and decoding settings.
        summaries: rows that carry a summary.
        words: whitespace-separated words of all `commonalities`, and of all texts of `differences` (no headings).
        aspects: rows whose differences speak of an aspect.
    """

    name: str
    splits: dict[str, Split]
    features: Features
    build: dict[str, Any]
    sources: Counter[str] = field(default_factory=Counter)
    provenance: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    summaries: int = 0
    words: Counter[str] = field(default_factory=Counter)
    aspects: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return sum(split.rows for split in self.splits.values())

    def mean_words(self, part: str) -> float:
        """Mean words per summary in its `part`."""
        return self.words[part] / self.summaries


def read_configs(folder: Path) -> list[Config]:
    """Measure each sub-folder of `folder` that holds parquet files; those starting with `_` or `.` are skipped.

    Raises:
        InputError: no config, a name that the Hub cannot take, a missing shard, a broken file, or files that differ
            from each other or from what `build.json` counted.
    """
    subfolders = sorted(path for path in folder.glob("[!._]*/") if any(path.glob("*.parquet")))
    if not subfolders:
        raise InputError(str(folder), "no sub-folder holds parquet files", "Build a data set there first")
    return [_read_config(subfolder) for subfolder in subfolders]


def _read_config(folder: Path) -> Config:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features

    if not CONFIG_NAME.fullmatch(folder.name):
        raise InputError(str(folder), "its name cannot be a config", "Use lower-case letters, digits and underscores")
    config = Config(folder.name, _splits(folder), Features(), _build_record(folder))
    schema = None
    for split in config.splits.values():
        for path in split.files:
            try:
                with pq.ParquetFile(path) as file:
                    if schema is not None and not file.schema_arrow.equals(schema):
                        raise InputError(
                            str(path), "its columns differ from the other files'", "Build the config again"
                        )
                    schema = file.schema_arrow
                    split.rows += file.metadata.num_rows
                    split.bytes += path.stat().st_size
                    groups = range(file.metadata.num_row_groups)
                    split.arrow_bytes += sum(file.metadata.row_group(group).total_byte_size for group in groups)
                    columns = [name for name in _TEXT_COLUMNS if name in schema.names]
                    for batch in file.iter_batches(batch_size=1024, columns=columns):
                        for row in batch.to_pylist():
                            _count(config, row)
            except (pa.ArrowException, OSError) as error:
                raise InputError(str(path), f"it does not read as parquet ({error})", "Build it again") from error
    config.features = Features.from_arrow_schema(schema)
    counted = config.build.get("rows")
    if isinstance(counted, int) and counted != config.rows:
        fault = f"{BUILD_RECORD} counts {counted} rows, the files hold {config.rows}"
        raise InputError(str(folder), fault, "Let the build finish, then publish")
    return config


def _count(config: Config, row: dict[str, Any]) -> None:
    """Add one row, without its pictures, to the counts."""
    if "source" in row:
        config.sources[row["source"]] += 1
    if row.get("annotator"):
        config.provenance[row["annotator"], row.get("prompt_hash") or "", row.get("decoding") or ""] += 1
    if row.get("commonalities"):
        config.summaries += 1
        config.words["commonalities"] += len(row["commonalities"].split())
        config.words["differences"] += sum(len(item["text"].split()) for item in row["differences"])
        config.aspects.update({item["aspect"] for item in row["differences"]})


def _splits(folder: Path) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    totals: dict[str, set[int]] = {}
    for path in sorted(folder.glob("*.parquet")):
        match = _SHARD.fullmatch(path.name)
        if match is None:
            raise InputError(
                str(path), "its name is no shard's", "Name it train.parquet or train-00000-of-00001.parquet"
            )
        splits.setdefault(match["split"], Split(match["split"])).files.append(path)
        totals.setdefault(match["split"], set()).add(int(match["total"] or 1))
    for split in splits.values():
        if totals[split.name] != {len(split.files)}:
            fault = f"{len(split.files)} files of {split.name}, their names say {sorted(totals[split.name])}"
            raise InputError(str(folder), fault, "Let the build finish, or remove the files of an older one")
    return splits


def _build_record(folder: Path) -> dict[str, Any]:
    """What the build counted, as the card shows it; empty for a folder that no build of ours made."""
    path = folder / BUILD_RECORD
    if not path.exists():
        if any(folder.glob("_*/")):
            raise InputError(str(folder), "its build is not finished", "Run the build again, it goes on from there")
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(str(path), f"it is no JSON ({error})", "Build the config again") from error
    if not isinstance(record, dict):
        raise InputError(str(path), "it is no JSON object", "Build the config again")
    drops = record.get("drops")
    if isinstance(drops, dict):  # the places of the first dropped rows are for the builder, not for the card
        record["drops"] = {
            reason: entry["count"] if isinstance(entry, dict) and "count" in entry else entry
            for reason, entry in drops.items()
        }
    record.pop("files", None)
    return record


def dataset_card(configs: list[Config], repo_id: str, license_id: str) -> str:
    """README.md of the data set `repo_id`, its YAML naming every config's files, splits and features."""
    from datasets import DatasetInfo, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

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
        data_files[config.name] = {
            "data_files": [
                {"split": split.name, "path": f"{config.name}/{split.pattern}"} for split in config.splits.values()
            ]
        }
    metadata = DatasetCardData(
        license=license_id,
        language="en",
        task_categories=["image-text-to-text", "visual-question-answering"],
        tags=["cad-vi", "comparison", "multi-image"],
        size_categories=[size_category(sum(config.rows for config in configs))],
    )
    DatasetInfosDict(infos).to_dataset_card_data(metadata)
    MetadataConfigs(data_files).to_dataset_card_data(metadata)
    return render_card(
        "cadvi_hub.dataset_cards",
        metadata,
        configs=configs,
        repo_id=Verbatim(repo_id),
        license=license_id,
        most_shown=_MOST_SHOWN,
        percent=percent,
        sections=sections,
    )
