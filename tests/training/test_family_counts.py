"""Every family of the table: counted lengths are what the model reads, and the answers are what it learns."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.training.collator import IGNORED, Collator
from cadvi_hub.training.lengths import fit_rows
from cadvi_hub.training.models import load_processor
from cadvi_hub.training.recipe import TuningModel
from cadvi_hub.training.rendering import end_token
from tests.support.families import FAMILIES, make_family

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "tune.md"
SIZES = [(40, 32), (30, 200), (100, 90), (8, 8), (32, 32), (64, 64), (200, 30), (33, 65)]
NO_THOUGHT = "<think>\n\n</think>\n\n"  # Qwen3.5 begins its answers so
CONVERSATIONS = [
    [message("user", "<image>What is red?"), message("assistant", "The kite.")],
    [message("user", "Is <image> like\n\n<image>\n?"), message("assistant", "No."), message("user", "And <image>")],
    [message("user", "Why?"), message("assistant", "So.")],
]
CONVERSATIONS[1].append(message("assistant", "Left one."))


def row(size: int, conversation: list[dict[str, Any]]) -> dict[str, Any]:
    count = sum(part["type"] == "image" for turn in conversation for part in turn["content"])
    images = [Image.new("RGB", SIZES[(size + number) % len(SIZES)], "red") for number in range(count)]
    return {"images": images, "messages": conversation}


def stored(made: dict[str, Any]) -> dict[str, Any]:
    images = [{"bytes": encode_png(image), "path": None} for image in made["images"]]
    return {"id": "0", "images": images, "messages": made["messages"], "source": "drawn"}


def table() -> dict[str, list[str]]:
    """Family → the other cells of its row."""
    section = PAGE.read_text(encoding="utf-8").partition("## Other families")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {name: cells for name, *cells in rows[2:]}


def test_table_has_every_family_and_only_those() -> None:
    assert sorted(table()) == sorted(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_counted_length_is_what_the_model_reads_and_labels_are_the_answers(tmp_path: Path, family: str) -> None:
    model = TuningModel(model_name_or_path=str(make_family(tmp_path, family)))
    if not table()[family][0].startswith("works"):
        with pytest.raises(InputError) as caught:
            load_processor(model, None)
        assert table()[family][0] == f"refused: {caught.value.problem}"
        return
    processor: Any = load_processor(model, None)
    rows = [row(size, conversation) for size in range(len(SIZES)) for conversation in CONVERSATIONS]
    dataset = Dataset.from_list(list(map(stored, rows)), features=instruct_features())
    counted = fit_rows(dataset, "drawn", processor, 10_000).dataset["length"][:]
    collate, end = Collator(processor), processor.tokenizer.decode([end_token(processor)])
    for each, length in zip(rows, counted, strict=True):
        batch = collate([each])
        assert batch["input_ids"].shape[1] == length
        learned = processor.tokenizer.decode(batch["labels"][0][batch["labels"][0] != IGNORED])
        answers = [turn["content"][0]["text"] for turn in each["messages"] if turn["role"] == "assistant"]
        said = [text.strip().removeprefix(NO_THOUGHT).strip() for text in learned.split(end)]
        assert said == [*answers, ""]
    whole = collate(rows)
    assert whole["attention_mask"].sum(dim=1).tolist() == counted
