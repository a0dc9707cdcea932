"""Captions in tables, compressed files, and texts beside pictures."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.schema import CaptionedImage
from cadvi_hub.sources.captioned_folder import read_captioned_folder
from cadvi_hub.sources.formats import FORMATS
from cadvi_hub.sources.localized_narratives import read_localized_narratives
from cadvi_hub.sources.settings import SourceSettings

ROWS = [
    {"image": "a.png", "caption": 'A dog, two cats and a "red" kite.'},
    {"image": "sub/b.png", "caption": "Ein Käse\nund Brot."},
]
EXPECTED = [(row["image"], row["caption"]) for row in ROWS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.png"):
        (tmp_path / name).write_bytes(b"decoding is checked later")
    return tmp_path


def read(folder: Path, **settings: Any) -> list[CaptionedImage]:
    source = SourceSettings(folder, "test", **settings)
    return list(read_captioned_folder(source, ImageFolders([folder]), Drops()))


def digest(folder: Path) -> str:
    return FORMATS["captioned_folder"].digest(SourceSettings(folder, "test"))


def write_table(file: Path, rows: list[dict[str, str]], delimiter: str = ",") -> None:
    with file.open("w", newline="", encoding="utf-8") as written:
        table = csv.DictWriter(written, rows[0], delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)


def write_lines(file: Path) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def compress(file: Path, kind: str) -> None:
    """`file` as `.gz` or `.zst` in its place."""
    if kind == ".gz":
        Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes()))
    else:
        with pa.CompressedOutputStream(pa.OSFile(f"{file}.zst", "wb"), "zstd") as written:
            written.write(file.read_bytes())
    file.unlink()


WRITERS: dict[str, Callable[[Path], None]] = {
    "captions.jsonl": write_lines,
    "captions.csv": lambda file: write_table(file, ROWS),
    "captions.tsv": lambda file: write_table(file, ROWS, "\t"),
    "captions.parquet": lambda file: pq.write_table(pa.Table.from_pylist(ROWS), file),
}


@pytest.mark.parametrize(
    ("name", "compression"),
    [(name, end) for name in WRITERS for end in ("", ".gz", ".zst") if not (end and name.endswith(".parquet"))],
)
def test_every_kind_of_file_gives_the_same_captions(folder: Path, name: str, compression: str) -> None:
    file = folder / name
    WRITERS[name](file)
    if compression:
        compress(file, compression)
    assert [(entry.image, entry.caption) for entry in read(folder)] == EXPECTED
    assert digest(folder) != digest(folder / "sub")


def test_columns_have_the_names_that_the_user_gives(folder: Path) -> None:
    write_table(folder / "captions.csv", [{"filepath": "a.png", "title": "A dog.", "image_id": "7"}])
    (entry,) = read(folder, columns={"image": "filepath", "caption": "title"})
    assert entry == CaptionedImage("7", "a.png", "A dog.", "test")


def test_a_comma_in_an_unquoted_caption_does_not_cut_it(folder: Path) -> None:
    (folder / "captions.csv").write_text("image,caption\na.png,A dog, a cat.\n")
    with pytest.raises(InputError, match=r"captions.csv, line 2: 1 cells more than the header has. Put it in quotes"):
        read(folder)


def test_a_table_that_is_not_utf_8_is_refused_by_its_line(folder: Path) -> None:
    (folder / "captions.tsv").write_bytes("image\tcaption\na.png\tcaf\xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"captions.tsv, line \d+: not UTF-8"):
        read(folder)


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_a_compressed_file_that_is_cut_short_is_refused(folder: Path, compression: str) -> None:
    file = folder / "captions.jsonl"
    file.write_text("".join(json.dumps({**ROWS[0], "note": str(k)}) + "\n" for k in range(5000)))
    compress(file, compression)
    whole = Path(f"{file}{compression}")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match=r"captions\.jsonl"):
        read(folder)


def test_two_caption_files_are_refused(folder: Path) -> None:
    write_lines(folder / "captions.jsonl")
    write_table(folder / "captions.csv", ROWS)
    with pytest.raises(InputError, match=r"it has captions.jsonl and captions.csv. Leave one"):
        read(folder)


def test_a_text_beside_each_picture_is_its_caption(folder: Path) -> None:
    (folder / "a.txt").write_text("A dog\non the grass.\n")
    (folder / "sub/b.txt").write_text("A cat.")
    (folder / "readme.txt").write_text("no picture has this name")
    assert [(e.image_id, e.image, e.caption) for e in read(folder)] == [
        ("a", "a.png", "A dog on the grass."),
        ("b", "sub/b.png", "A cat."),
    ]
    before = digest(folder)
    (folder / "a.txt").rename(folder / "c.txt")
    (folder / "a.png").rename(folder / "c.png")
    assert digest(folder) != before  # the names count, too


def test_a_folder_without_captions_says_what_to_put_there(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no caption file is there. Put captions.jsonl, captions.csv"):
        read(folder)


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_localized_narratives_are_read_compressed(tmp_path: Path, compression: str) -> None:
    (tmp_path / "1.jpg").write_bytes(b"decoding is checked later")
    file = tmp_path / "open_images_captions.jsonl"
    file.write_text(json.dumps({"dataset_id": "open_images", "image_id": "1", "annotator_id": 0, "caption": "A dog."}))
    compress(file, compression)
    (entry,) = read_localized_narratives(SourceSettings(tmp_path, "ln"), ImageFolders([tmp_path]), Drops())
    assert (entry.image, entry.caption) == ("1.jpg", "A dog.")
