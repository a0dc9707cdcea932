"""Rows fit the limit with all their image tokens; what is cut is the end of a conversation, and teaches no stop."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from PIL import Image
from transformers import AutoProcessor, Idefics3Processor, LlavaProcessor, PaliGemmaProcessor, ProcessorMixin
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.training.collator import IGNORED, Collator
from cadvi_hub.training.lengths import RowCounter, fit_rows
from cadvi_hub.training.pixels import image_size
from cadvi_hub.training.rendering import MARKED
from tests.support.tunings import tiny_processor

SIZES = ((64, 48), (30, 200), (10, 10), (100, 90))  # width, height


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> LlavaProcessor:
    return tiny_processor(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiling(processor: LlavaProcessor) -> Idefics3Processor:
    """A processor of another family: how many tokens a picture takes depends on its shape."""
    marks = ["<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]
    marks += [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    tokenizer = AutoProcessor.from_pretrained(processor.tokenizer.name_or_path).tokenizer
    tokenizer.add_tokens(marks, special_tokens=True)
    images = Idefics3ImageProcessorPil(size={"longest_edge": 128}, max_image_size={"longest_edge": 32})
    return Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=str(processor.chat_template))


def picture(size: tuple[int, int] = (8, 8)) -> dict[str, Any]:
    return {"bytes": encode_png(Image.new("RGB", size, "red")), "path": None}


def dataset(rows: Sequence[tuple[list[dict[str, Any]], Sequence[str]]]) -> Dataset:
    """Rows of pictures and turns; the user begins."""
    made = [
        {
            "id": str(number),
            "images": pictures,
            "messages": [message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns)],
            "source": "drawn",
        }
        for number, (pictures, turns) in enumerate(rows)
    ]
    return Dataset.from_list(made, features=instruct_features()).select_columns(["images", "messages"])


def texts(fitted: Dataset) -> list[list[str]]:
    return [["".join(part["text"] or "" for part in turn["content"]) for turn in row] for row in fitted["messages"]]


def read(processor: Any, row: dict[str, Any], max_tokens: int | None = None) -> tuple[list[int], list[int]]:
    batch = Collator(processor, max_tokens=max_tokens)([row])
    return batch["input_ids"][0].tolist(), batch["labels"][0].tolist()


@pytest.mark.parametrize("family", ["processor", "tiling"])
def test_length_is_what_the_model_reads_of_pictures_of_any_shape(request: Any, family: str) -> None:
    reader = request.getfixturevalue(family)
    rows = dataset([([picture(size) for size in SIZES[:n]], ("<image>" * n + "What?", "A dog.")) for n in range(5)])
    fitted = fit_rows(rows, "v1", reader, 10_000)
    assert fitted.dataset.column_names == ["images", "messages", "length", "swapped"]
    assert fitted.dataset["length"][:] == [len(read(reader, row)[0]) for row in fitted.dataset]
    assert [image.size for image in fitted.dataset[4]["images"]] == list(SIZES)
    assert sum(fitted.dropped.values()) == sum(fitted.cut.values()) == 0


def test_picture_that_lies_on_its_side_counts_upright(tiling: Idefics3Processor) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90°
    Image.new("RGB", (200, 30)).save(buffer, "JPEG", exif=exif)
    fitted = fit_rows(
        dataset([([{"bytes": buffer.getvalue(), "path": None}], ("<image>", "A"))]), "v1", tiling, 10_000
    )
    assert fitted.dataset[0]["images"][0].size == (30, 200)
    assert fitted.dataset["length"][:] == [len(read(tiling, fitted.dataset[0])[0])]
    lying = fit_rows(dataset([([picture((200, 30))], ("<image>", "A"))]), "v1", tiling, 10_000)
    assert fitted.dataset["length"][0] != lying.dataset["length"][0]


def test_a_size_is_told_whatever_reader_pillow_tries_first(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.setattr(Image, "ID", ["IM", *Image.ID])  # as where another library has loaded it before JPEG's
    buffer = io.BytesIO()
    Image.new("RGB", (200, 30)).save(buffer, "JPEG")
    assert image_size(pa.py_buffer(buffer.getvalue())) == [30, 200]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_picture_that_was_cut_off_is_found_before_the_training(processor: LlavaProcessor, kind: str) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    whole = buffer.getvalue()
    assert image_size(pa.py_buffer(whole)) == [60, 80]
    assert image_size(pa.py_buffer(whole + b"\0" * 20)) == [60, 80]  # some cameras write more behind it
    for end in (len(whole) // 2, len(whole) - 200):
        rows = dataset([([{"bytes": data, "path": None}], ("<image>What?", "A.")) for data in (whole, whole[:end])])
        with pytest.raises(InputError, match="data set 'v1', row 1: a picture of it is damaged"):
            fit_rows(rows, "v1", processor, 100)


def test_picture_with_a_flipped_byte_is_found_where_the_format_has_check_sums() -> None:
    content = bytearray(encode_png(Image.linear_gradient("L").convert("RGB")))
    content[len(content) // 2] ^= 1
    with pytest.raises(SyntaxError, match="broken PNG file"):
        image_size(pa.py_buffer(bytes(content)))


def test_later_turns_go_first_and_as_a_whole(processor: LlavaProcessor) -> None:
    turns = ["<image>What?", "A dog.", "And there?", "Two cats.", "Really?", "Yes."]
    rows = dataset([([picture()], turns[:count]) for count in (2, 4, 6)])
    short, middle, long = fit_rows(rows, "v1", processor, 10_000).dataset["length"][:]
    for limit, counts in ((long, (2, 4, 6)), (long - 1, (2, 4, 4)), (middle, (2, 4, 4)), (middle - 1, (2, 2, 2))):
        fitted = fit_rows(rows, "v1", processor, limit)
        assert [len(row) for row in texts(fitted.dataset)] == list(counts)
        assert fitted.cut == {
            "later turns": sum(a != b for a, b in zip(counts, (2, 4, 6), strict=True)),
            "end of an answer": 0,
        }
        assert all(len(read(processor, row)[0]) == row["length"] for row in fitted.dataset)
    assert short < middle < long


def test_answer_that_is_too_long_by_itself_loses_its_end_and_teaches_no_stop(processor: LlavaProcessor) -> None:
    rows = dataset([([picture()] * 2, ("<image><image>What?", "A red dog and a blue cat.", "More?", "No."))])
    whole, labels = read(processor, rows[0])
    stop = processor.tokenizer.eos_token_id
    first_stop, question = labels.index(stop), next(i for i, label in enumerate(labels) if label != IGNORED)
    for limit in range(question + 1, first_stop + 1):
        fitted = fit_rows(rows, "v1", processor, limit)
        assert fitted.cut == {"later turns": 0, "end of an answer": 1}
        assert fitted.dataset["length"][:] == [limit]
        ids, learned = read(processor, fitted.dataset[0], limit)
        assert (ids, learned) == (whole[:limit], labels[:limit])
        assert stop not in learned
    assert len(fit_rows(rows, "v1", processor, first_stop + 1).dataset[0]["messages"]) == 2
    fitted = fit_rows(rows, "v1", processor, question)
    assert len(fitted.dataset) == 0
    assert fitted.dropped == {f"images and question leave no room in {question} tokens": 1, MARKED: 0}


def test_turn_with_an_image_is_never_cut_off(processor: LlavaProcessor) -> None:
    turns = ["<image>What?", "A dog.", "<image>And here?", "A cat.", "Sure?", "Yes."]
    rows = dataset([([picture()] * 2, turns), ([], ("Hi", "Hello"))])
    ids, labels = read(processor, rows[0])
    second = [i for i, label in enumerate(labels) if label == processor.tokenizer.eos_token_id][1]
    fitted = fit_rows(rows, "v1", processor, second + 1)
    assert texts(fitted.dataset)[0][-1] == "A cat."
    assert read(processor, fitted.dataset[0])[0] == ids[: second + 1]
    assert fit_rows(rows, "v1", processor, second).cut == {"later turns": 0, "end of an answer": 1}
    first_answer = labels.index(processor.tokenizer.eos_token_id)
    fitted = fit_rows(rows, "v1", processor, first_answer + 2)
    assert texts(fitted.dataset) == [["Hi", "Hello"]]
    assert list(fitted.dropped.values()) == [1, 0]


def test_rows_counted_by_two_processes_are_the_same(processor: LlavaProcessor) -> None:
    rows = dataset([([picture(size)], ("<image>What?", "A dog. " * n)) for n, size in enumerate(SIZES * 3)])
    one, two = (fit_rows(rows, "v1", processor, 40, num_proc) for num_proc in (None, 2))
    assert (one.cut, one.dropped, texts(one.dataset)) == (two.cut, two.dropped, texts(two.dataset))


@pytest.mark.parametrize(
    ("pictures", "turns", "problem"),
    [
        ([picture()] * 2, ("<image>What?", "A dog."), "1 image places for 2 images"),
        ([], ("<image>What?", "A dog."), "1 image places for 0 images"),
        ([], ("What?",), "no assistant message"),
        ([picture(), {"bytes": b"no picture", "path": None}], ("<image><image>", "A"), "a picture of it is damaged"),
        ([{"bytes": picture()["bytes"][:20], "path": None}], ("<image>", "A"), "a picture of it is damaged"),
    ],
)
def test_bad_row_is_refused_with_its_data_set_and_number(
    processor: LlavaProcessor, pictures: list[dict[str, Any]], turns: Sequence[str], problem: str
) -> None:
    rows = dataset([([picture()], ("<image>What?", "A dog.")), ([], ("Hi", "Hello")), (pictures, turns)])
    with pytest.raises(InputError, match=problem) as caught:
        fit_rows(rows, "pairs", processor, 100)
    assert caught.value.where == "data set 'pairs', row 2"


@pytest.mark.parametrize(
    ("family", "problem"),
    [(ProcessorMixin, "what it writes for an image"), (PaliGemmaProcessor, "marks of its own into a prompt")],
)
def test_processor_that_does_not_tell_its_image_tokens_is_refused(family: type[ProcessorMixin], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        fit_rows(dataset([([], ("Hi", "Hello"))]), "v1", family.__new__(family), 100)


def test_pictures_are_counted_by_their_header(processor: LlavaProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = dataset([([picture()], ("<image>What?", "A dog."))])

    turns = {"messages": rows["messages"][0]}

    def refuse(*args: Any) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    counted = RowCounter("v1", processor, 100)(rows.with_format("arrow")[:], [0])
    assert counted["length"].to_pylist() == [len(read(processor, {"images": [Image.new("RGB", (8, 8))], **turns})[0])]


def test_batch_in_which_nothing_is_learned_is_refused(processor: LlavaProcessor) -> None:
    row = {"images": [], "messages": [message("user", "A question without an answer?")]}
    answered = {"images": [], "messages": [message("user", "Hi"), message("assistant", "Hello")]}
    with pytest.raises(InputError, match=r"no token of a batch has a loss.*without an answer"):
        Collator(processor)([row, row])
    assert Collator(processor)([row, answered])["labels"].shape[0] == 2
    with pytest.raises(InputError, match="no token of a batch"):
        Collator(processor, max_tokens=3)([answered])
