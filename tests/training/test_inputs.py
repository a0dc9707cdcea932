"""Tokens, label mask and pixels of a LLaVA are LLaVA-1.5's, on a real SentencePiece tokenizer.

The format is stated here once more, with `sentencepiece` alone: a text between two images is tokenized on its own,
with the space that SentencePiece puts first; after `</s>` it puts one only where the tokenizer is a legacy one.
"""

import json
import random
import shutil
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from sentencepiece import SentencePieceProcessor
from tokenizers import pre_tokenizers
from transformers import AutoProcessor, AutoTokenizer, CLIPImageProcessorPil, LlavaProcessor

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import message
from cadvi_hub.training.collator import IGNORED, Collator
from cadvi_hub.training.inputs import follow_llava, restore_merges
from cadvi_hub.training.models import load_processor, template_file
from cadvi_hub.training.recipe import TuningModel

mistral_common = pytest.importorskip("mistral_common", reason="its package holds the SentencePiece tokenizer")

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
BEGIN, END, IMAGE = 1, 2, 32_000
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
PLAIN = "a the Two images red dog. USER ASSISTANT: 1. Äpfel naïve 中文 русский 🙂 👩‍👩‍👧 ﬁ ▁ 0 </p> 𝒳 ا ?! '"
SPACES = "\t|  |\n|\n\n|   x|\u00a0|\u200b|a\r\nb"
WORDS = (*PLAIN.split(), *SPACES.split("|"))
Turns = list[tuple[str, str]]


def tokenizer_model() -> Path:
    return Path(str(resources.files(mistral_common) / "data" / "tokenizer.model.v1"))


@cache
def sentencepiece() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(tokenizer_model()))


def encode(text: str, add_space: bool = True) -> list[int]:
    """Tokens of `text` on its own; without the space that it would put first, those behind a newline."""
    if add_space:
        return list(sentencepiece().encode(text))
    return list(sentencepiece().encode(f"\n{text}")[len(sentencepiece().encode("\n")) :])


def encode_without_its_space(text: str) -> list[int]:
    """As transformers 4.31 did after a special token: with the space, which the first piece then loses."""
    first, *others = sentencepiece().encode(text, out_type=str)
    return [sentencepiece().piece_to_id(piece) for piece in (first.removeprefix("▁"), *others) if piece]


def stated(
    turns: Turns, places: int, legacy: bool, system: str = SYSTEM, encode: Any = encode
) -> tuple[list[int], list[int]]:
    """Token ids and labels of a conversation, an image taking so many places."""
    ids, labels = [BEGIN], [IGNORED]
    text, add_space = f"{system} ", True
    for question, answer in turns:
        if question.count("<image>") == 1:
            question = f"<image>\n{question.replace('<image>', '').strip()}".strip()
        *pieces, last = f"{text}USER: {question} ASSISTANT:".split("<image>")
        for piece in pieces:
            ids += [*encode(piece, add_space), *[IMAGE] * places]
            add_space = True
        prompt, whole = encode(last, add_space), encode(f"{last} {answer}", add_space)
        assert whole[: len(prompt)] == prompt
        labels += [IGNORED] * (len(ids) - len(labels) + len(prompt))
        ids += [*whole, END]
        labels += ids[len(labels) :]
        text, add_space = "", legacy
    return ids, labels


def stated_pixels(image: Image.Image, side: int) -> np.ndarray:
    """(3, side, side): on a square of CLIP's mean colour, in its middle, resized, normalized."""
    longest = max(image.size)
    square = Image.new("RGB", (longest, longest), tuple(int(mean * 255) for mean in MEAN))
    square.paste(image.convert("RGB"), ((longest - image.width) // 2, (longest - image.height) // 2))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)) / 255
    return np.asarray(((pixels - MEAN) / STD).transpose(2, 0, 1))


def draw_text(rng: random.Random, most: int = 12) -> str:
    return "".join(rng.choice(WORDS) + rng.choice((" ", " ", " ", "")) for _ in range(rng.randint(1, most)))


def draw_turns(rng: random.Random, images: int) -> Turns:
    turns = []
    for number in range(rng.randint(1, 4)):
        question = draw_text(rng) + rng.choice(("", " ", "?"))
        for _ in range(images if not number else 0):
            place = rng.randint(0, len(question))
            if "<" not in question[max(place - 7, 0) : place]:
                question = f"{question[:place]}<image>{question[place:]}"
            else:
                question = f"<image>{question}"
        turns.append((question, rng.choice(("", " ", "\n", "  \n")) + (draw_text(rng) if rng.random() < 0.9 else "")))
    return turns


def draw_picture(rng: random.Random) -> Image.Image:
    size = (rng.randint(1, 60), rng.randint(1, 60))
    return Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1]))


def as_row(turns: Turns, pictures: list[Image.Image], system: str | None = None) -> dict[str, Any]:
    messages = [message("system", system)] if system is not None else []
    for question, answer in turns:
        messages += [message("user", question), {"role": "assistant", "content": [{"type": "text", "text": answer}]}]
    return {"images": pictures, "messages": messages}


def make_base(folder: Path, legacy: bool, side: int = 28) -> Path:
    """Tokenizer and image processor of a LLaVA as published: tokenizer.model, and CLIP's processor without padding."""
    added = {str(IMAGE + i): {"content": token, "special": True} for i, token in enumerate(("<image>", "<pad>"))}
    for entry in added.values():
        entry |= {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "legacy": legacy,
        "pad_token": "<pad>",
        "added_tokens_decoder": added,
    }
    settings |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "padding_side": "left"}
    folder.mkdir()
    shutil.copy(tokenizer_model(), folder / "tokenizer.model")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    clip = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    layout: dict[str, Any] = {"patch_size": 14, "vision_feature_select_strategy": "default"}
    layout |= {"num_additional_image_tokens": 1, "image_token": "<image>"}
    LlavaProcessor(clip, AutoTokenizer.from_pretrained(folder), **layout).save_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def load(base: Path) -> LlavaProcessor:
    processor = load_processor(TuningModel(model_name_or_path=str(base)), template_file("llava.jinja"))
    assert isinstance(processor, LlavaProcessor)
    return processor


@pytest.mark.parametrize("legacy", [False, True])
def test_tokens_labels_and_pixels_of_drawn_conversations_are_llavas(tmp_path: Path, legacy: bool) -> None:
    processor = load(make_base(tmp_path / "base", legacy))
    collate = Collator(processor)
    rng = random.Random(6)
    for _ in range(60):
        kinds = [rng.randrange(4) for _ in range(5)]
        drawn = [(draw_turns(rng, images), [draw_picture(rng) for _ in range(images)]) for images in kinds]
        systems = [rng.choice((None, None, "Be brief.", " Two  images ")) for _ in drawn]
        batch = collate([as_row(*row, system) for row, system in zip(drawn, systems, strict=True)])
        for number, ((turns, _), system) in enumerate(zip(drawn, systems, strict=True)):
            ids, labels = stated(turns, 4, legacy, SYSTEM if system is None else system)
            read = batch["attention_mask"][number].bool()
            assert batch["input_ids"][number][read].tolist() == ids, turns
            assert batch["labels"][number][read].tolist() == labels, turns
            assert set(batch["labels"][number][~read].tolist()) <= {IGNORED}
        pictures = [picture for _, pictures in drawn for picture in pictures]
        if pictures:
            expected = np.stack([stated_pixels(picture, 28) for picture in pictures])
            np.testing.assert_allclose(batch["pixel_values"].numpy(), expected, atol=1e-6)


def test_one_image_of_576_tokens_moves_to_the_front_of_its_turn(tmp_path: Path) -> None:
    processor = load(make_base(tmp_path / "base", legacy=False, side=336))
    questions = ("<image>\nWhat?", "What? <image>")
    rows = [as_row([(question, "A dog."), ("And", "")], [Image.new("RGB", (640, 480))]) for question in questions]
    batch = Collator(processor)(rows)
    read = batch["input_ids"].tolist()
    assert read[0] == read[1]
    assert read[0].count(IMAGE) == 576
    names = processor.tokenizer.convert_ids_to_tokens
    after = " ".join(names([token for token in read[0] if token != IMAGE][-25:]))
    asked = "▁US ER : ▁ ▁ <0x0A> What ? ▁ASS IST ANT :"  # the image stands between the two spaces
    assert after == f"{asked} ▁A ▁dog . </s> USER : ▁And ▁ASS IST ANT : ▁ </s>"
    assert names(batch["labels"][0][batch["labels"][0] != IGNORED]) == ["▁A", "▁dog", ".", "</s>", "▁", "</s>"]


def test_saved_processor_gives_evaluation_the_tokens_and_pixels_of_training(tmp_path: Path) -> None:
    for legacy in (False, True):
        folder = tmp_path / f"saved-{legacy}"
        load(make_base(tmp_path / f"base-{legacy}", legacy)).save_pretrained(folder)
        saved = AutoProcessor.from_pretrained(folder)
        rng = random.Random(8)
        for images in (0, 1, 2, 3) * 8:
            turns, pictures = draw_turns(rng, images), [draw_picture(rng) for _ in range(images)]
            asked = as_row(turns, pictures)["messages"][:-1]
            text = saved.apply_chat_template(asked, add_generation_prompt=True)
            inputs = saved(text=text, images=pictures or None, add_special_tokens=False, return_tensors="pt")
            ids, _ = stated([*turns[:-1], (turns[-1][0], "")], 4, legacy)
            answer = len(encode(" ", add_space=False)) + 1
            assert inputs["input_ids"][0].tolist() == ids[:-answer]
            if images:
                expected = np.stack([stated_pixels(picture, 28) for picture in pictures])
                np.testing.assert_allclose(inputs["pixel_values"].numpy(), expected, atol=1e-6)


def test_user_after_the_end_is_two_tokens_as_in_the_papers_training_also_after_saving(tmp_path: Path) -> None:
    model = TuningModel(model_name_or_path=str(make_base(tmp_path / "base", legacy=False)), split_user=True)
    template = template_file("llava.jinja")
    processor: Any = load_processor(model, template)
    processor.save_pretrained(tmp_path / "saved")
    saved: Any = AutoProcessor.from_pretrained(tmp_path / "saved")
    again = load_processor(TuningModel(model_name_or_path=str(tmp_path / "saved"), split_user=True), template)

    def encode_as_then(text: str, add_space: bool = True) -> list[int]:
        return encode(text) if add_space else encode_without_its_space(text)

    rng = random.Random(9)
    for images in (0, 1, 2, 3) * 16:
        turns, pictures = draw_turns(rng, images), [draw_picture(rng) for _ in range(images)]
        ids, labels = stated(turns, 4, False, encode=encode_as_then)
        assert (ids == stated(turns, 4, False)[0]) == (len(turns) == 1)
        for made in (processor, saved, again):
            batch = Collator(made)([as_row(turns, pictures)])
            assert batch["input_ids"][0].tolist() == ids
            assert batch["labels"][0].tolist() == labels
    assert saved.tokenizer.padding_side == "left"
    assert saved.tokenizer.decode(ids) == processor.tokenizer.decode(ids)
    names = saved.tokenizer.convert_ids_to_tokens
    read = saved.tokenizer("</s>USER: (USER USER: ", add_special_tokens=False)["input_ids"]
    assert " ".join(names(read)) == "</s> US ER : ▁( USER ▁US ER : ▁"


def test_a_legacy_tokenizer_splits_user_anyway_and_other_templates_have_none(tmp_path: Path) -> None:
    base = str(make_base(tmp_path / "base", legacy=True))
    processor = load_processor(TuningModel(model_name_or_path=base, split_user=True), template_file("llava.jinja"))
    assert cast(Any, processor).tokenizer.tokenize("</s>USER: ")[:3] == ["</s>", "▁US", "ER"]
    with pytest.raises(InputError, match=r"only the turns of llava\.jinja"):
        load_processor(TuningModel(model_name_or_path="demo-base", split_user=True), None)


def test_spaces_are_merged_last_as_sentencepiece_does(tmp_path: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(make_base(tmp_path / "base", legacy=False))
    restore_merges(tokenizer)
    rng = random.Random(7)
    for text in ["a  b", *(draw_text(rng, 30) for _ in range(500))]:
        assert tokenizer(f"<s> {text}", add_special_tokens=False)["input_ids"][1:] == encode(text)


def test_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    processor = AutoProcessor.from_pretrained(make_base(tmp_path / "base", legacy=False))
    processor.tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(InputError, match="as SentencePiece does"):
        follow_llava(processor)
