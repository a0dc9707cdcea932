"""Two images with a caption each, asked in all four ways (Thrush et al. 2022, Winoground)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cadvi_hub.annotation.answers import IMAGE_LETTERS
from cadvi_hub.eval.benchmarks.benchmark import Benchmark, Joint, Provenance, ReportColumn, whole_group
from cadvi_hub.eval.benchmarks.question import Images, Question, draws_first, embedded, prompt_text, which_text
from cadvi_hub.eval.benchmarks.reading import make_all, source_rows
from cadvi_hub.sources.rows import Row, caption, identifier


def caption_square(
    group: str, images: Images, captions: tuple[str, str], source: str, place: str, seed: int, category: str
) -> Iterator[Question]:
    """Four questions over two images with a caption each (Thrush et al. 2022, Winoground).

    `group_i0` and `group_i1` ask which image suits a caption, `group_t0` and `group_t1` which caption suits an image.
    What comes first is drawn by `seed` and the group's id.
    """
    shown = images if (is_first := draws_first(seed, group)) else images[::-1]
    for half, said in enumerate(captions):
        answer = IMAGE_LETTERS[half if is_first else 1 - half]
        name = f"{group}_i{half}"
        yield Question(name, tuple(shown), which_text(said), IMAGE_LETTERS, answer, source, place, category, group)
    is_first = draws_first(seed, f"{group} captions")
    listed = [" ".join(caption.split()) for caption in (captions if is_first else captions[::-1])]
    for half, image in enumerate(images):
        text = prompt_text("which_caption", captions=listed)
        answer = IMAGE_LETTERS[half if is_first else 1 - half]
        yield Question(f"{group}_t{half}", (image,), text, IMAGE_LETTERS, answer, source, place, category, group)


def square_benchmark(
    name: str, about: str, upstream: Callable[[Path, int], Iterator[Question]], provenance: Provenance
) -> Benchmark:
    """A set of such questions, with its three scores.

    Args:
        name: of the set.
        about: what the pictures are, in a sentence.
        upstream: (path, seed) → questions, as `caption_square` makes them.
        provenance: where the set comes from.
    """
    return Benchmark(
        name=name,
        columns=(
            ReportColumn("group_score", "groups", 1 / 16, f"{about} All four choices must be right."),
            ReportColumn("text_score", "text", 1 / 4, "Which of two captions suits a picture? Both pictures count."),
            ReportColumn("image_score", "image", 1 / 4, "Which of two pictures suits a caption? Both captions count."),
        ),
        options=IMAGE_LETTERS,
        joint=(
            Joint("group_score", 4, whole_group),
            Joint("text_score", 2, lambda question_id, group: group if question_id[-2:-1] == "t" else ""),
            Joint("image_score", 2, lambda question_id, group: group if question_id[-2:-1] == "i" else ""),
        ),
        swaps=True,
        question_file=False,
        upstream=upstream,
        provenance=provenance,
    )


def read_squares(captions: str, *categories: str) -> Callable[[Path, int], Iterator[Question]]:
    """A reader, (path, seed) → questions, of rows with `id`, `image_0`, `image_1` and two captions.

    Args:
        captions: the columns of the captions, without `_0` and `_1`.
        categories: columns of the category; the first that is there counts.
    """

    def read(path: Path, seed: int) -> Iterator[Question]:
        for source, rows in source_rows(path):

            def make(row: Row, place: str, name: str = source.name) -> list[Question]:
                first, second = (embedded(row.get(f"image_{half}"), f"image_{half}") for half in (0, 1))
                said = (caption(row, f"{captions}_0"), caption(row, f"{captions}_1"))
                group = identifier(row, "id")
                category = next((name for name in categories if row.get(name)), categories[0])
                of_kind = identifier(row, category).strip().casefold()
                return list(caption_square(group, (first, second), said, name, place, seed, of_kind))

            for questions in make_all(source, rows, make):
                yield from questions

    return read
