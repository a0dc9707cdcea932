"""Pairs of a data set that the page shows, drawn by a seed, and how a page carries pictures and texts."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png, open_image
from cadvi_hub.core.schema import IMAGE_PLACEHOLDER
from cadvi_hub.pairing.nouns import load_tagger

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile
    from spacy.language import Language

PAIRS = 6  # shown per data set
EXACT_SIZE, MAX_SIZE = 128, 224  # pixels: up to the first a picture is shown as it is, beyond the second scaled down
MAX_TEXT = 1500  # characters of any one text

Row = dict[str, Any]


class Picture(NamedTuple):
    """A picture in the page: data URL, and its size in pixels."""

    url: str
    width: int
    height: int


class Word(NamedTuple):
    """A piece of a caption, whether it is one of the shared nouns, and the space after it."""

    text: str
    shared: bool
    space: str


class SamplePair(NamedTuple):
    """A row of V1 or V2 as the page shows it; `captions` or `context` is empty, `turn` is V1's second turn."""

    id: str
    pictures: list[Picture]
    captions: list[list[Word]]
    context: str
    shared_nouns: list[str]
    request: str
    commonalities: str
    differences: list[dict[str, str]]
    turn: tuple[str, str] | None
    annotator: str


class DataSet(NamedTuple):
    """A finished data set as the page shows it: what its build counted, and sample rows."""

    name: str
    rows: int
    drops: dict[str, int]
    pair_counts: dict[str, int]
    pairs: list[SamplePair]


def sample_data_set(folder: Path, seed: int) -> DataSet | None:
    """The data set that a build made in `folder`; None if there is none.

    Raises:
        InputError: a file that cannot be read, or a picture that does not decode.
    """
    build = read_json(folder / "build.json")
    if build is None:
        return None
    try:
        files, rows, pair_counts = build["files"], build["rows"], build["pair_counts"]
        drops = {reason: entry["count"] for reason, entry in build["drops"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(str(folder / "build.json"), f"not a build's report ({error!r})", "Build it again") from error
    return DataSet(folder.name, rows, drops, pair_counts, sample_pairs(folder, files, seed))


def sample_pairs(folder: Path, files: Sequence[str], seed: int) -> list[SamplePair]:
    """`PAIRS` rows of the data set whose parquet `files` stand in `folder`, in its order.

    Raises:
        InputError: a file that cannot be read, or a picture that does not decode.
    """
    paths = [folder / Path(name).name for name in files]
    total = 0
    for path in paths:
        with _parquet(path) as file:
            total += file.metadata.num_rows
    chosen = sorted(random.Random(f"{seed}/{folder.name}").sample(range(total), min(PAIRS, total)))
    rows = read_rows(paths, chosen)
    tagger = load_tagger() if any(row.get("captions") for row in rows.values()) else None
    return [_pair(rows[index], f"{folder.name} row {index}", tagger) for index in chosen]


def _pair(row: Row, place: str, tagger: Language | None) -> SamplePair:
    shared = set(row["shared_nouns"] or ())
    turns = ["".join(part["text"] or IMAGE_PLACEHOLDER for part in turn["content"]) for turn in row["messages"]]
    captions = [_marked(caption, shared, tagger) for caption in row.get("captions") or () if tagger]
    return SamplePair(
        id=row["id"],
        pictures=[picture(image, place) for image in row["images"]],
        captions=captions,
        context=short(row.get("context") or ""),
        shared_nouns=sorted(shared),
        request=numbered(turns[0]),
        commonalities=short(row["commonalities"]),
        differences=[{**difference, "text": short(difference["text"])} for difference in row["differences"]],
        turn=(numbered(turns[2]), short(turns[3])) if len(turns) == 4 else None,
        annotator=row["annotator"],
    )


def _marked(caption: str, shared: set[str], tagger: Language) -> list[Word]:
    """The caption's words; shared nouns are found as pairing found them, by lemma."""
    return [
        Word(token.text, token.pos_ in ("NOUN", "PROPN") and token.lemma_.lower() in shared, token.whitespace_)
        for token in tagger(short(caption))
    ]


def picture(image: Mapping[str, Any], place: str) -> Picture:
    """`image` as a data URL; a photograph becomes a WebP thumbnail, or the page would weigh many megabytes.

    Raises:
        InputError: it does not decode; names `place`.
    """
    picture = open_image(image["bytes"] or b"", place)
    if max(picture.size) <= EXACT_SIZE:
        kind, data = "png", encode_png(picture)
    else:
        picture.thumbnail((MAX_SIZE, MAX_SIZE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=80)
        kind, data = "webp", buffer.getvalue()
    return Picture(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", *picture.size)


def numbered(prompt: str) -> str:
    """A prompt with "[picture 1]", "[picture 2]" … where its images go."""
    first, *rest = prompt.split(IMAGE_PLACEHOLDER)
    return short(first + "".join(f"[picture {number}]{text}" for number, text in enumerate(rest, 1)))


def short(text: str) -> str:
    """The text, cut after `MAX_TEXT` characters."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


@contextmanager
def _parquet(path: Path) -> Iterator[ParquetFile]:
    """The open file; what goes wrong while it is read is an `InputError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise InputError(str(path), f"cannot be read ({error})", "Make the data set again") from error


def read_rows(paths: Sequence[Path], indices: Iterable[int]) -> dict[int, Row]:
    """Rows by their place in all files together; only the row groups that hold them are read.

    Raises:
        InputError: a file that cannot be read, or a row that is not there.
    """
    wanted, start = sorted(indices), 0
    found: dict[int, Row] = {}
    for path in paths:
        with _parquet(path) as file:
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                here = [index for index in wanted if start <= index < stop]
                if here:
                    rows = file.read_row_group(group).take([index - start for index in here]).to_pylist()
                    found.update(zip(here, rows, strict=True))
                start = stop
    if beyond := [index for index in wanted if index not in found]:
        raise InputError(str(paths[-1]), f"there is no row {beyond[0]}", "Give the questions of the evaluation")
    return found


def read_json(file: Path) -> dict[str, Any] | None:
    """The JSON object in `file`; None if there is no such file.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(str(file), f"cannot be read ({error})", "Make it again") from error
    if not isinstance(content, dict):
        raise InputError(str(file), "does not hold a JSON object", "Make it again")
    return content
