"""Rows that the page shows, drawn by a seed: pairs of a data set, and answers of models beside their pictures."""

from __future__ import annotations

import base64
import io
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from cadvi_hub.errors import InputError
from cadvi_hub.eval.benchmarks import TASKS
from cadvi_hub.eval.scoring import token_f1
from cadvi_hub.images import encode_png, open_image
from cadvi_hub.pairing.nouns import load_tagger
from cadvi_hub.schema import IMAGE_PLACEHOLDER

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile
    from spacy.language import Language

PAIRS = 6  # shown per data set
PER_OUTCOME = 2  # right and as many wrong answers shown per task
EXACT_SIZE, MAX_SIZE = 128, 224  # pixels: up to the first a picture is shown as it is, beyond the second scaled down
MAX_TEXT = 1500  # characters of any one text
TWO_IMAGE_TASKS = tuple(task for task in TASKS if task != "single_image")

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


class Reply(NamedTuple):
    """What a model answered: its text, "right", "wrong" or "open", and that in words."""

    text: str
    outcome: str
    verdict: str


class SampleAnswer(NamedTuple):
    """A question with its pictures and right answer, and what two models said; None if the base was not asked."""

    id: str
    pictures: list[Picture]
    question: str
    answer: str
    reply: Reply
    base: Reply | None


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
    rows = _rows(paths, chosen)
    tagger = load_tagger() if any(row.get("captions") for row in rows.values()) else None
    return [_pair(rows[index], f"{folder.name} row {index}", tagger) for index in chosen]


def sample_answers(
    model: Path, base: Path | None, questions: Path, task: str, seed: int
) -> tuple[list[SampleAnswer], int, int]:
    """Right answers, then wrong ones, of `model` on `task` (`PER_OUTCOME` each); any, where answers are open.

    Args:
        model: evaluation folder of the model.
        base: that of the base model, for what it said; None if there is none.
        questions: folder with `<task>/test.parquet`.
        task: name of the set.
        seed: of the choice.

    Returns:
        The samples, and how many answers were right and wrong; nothing and 0, 0 where predictions or questions lack.

    Raises:
        InputError: a file that cannot be read, or predictions made on other questions.
    """
    file = questions / task / "test.parquet"
    predictions, base_predictions = _predictions(model, task), _predictions(base, task) if base else {}
    if not predictions or not file.is_file():
        return [], 0, 0
    outcomes: defaultdict[str, list[int]] = defaultdict(list)
    for index, prediction in predictions.items():
        outcomes[_reply(prediction, task).outcome].append(index)
    chosen = []
    for outcome in ("right", "wrong", "open"):
        number = min(len(outcomes[outcome]), PER_OUTCOME * (2 if outcome == "open" else 1))
        chosen += sorted(random.Random(f"{seed}/{task}/{outcome}").sample(outcomes[outcome], number))
    rows = _rows([file], chosen)
    samples = []
    for index in chosen:
        row, prediction, said = rows[index], predictions[index], base_predictions.get(index)
        if {row["id"]} != {each["id"] for each in (prediction, said) if each}:
            fault = f"row {index} of {task} is another question than the one that was answered"
            raise InputError(str(file), fault, "Give the questions of the evaluation, or evaluate again")
        pictures = [_picture(image, f"{task} question {row['id']}") for image in row["images"]]
        base_reply = _reply(said, task) if said else None
        question, answer = _numbered(row["question"]), _short(row["answer"])
        samples.append(SampleAnswer(row["id"], pictures, question, answer, _reply(prediction, task), base_reply))
    return samples, len(outcomes["right"]), len(outcomes["wrong"])


def _predictions(model: Path, task: str) -> dict[int, Row]:
    """Row index → prediction."""
    file = model / "predictions" / f"{task}.jsonl"
    if not file.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
        return {
            int(row["index"]): {key: row[key] for key in ("id", "answer", "prediction", "correct")} for row in rows
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(str(file), f"cannot be read ({error!r})", "Evaluate the model again") from error


def _reply(row: Row, task: str) -> Reply:
    text = _short(row["prediction"])
    if task == "cad_qa":
        return Reply(text, "open", f"token F1 {100 * token_f1(row['prediction'], row['answer']):.0f} %")
    return Reply(text, "right", "right") if row["correct"] else Reply(text, "wrong", "wrong")


def _pair(row: Row, place: str, tagger: Language | None) -> SamplePair:
    shared = set(row["shared_nouns"] or ())
    turns = ["".join(part["text"] or IMAGE_PLACEHOLDER for part in turn["content"]) for turn in row["messages"]]
    captions = [_marked(caption, shared, tagger) for caption in row.get("captions") or () if tagger]
    return SamplePair(
        id=row["id"],
        pictures=[_picture(image, place) for image in row["images"]],
        captions=captions,
        context=_short(row.get("context") or ""),
        shared_nouns=sorted(shared),
        request=_numbered(turns[0]),
        commonalities=_short(row["commonalities"]),
        differences=[{**difference, "text": _short(difference["text"])} for difference in row["differences"]],
        turn=(_numbered(turns[2]), _short(turns[3])) if len(turns) == 4 else None,
        annotator=row["annotator"],
    )


def _marked(caption: str, shared: set[str], tagger: Language) -> list[Word]:
    """The caption's words; shared nouns are found as pairing found them, by lemma."""
    return [
        Word(token.text, token.pos_ in ("NOUN", "PROPN") and token.lemma_.lower() in shared, token.whitespace_)
        for token in tagger(_short(caption))
    ]


def _picture(image: Mapping[str, Any], place: str) -> Picture:
    """`image` as a data URL; a photograph becomes a WebP thumbnail, or the page would weigh many megabytes."""
    picture = open_image(image["bytes"] or b"", place)
    if max(picture.size) <= EXACT_SIZE:
        kind, data = "png", encode_png(picture)
    else:
        picture.thumbnail((MAX_SIZE, MAX_SIZE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=80)
        kind, data = "webp", buffer.getvalue()
    return Picture(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", *picture.size)


def _numbered(prompt: str) -> str:
    """A prompt with "[picture 1]", "[picture 2]" … where its images go."""
    first, *rest = prompt.split(IMAGE_PLACEHOLDER)
    return _short(first + "".join(f"[picture {number}]{text}" for number, text in enumerate(rest, 1)))


def _short(text: str) -> str:
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


def _rows(paths: Sequence[Path], indices: Iterable[int]) -> dict[int, Row]:
    """Rows by their place in all files together; only the row groups that hold them are read."""
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
