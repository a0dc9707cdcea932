"""Question files of the benchmarks and an image folder → rows with embedded images, which the lighteval tasks read.

A question file, as the paper's authors published them, is JSON lines with the keys `image` (file names below the image
folder), `text` (the whole question, `<image>` where each image goes), `answer`, `question_id` and, for SVO Probes,
`category`. The questions are used as they stand. Lines of the set `single_image` may list their own `options`.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from cadvi_hub.errors import InputError
from cadvi_hub.images import encode_png, image_file, open_image
from cadvi_hub.schema import IMAGE_PLACEHOLDER, EmbeddedImage, question_features

LETTERS = ("A", "B")
OPTIONS: dict[str, tuple[str, ...]] = {
    "bison": LETTERS,
    "svo_probes": LETTERS,
    "nlvr2": ("True", "False"),
    "eqben": LETTERS,
    "cola": LETTERS,
    "cad_qa": (),
    "single_image": (),
}
TASKS = tuple(OPTIONS)
PAIR_TASKS = ("eqben", "cola")  # questions `i_0` and `i_1` count together
SVO_CATEGORIES = ("subject", "verb", "object")
ROW_GROUP = 100  # rows; larger groups of embedded pictures are too heavy for the Hub's viewer

README = """---
configs:
{configs}---

# Benchmark questions

One configuration per set, split `test`. `question` is the full prompt with `<image>` where each image goes; `options`
is empty for open questions; `group` joins the questions that must all be right to count.
"""


@dataclass
class BenchmarkSettings:
    """One question file to make ready for evaluation.

    Attributes:
        task: name of the set (`TASKS`).
        questions: the question file.
        images: folder of its images.
        out: data set folder that the set joins as `out/<task>/test.parquet`.
    """

    task: str
    questions: Path
    images: Path
    out: Path


def make_benchmark(settings: BenchmarkSettings) -> dict[str, int]:
    """Read a question file and write its set; returns its number of questions. Errors as of the two steps."""
    rows = read_questions(settings.questions, settings.images, settings.task)
    return write_questions(tqdm(rows, desc=settings.task, unit=" questions"), settings.out)


def read_questions(path: Path, image_root: Path, task: str) -> Iterator[dict[str, Any]]:
    """Yield the rows (`schema.question_features()`) of question file `path`, in its order.

    Pictures below `image_root` are decoded once to see that they are whole. They are embedded as they are when they
    are plain RGB, and as PNG of what a model sees (upright, white behind transparency) when not.

    Raises:
        InputError: unknown task; torn line, missing key, answer that is no option, number of placeholders unlike the
            number of images, missing or broken picture (each with file and line); half of a pair missing.
    """
    if task not in OPTIONS:
        raise InputError(str(path), f"unknown task {task!r}", f"Use one of {', '.join(TASKS)}")
    if not path.is_file():
        raise InputError(str(path), "no such question file", "Name a file of JSON lines")
    members: Counter[str] = Counter()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = _row(line, image_root, task)
            except InputError as error:
                raise InputError(f"{path}, line {number}", f"{error.place}: {error.fault}", error.mend) from error
            members[row["group"]] += 1
            yield {**row, "source": path.name}
    if task in PAIR_TASKS:
        for group, count in members.items():
            if count != 2:
                raise InputError(str(path), f"pair {group!r} has {count} question(s), not 2", "Complete the file")


def _row(line: bytes, image_root: Path, task: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        names, question, answer = record["image"], record["text"], record["answer"]
        question_id = str(record["question_id"])
        options = record.get("options", []) if task == "single_image" else list(OPTIONS[task])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fault = f"not one JSON object with image, text, answer and question_id ({error!r})"
        raise InputError("question", fault, "Mend the line") from error
    if not (isinstance(names, list) and isinstance(options, list)):
        raise InputError(question_id, "image and options must be lists", "Mend the line")
    if not all(isinstance(text, str) for text in (question, answer, *options, *names)):
        raise InputError(question_id, "names, text, answer and options must be strings", "Mend the line")
    images = 1 if task == "single_image" else 2
    placeholders = question.count(IMAGE_PLACEHOLDER)
    if not images == len(names) == placeholders:
        fault = f"{len(names)} images and {placeholders} {IMAGE_PLACEHOLDER} in the text, where {task} has {images}"
        raise InputError(question_id, fault, "Mend image or text")
    if options and answer not in options:
        raise InputError(question_id, f"answer {answer!r} is not among {', '.join(options)}", "Mend the answer")
    return {
        "id": question_id,
        "images": [_embed(image_root, name) for name in names],
        "question": question,
        "options": options,
        "answer": answer,
        "task": task,
        "category": _category(record, task),
        "group": _group(question_id, task),
    }


def _category(record: dict[str, Any], task: str) -> str:
    if task == "eqben":
        return str(record["image"][0]).split("/")[0]
    if task != "svo_probes":
        return ""
    category = str(record.get("category", "")).lower()
    if category not in SVO_CATEGORIES:
        raise InputError("category", f"{category!r} is not among {', '.join(SVO_CATEGORIES)}", "Mend the line")
    return category


def _group(question_id: str, task: str) -> str:
    if task not in PAIR_TASKS:
        return question_id
    group, _, half = question_id.rpartition("_")
    if not group or half not in ("0", "1"):
        raise InputError(question_id, "the id of a pair's question must end in _0 or _1", "Mend question_id")
    return group


def _embed(root: Path, name: str) -> EmbeddedImage:
    data = image_file(root, name).read_bytes()
    picture = open_image(data, name)
    with Image.open(io.BytesIO(data)) as stored:
        plain = stored.mode == "RGB" and not stored.has_transparency_data
    return {"bytes": data if plain else encode_png(picture), "path": name}


def write_questions(rows: Iterable[dict[str, Any]], folder: Path) -> dict[str, int]:
    """Write rows of any tasks to `folder/<task>/test.parquet`, so that `load_dataset(folder, task)` reads them.

    Each file takes its name when it is whole, an older one is replaced, and README.md then lists every set of the
    folder. At most 100 rows are in memory.

    Returns:
        Number of questions per task written.

    Raises:
        InputError: a row of an unknown task, or a folder that cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = question_features().arrow_schema
    counts: Counter[str] = Counter()
    waiting: dict[str, list[dict[str, Any]]] = {}
    writers: dict[str, pq.ParquetWriter] = {}
    try:
        with ExitStack() as stack:
            for row in rows:
                task = row["task"]
                if task not in OPTIONS:
                    raise InputError(str(row["id"]), f"unknown task {task!r}", f"Use one of {', '.join(TASKS)}")
                if task not in writers:
                    part = folder / task / "test.parquet.part"
                    part.parent.mkdir(parents=True, exist_ok=True)
                    writers[task] = stack.enter_context(pq.ParquetWriter(part, schema, write_page_index=True))
                waiting.setdefault(task, []).append(row)
                counts[task] += 1
                if len(waiting[task]) == ROW_GROUP:
                    writers[task].write_table(pa.Table.from_pylist(waiting.pop(task), schema))
            for task, rest in waiting.items():
                writers[task].write_table(pa.Table.from_pylist(rest, schema))
        for task in writers:
            (folder / task / "test.parquet.part").replace(folder / task / "test.parquet")
        _write_readme(folder)
    except OSError as error:
        raise InputError(str(folder), f"cannot be written ({error})", "Make room or choose another folder") from error
    return dict(counts)


def _write_readme(folder: Path) -> None:
    import yaml

    present = [task for task in TASKS if (folder / task / "test.parquet").is_file()]
    configs = [
        {"config_name": task, "data_files": [{"split": "test", "path": f"{task}/test.parquet"}]} for task in present
    ]
    part = folder / "README.md.part"
    part.write_text(README.format(configs=yaml.safe_dump(configs, sort_keys=False)), encoding="utf-8")
    part.replace(folder / "README.md")
