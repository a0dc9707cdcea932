"""The content of a data set folder, counted from its parquet files."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_json
from cadvi_hub.core.manifest import damage
from cadvi_hub.core.parquet import VIEWER_BYTES, open_parquet
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER

if TYPE_CHECKING:
    from datasets import Features
    from pyarrow.parquet import FileMetaData

logger = logging.getLogger(__name__)

BUILD_RECORD = "build.json"
CONFIG_NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
_SHARD = re.compile(r"(?P<split>[a-z]+)(?:-(?P<index>\d{5})-of-(?P<total>\d{5}))?\.parquet")
_COUNTED_COLUMNS = (
    "source",
    "annotator",
    "prompt_hash",
    "decoding",
    "commonalities",
    "differences",
    "question",
    "answer",
    "clip_sim_score",
    "rejection",
)


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
        build: the build's record, from `build.json`; empty if there is none.
        digests: SHA-256 of each file when it was written, by its name, as far as the record has them.
        sources: rows per source.
        provenance: rows per annotator, prompt hash and decoding settings.
        summaries: rows with a summary.
        words: whitespace-separated words of all `commonalities`, of all texts of `differences` (without their
            aspects), and of each `question` and `answer`.
        aspects: rows per aspect of their differences.
        rejections: preference pairs per kind of the worse answer.
        questions: rows with an open question and its answer.
        similarities: rows with an image similarity, and the sum of these similarities.
        pictures: pictures in the files.
        image_names: names of images; if there are more names than pictures, the other images are only named.
    """

    name: str
    splits: dict[str, Split]
    features: Features
    build: dict[str, Any]
    digests: dict[str, str] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    provenance: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    summaries: int = 0
    words: Counter[str] = field(default_factory=Counter)
    aspects: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    questions: int = 0
    similarities: tuple[int, float] = (0, 0.0)
    pictures: int = 0
    image_names: int = 0

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return sum(split.rows for split in self.splits.values())

    @property
    def files(self) -> list[Path]:
        """The parquet files of all splits."""
        return [path for split in self.splits.values() for path in split.files]

    @property
    def only_names_pictures(self) -> bool:
        """Whether rows name pictures, but the files hold none."""
        return self.image_names > 0 and self.pictures == 0

    @property
    def built_as(self) -> str:
        """The name of such data sets in `cadvi build`, from the build's record."""
        recorded = str(self.build.get("config", self.name))
        return recorded if CONFIG_NAME.fullmatch(recorded) else self.name

    def mean_words(self, part: str) -> float:
        """Mean number of words in `part` of a summary or a question."""
        return self.words[part] / (self.questions if part in ("question", "answer") else self.summaries)


def read_configs(folder: Path) -> list[Config]:
    """Measure each sub-folder of `folder` that holds parquet files; names that start with `_` or `.` are skipped.

    Raises:
        InputError: no config, a name that the Hub does not accept, a missing shard, a broken file, or files whose
            columns differ from each other or whose rows differ from the count in `build.json`.
    """
    subfolders = sorted(path for path in folder.glob("[!._]*/") if any(path.glob("*.parquet")))
    if not subfolders:
        hint = "Name the folder above the data sets (data, not data/v1), or build one first"
        raise InputError(str(folder), "no sub-folder holds parquet files", hint)
    return [_read_config(subfolder) for subfolder in subfolders]


def _read_config(folder: Path) -> Config:
    from datasets import Features

    if not CONFIG_NAME.fullmatch(folder.name):
        raise InputError(
            str(folder), "its name is not a valid config", "Use lower-case letters, digits and underscores"
        )
    config = Config(folder.name, _splits(folder), Features(), *_build_record(folder))
    schema = None
    for split in config.splits.values():
        for path in split.files:
            with open_parquet(path) as file:
                if schema is None:
                    schema = file.schema_arrow
                    config.features = Features.from_arrow_schema(schema)
                elif not file.schema_arrow.equals(schema):
                    raise InputError(str(path), "its columns differ from the other files'", "Build the config again")
                split.rows += file.metadata.num_rows
                split.bytes += path.stat().st_size
                groups = range(file.metadata.num_row_groups)
                sizes = [file.metadata.row_group(group).total_byte_size for group in groups]
                split.arrow_bytes += sum(sizes)
                if max(sizes, default=0) > VIEWER_BYTES:
                    message = "%s: a row group of %d MB, which the Hub's viewer does not show: build it again"
                    logger.warning(message, path, max(sizes) / 1e6)
                config.pictures += _values(file.metadata, "bytes")
                config.image_names += _values(file.metadata, "path")
                columns = [name for name in _COUNTED_COLUMNS if name in schema.names]
                for batch in file.iter_batches(batch_size=1024, columns=columns):
                    for row in batch.to_pylist():
                        _count(config, row)
    counted = config.build.get("rows")
    if isinstance(counted, int) and counted != config.rows:
        problem = f"{BUILD_RECORD} counts {counted} rows, but the files hold {config.rows}"
        raise InputError(str(folder), problem, "Let the build finish, then publish")
    return config


def _values(metadata: FileMetaData, part: str) -> int:
    """How many entries of `images` have a `part`, from the counts in the file's footer."""
    columns = [
        metadata.row_group(group).column(index)
        for group in range(metadata.num_row_groups)
        for index in range(metadata.num_columns)
    ]
    of_images = [column for column in columns if re.fullmatch(rf"images\..*\.{part}", column.path_in_schema)]
    nulls = [column.statistics.null_count if column.statistics else 0 for column in of_images]
    return int(sum(column.num_values for column in of_images) - sum(count or 0 for count in nulls))


def _count(config: Config, row: dict[str, Any]) -> None:
    """Add one row, without its pictures, to the counts."""
    if "source" in row:
        config.sources["+".join(sorted(row["source"].split("+")))] += 1  # a pair of a and b has no first source
    if row.get("annotator"):
        config.provenance[row["annotator"], row.get("prompt_hash") or "", row.get("decoding") or ""] += 1
    if row.get("commonalities"):
        config.summaries += 1
        config.words["commonalities"] += len(row["commonalities"].split())
        config.words["differences"] += sum(len(item["text"].split()) for item in row["differences"])
        config.aspects.update(sorted({item["aspect"] for item in row["differences"]}))  # a set alone has no order
    if row.get("rejection"):
        config.rejections[row["rejection"]] += 1
    if row.get("question") and row.get("answer") and "options" not in config.features:
        config.questions += 1
        for part in ("question", "answer"):
            config.words[part] += len(row[part].replace(IMAGE_PLACEHOLDER, " ").split())
    if row.get("clip_sim_score") is not None:
        rows, total = config.similarities
        config.similarities = rows + 1, total + row["clip_sim_score"]


def _splits(folder: Path) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    totals: dict[str, set[int]] = {}
    for path in sorted(folder.glob("*.parquet")):
        match = _SHARD.fullmatch(path.name)
        if match is None:
            hint = "Name it train.parquet or train-00000-of-00001.parquet"
            raise InputError(str(path), "its name is not the name of a shard", hint)
        splits.setdefault(match["split"], Split(match["split"])).files.append(path)
        totals.setdefault(match["split"], set()).add(int(match["total"] or 1))
    for split in splits.values():
        if totals[split.name] != {len(split.files)}:
            problem = (
                f"it has {len(split.files)} files of {split.name}, but their names say {sorted(totals[split.name])}"
            )
            raise InputError(str(folder), problem, "Let the build finish, or remove the files of an older build")
    return splits


def _build_record(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The build's counts, as the card shows them, and the digests of its files.

    Both are empty for a folder without a build's record.

    Raises:
        InputError: the build is not finished, its record cannot be read, or a file is damaged.
    """
    path = folder / BUILD_RECORD
    if not path.exists():
        if any(folder.glob("_*/")):
            raise InputError(str(folder), "its build is not finished", "Run the build again to continue it")
        return {}, {}
    record = read_json(path, "Build the config again")
    files = record.pop("files", None)
    manifest = files if isinstance(files, dict) else {}  # an older build recorded names only
    for problem in damage(folder, manifest):
        raise InputError(str(folder), problem, "Build the config again")
    digests = {name: entry["sha256"] for name, entry in manifest.items()}
    return {key: _without_places(value) for key, value in record.items()}, digests


def _without_places(value: Any) -> Any:
    """Only counts: the places of the first dropped or flagged rows are for the builder, not for the card."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {"count", "first"}:
        return value["count"]
    return {key: _without_places(item) for key, item in value.items()}
