"""SVO Probes in full, about 36.8K rows: a sentence, an image of it, and one with another subject, verb or object.

CSV with `sentence, pos_triplet, neg_triplet, pos_url, neg_url, pos_image_id, neg_image_id, subj_neg, verb_neg,
obj_neg`, the last three True or False. Pictures are published as URLs alone: they are looked for by their id,
`<pos_image_id>.jpg` or with another suffix. The last part of a URL is no name, since many share it.
Format: https://github.com/google-deepmind/svo_probes (CC-BY-4.0)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.annotation.answers import IMAGE_LETTERS
from cadvi_hub.eval.benchmarks.benchmark import Benchmark, PaperResults, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question, which_image
from cadvi_hub.eval.benchmarks.reading import csv_rows, make_all
from cadvi_hub.sources.rows import Row, unreadable

_NEGATIVE = {"subj_neg": "subject", "verb_neg": "verb", "obj_neg": "object"}  # column → category
_CATEGORIES = tuple(_NEGATIVE.values())
_COLUMNS = ("sentence", "pos_image_id", "neg_image_id", *_NEGATIVE)


def read_svo_probes(path: Path, seed: int) -> Iterator[Question]:
    """Yield one question per row, in the file's order; its id is the number of its row, from 0.

    Raises:
        InputError: a bad row, with file and line.
    """
    count = 0

    def make(row: Row, place: str) -> Question:
        nonlocal count
        categories = [category for column, category in _NEGATIVE.items() if row[column].lower() == "true"]
        if len(categories) != 1:
            raise unreadable("not exactly one of subj_neg, verb_neg and obj_neg is True")
        right, wrong = row["pos_image_id"], row["neg_image_id"]
        if not row["sentence"].strip() or not right or not wrong:
            raise unreadable("sentence, pos_image_id or neg_image_id is empty")
        count += 1
        sentence = row["sentence"]
        return which_image(str(count - 1), right, wrong, sentence, path.name, place, seed, categories[0])

    return make_all(path, csv_rows(path, _COLUMNS), make)


def category(row: Row) -> str:
    """The category that a line of the question file names."""
    found = str(row.get("category", "")).lower()
    if found not in _CATEGORIES:
        raise unreadable(f"category {found!r} is not among {', '.join(_CATEGORIES)}")
    return found


ABOUT = "One sentence, two pictures that differ in its subject, its verb or its object."
BENCHMARK = Benchmark(
    name="svo_probes",
    columns=(ReportColumn("accuracy", "accuracy", 1 / 2, ABOUT),),
    options=IMAGE_LETTERS,
    swaps=True,
    categories=_CATEGORIES,
    category=category,
    upstream=read_svo_probes,
    paper=PaperResults(
        "accuracy", 1500, (43.93, 47.33, 88.13, 47.93, 82.07, 70.40, 82.13, 46.80, 56.27, 92.73, 93.00)
    ),
    provenance=Provenance(
        "google-deepmind/svo_probes",
        "CC-BY-4.0",
        "all columns seen",
        "the question file has an exact duplicate; pictures are published as URLs alone",
    ),
)
