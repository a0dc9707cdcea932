"""Settings of every reader of upstream files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass
class SourceSettings:
    """Where records come from.

    Attributes:
        path: folder with the upstream files; for formats that are data sets, a folder, a file or a repository on the
            Hub.
        name: value of the `source` column; cards know the licences of some names (`localized_narratives`, `svit`,
            `cad_inst` …).
        bad_rows: `refuse` stops with an error that names the row; `drop` counts the row and continues.
        format: what the files look like: captioned_folder, localized_narratives, captioned_dataset, svit,
            edited_pairs, similar_pairs, mimic_it, the_cauldron, llava_mix, cad_qa_file, cad_inst, cad_inst_questions
            or built (docs/guides/paper-data.md has a table); by default our own layout for the data set.
        images: folders with the pictures, searched with their sub-folders; by default names are relative to `path`.
        columns: data sets and caption files: their names for our columns, such as `{caption: text}`.
        subset: formats that are data sets: the configuration to read.
        split: formats that are data sets: the split to read.
    """

    path: Path
    name: str
    bad_rows: Literal["refuse", "drop"] = "refuse"
    format: str = ""
    images: list[Path] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    subset: str | None = None
    split: str = "train"
