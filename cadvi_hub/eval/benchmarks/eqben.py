"""EqBen in full: two images that differ little, with a caption for each.

One JSON file per subset, or a folder of them: a list of `{image0, image1, caption0, caption1}` (kubric, sd, the 10 %
subset), or objects of such lists by video (gebc, youcook2) or by video and subject (ag, where captions are lists, of
which the first counts). The subset is the first folder of the image path (`eqbenkubric_cnt/…`), or is in the name
of the file. YouCook2's frames are NumPy arrays (`.npy`), in BGR.
Format: https://github.com/Wangt-CN/EqBen (Apache-2.0)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cadvi_hub.annotation.answers import IMAGE_LETTERS
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import check_regular
from cadvi_hub.core.json_stream import entries, list_rows
from cadvi_hub.eval.benchmarks.benchmark import PAIRS, Benchmark, PaperResults, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question, caption_pair, named
from cadvi_hub.eval.benchmarks.reading import make_all
from cadvi_hub.sources.rows import Row, mapping, text, unreadable

_SUBSET = "(?P<subset>kubric_(?:cnt|loc|attr)|ag|gebc|sd|youcook2)"
_FOLDER = re.compile(rf"(?:eqben)?{_SUBSET}/", re.IGNORECASE)
_FILE = re.compile(rf"(?:^|[^a-z])(?:eqben_?)?{_SUBSET}(?:$|[^a-z0-9])", re.IGNORECASE)


def read_eqben(path: Path, seed: int) -> Iterator[Question]:
    """Yield two questions per pair of images, in the order of files and pairs.

    Raises:
        InputError: no file, one of another form, or a bad pair, with file and place.
    """
    return read_pairs(path, seed, caption_pair)


def read_pairs(path: Path, seed: int, ask: Callable[..., Iterator[Question]]) -> Iterator[Question]:
    """Yield what `ask` makes of each pair of images and captions; raises what `read_eqben` raises."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError(str(path), "no JSON file is there", "Name EqBen's annotation files or their folder")
    for file in files:
        for questions in make_all(file, _pairs(file), _PairMaker(file, seed, ask)):
            yield from questions


class _PairMaker:
    """The questions of a pair; pairs are numbered from 0 in each file."""

    def __init__(self, file: Path, seed: int, ask: Callable[..., Iterator[Question]]):
        self._file, self._seed, self._ask, self._count = file, seed, ask, -1

    def __call__(self, row: Row, place: str) -> list[Question]:
        self._count += 1
        names = (text(row, "image0"), text(row, "image1"))
        found = _FOLDER.match(names[0]) or _FILE.search(self._file.stem)
        if found is None:
            raise unreadable("neither the image's first folder nor the file's name tells the subset")
        group = f"{self._file.stem}-{self._count}"
        captions = (_caption(row, "caption0"), _caption(row, "caption1"))
        category = found["subset"].lower()
        return list(self._ask(group, named(*names), captions, self._file.name, place, self._seed, category))


def _caption(row: Row, key: str) -> str:
    value = row.get(key)
    said = text({key: value[0]} if isinstance(value, list) and value else row, key)
    if not said.strip():
        raise unreadable(f"{key} is empty")
    return said


def _pairs(file: Path) -> Iterator[tuple[str, Row]]:
    if _is_list(file):
        for position, row in list_rows(file):
            yield position, _pair(file, position, row)
    else:
        for _, video, below in entries(file):
            yield from _nested(file, video, below)


def _nested(file: Path, place: str, below: Any, depth: int = 0) -> Iterator[tuple[str, Row]]:
    """The pairs in a list, or in lists by subject."""
    if isinstance(below, dict) and depth == 0:
        for subject, pairs in below.items():
            yield from _nested(file, f"{place}, {subject}", pairs, depth + 1)
    elif isinstance(below, list):
        for number, row in enumerate(below, 1):
            yield f"{place}, pair {number}", _pair(file, f"{place}, pair {number}", row)
    else:
        raise InputError(f"{file}, {place}", "neither a list of pairs nor lists by subject", "Fix the file")


def _pair(file: Path, position: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise InputError(f"{file}, {position}", "not a JSON object", "Fix the row")
    return mapping(row, "the pair")


def _is_list(file: Path) -> bool:
    check_regular(file)
    try:
        with file.open("rb") as content:
            return content.read(1024).lstrip().startswith(b"[")
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error.strerror})", "Name EqBen's annotation file") from error


def category(row: Row) -> str:
    """The subset of a line of the question file: the first folder of its first image."""
    return str(row["image"][0]).partition("/")[0]


ABOUT = "Two nearly equal pictures and a caption for each; a pair counts when both captions find their picture."
PROVENANCE = Provenance("Wangt-CN/EqBen", "Apache-2.0", "all columns seen")
BENCHMARK = Benchmark(
    name="eqben",
    columns=(ReportColumn(PAIRS, "pairs", 1 / 4, ABOUT),),
    options=IMAGE_LETTERS,
    grouping=PAIRS,
    swaps=True,
    category=category,
    upstream=read_eqben,
    paper=PaperResults(PAIRS, 120, (19.17, 8.33, 20.83, 7.50, 25.00, 20.83, 17.50, 17.50, 16.67, 39.17, 42.50)),
    provenance=PROVENANCE,
)
