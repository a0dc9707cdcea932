"""BISON in full, 54,253 items: a caption of COCO val2014 and two images, one of which it belongs to.

`{"info": …, "data": [{bison_id, caption_id, caption, image_candidates: [{image_id, image_filename} × 2],
true_image_id}]}`.
Format: https://github.com/facebookresearch/binary-image-selection (CC-BY-NC-4.0)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cadvi_hub.annotation.answers import IMAGE_LETTERS
from cadvi_hub.eval.benchmarks.benchmark import Benchmark, PaperResults, Provenance, ReportColumn
from cadvi_hub.eval.benchmarks.question import Question, which_image
from cadvi_hub.eval.benchmarks.reading import make_all, rows_at
from cadvi_hub.sources.rows import Row, identifier, items, mapping, text, unreadable


def read_bison(path: Path, seed: int) -> Iterator[Question]:
    """Yield one question per item, in the file's order.

    Raises:
        InputError: a bad row, with file and row.
    """

    def make(row: Row, place: str) -> Question:
        candidates = [mapping(candidate, "a candidate") for candidate in items(row, "image_candidates")]
        names = {identifier(candidate, "image_id"): text(candidate, "image_filename") for candidate in candidates}
        true_id = identifier(row, "true_image_id")
        wrong = [name for image_id, name in names.items() if image_id != true_id]
        if true_id not in names or len(wrong) != 1:
            raise unreadable("true_image_id is not one of two image_candidates")
        question_id, caption = identifier(row, "bison_id"), text(row, "caption")
        return which_image(question_id, names[true_id], wrong[0], caption, path.name, place, seed)

    return make_all(path, rows_at(path, "data"), make)


BENCHMARK = Benchmark(
    name="bison",
    columns=(ReportColumn("accuracy", "accuracy", 1 / 2, "One caption, two related pictures: which one suits it?"),),
    options=IMAGE_LETTERS,
    swaps=True,
    upstream=read_bison,
    paper=PaperResults("accuracy", 150, (56.70, 40.67, 80.00, 46.00, 80.67, 66.00, 81.33, 54.00, 59.33, 95.33, 96.67)),
    provenance=Provenance("facebookresearch/binary-image-selection", "CC-BY-NC-4.0", "all columns seen"),
)
