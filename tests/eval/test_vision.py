from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi
from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.tasks.requests import Doc
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import message
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.models import constant as constant_model
from cadvi_hub.eval.models import vision as vision_model
from cadvi_hub.eval.models.vision import VisionModel
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.training.adapters import local_model
from tests.support.tiny_llava import make_tiny_llava

RED, BLUE = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (32, 48), "blue")
QUERY = "Image 1: <image>\nImage 2: <image>\nWhich image suits the caption {caption} better?"


def question(caption: str = "a dog", images: tuple[Image.Image, ...] = (RED, BLUE), query: str = QUERY) -> Doc:
    return Doc(
        query=query.replace("{caption}", caption),
        choices=["A", "Image 2", "true or false"],
        gold_index=0,
        images=list(images),
        specific={"id": caption, "group": caption, "category": "", "options": ["A", "Image 2"]},
        generation_size=12,
        task_name="bison|0",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llava(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> VisionModel:
    return VisionModel(ModelConfig(model_name=str(folder)))


@pytest.fixture
def seen(model: VisionModel, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Prompts and pictures of every batch that is made for the model."""
    batches: list[dict[str, torch.Tensor]] = []
    encode = model._local.encode

    def spy(requests: list[Any]) -> dict[str, torch.Tensor]:
        batches.append(encode(requests))
        return batches[-1]

    monkeypatch.setattr(model._local, "encode", spy)
    return batches


def test_images_reach_the_model_in_the_order_of_the_question(
    model: VisionModel, seen: list[dict[str, torch.Tensor]]
) -> None:
    model.greedy_until([question()])
    model.greedy_until([question(images=(BLUE, RED))])
    there, swapped = (batch["pixel_values"] for batch in seen)
    assert not torch.equal(there[0], there[1])
    assert torch.equal(there.flip(0), swapped)
    assert there[0, 0].mean() > there[0, 2].mean()  # the first is red: more red than blue
    assert torch.equal(seen[0]["input_ids"], seen[1]["input_ids"])


@pytest.mark.parametrize(
    "query", [QUERY, "<image><image>What differs?", "Is it {caption}?<image> Or this?\n<image>", "Name it: <image>"]
)
def test_image_tokens_stand_where_the_question_has_its_placeholders(
    model: VisionModel, seen: list[dict[str, torch.Tensor]], query: str
) -> None:
    count = query.count("<image>")
    model.greedy_until([question(query=query, images=(RED, BLUE)[:count])])
    prompt = model.tokenizer.decode(seen[0]["input_ids"][0])
    expected = query.replace("{caption}", "a dog").replace("<image>", "<image>" * 4)  # four features an image
    assert prompt == f"<s><|user|>{expected}<|end|><|assistant|>"


def test_a_batch_of_mixed_lengths_is_answered_as_one_by_one(model: VisionModel, folder: Path) -> None:
    captions = ["a dog", "two cats on the right of a red square and a circle " * 3, "x", "", "a triangle"]
    docs = [question(caption, images) for caption in captions for images in ((RED, BLUE), (BLUE, RED))]
    single = VisionModel(ModelConfig(model_name=str(folder)), LocalGenerator(str(folder), batch_size=1))
    together = [response.text for response in model.greedy_until(docs)]
    assert together == [single.greedy_until([doc])[0].text for doc in docs]
    assert len({text for (text,) in together}) > 1


def test_answers_come_as_a_list_of_one_text_no_longer_than_the_task_allows(model: VisionModel) -> None:
    doc = question()
    (response,) = model.greedy_until([doc])
    assert isinstance(response.text, list)
    assert len(response.text) == 1
    doc.generation_size = 2
    (short,) = model.greedy_until([doc])
    assert response.text[0].startswith(short.text[0])
    assert len(model.tokenizer.encode(short.text[0], add_special_tokens=False)) <= 2


def test_loglikelihood_is_the_sum_of_the_choices_token_log_probabilities(model: VisionModel, folder: Path) -> None:
    doc = question()
    (response,) = model.loglikelihood([doc])
    network = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    prompt = processor.apply_chat_template([message("user", doc.query)], add_generation_prompt=True)
    for choice, logprob in zip(doc.choices, response.logprobs, strict=True):
        tokens = processor.tokenizer.encode(choice, add_special_tokens=False)
        inputs = processor(text=prompt + choice, images=doc.images, return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            logits = network(**inputs).logits[0].log_softmax(-1)
        steps = range(-len(tokens) - 1, -1)
        expected = sum(float(logits[step, token]) for step, token in zip(steps, tokens, strict=True))
        assert logprob == pytest.approx(expected, abs=1e-3)


def test_loglikelihood_marks_the_choice_that_greedy_decoding_would_write(model: VisionModel) -> None:
    doc = question()
    (greedy,) = model.greedy_until([doc])
    (doc.generation_size,) = (1,)
    doc.choices = [model.greedy_until([doc])[0].text[0], "Z"]
    assert greedy.text[0].startswith(doc.choices[0])
    assert model.loglikelihood([doc])[0].argmax_logits_eq_gold == [True, False]


def test_what_cannot_be_asked_is_refused_with_its_reason(model: VisionModel) -> None:
    with pytest.raises(InputError, match="perplexity"):
        model.loglikelihood_rolling([question()])
    doc = question()
    doc.fewshot_samples = [question()]
    with pytest.raises(InputError, match="few-shot"):
        model.greedy_until([doc])
    with pytest.raises(InputError, match=r"bison\|0, question a dog{5,}.*: no answer"):
        model.greedy_until([question("a do" + "g" * 2000)])


def test_lighteval_finds_exactly_one_model_class_in_each_model_file() -> None:
    for module in (vision_model, constant_model):
        classes = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, LightevalModel) and value is not LightevalModel
        ]
        assert len(classes) == 1


@pytest.fixture
def data(tmp_path: Path) -> str:
    pictures = [{"bytes": encode_png(image), "path": f"{index}.png"} for index, image in enumerate((RED, BLUE))]

    def rows() -> Iterator[dict[str, Any]]:
        for index in range(12):
            text = QUERY.replace("{caption}", "dog " * index)
            common = {"id": str(index), "group": str(index), "category": "", "source": "test", "task": "bison"}
            yield {**common, "images": pictures, "question": text, "options": ["A", "B"], "answer": "A"}

    write_questions(rows(), tmp_path / "data")
    return str(tmp_path / "data")


def settings_for(model: Path, data: str, out: Path) -> EvaluateSettings:
    return EvaluateSettings(model=str(model), data=data, out=out, tasks=["bison"], batch_size=2)


def test_new_weights_at_the_same_path_are_asked_again(tmp_path: Path, data: str) -> None:
    file = tmp_path / "out/predictions/bison.jsonl"
    texts = []
    for seed in (0, 1, 0):
        model = make_tiny_llava(tmp_path / "model", seed)
        evaluate(settings_for(model, data, tmp_path / "out"))
        texts.append(file.read_text())
    assert texts[0] == texts[2] != texts[1]
    evaluate(settings_for(make_tiny_llava(tmp_path / "model", 1), data, tmp_path / "fresh"))
    assert texts[1] == (tmp_path / "fresh/predictions/bison.jsonl").read_text()


def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path, folder: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answer = LocalGenerator._answer

    def spy(self: LocalGenerator, requests: list[Any]) -> list[Any]:
        if len(asked) == 2:
            asked.append(0)
            raise KeyboardInterrupt
        asked.append(len(requests))
        return answer(self, requests)

    monkeypatch.setattr(LocalGenerator, "_answer", spy)
    with pytest.raises(KeyboardInterrupt):
        evaluate(settings_for(folder, data, tmp_path / "out"))
    evaluate(settings_for(folder, data, tmp_path / "out"))
    assert sum(asked) == 12
    evaluate(settings_for(folder, data, tmp_path / "whole"))
    file = "predictions/bison.jsonl"
    assert (tmp_path / "out" / file).read_text() == (tmp_path / "whole" / file).read_text()


def test_a_stopped_ranking_goes_on_where_it_was(
    tmp_path: Path, folder: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked: list[int] = []
    answer = LocalGenerator._answer

    def spy(self: LocalGenerator, requests: list[Any]) -> list[Any]:
        if requests[0].options:
            if len(ranked) == 2:
                ranked.append(0)
                raise KeyboardInterrupt
            ranked.append(len(requests))
        return answer(self, requests)

    monkeypatch.setattr(LocalGenerator, "_answer", spy)
    with pytest.raises(KeyboardInterrupt):
        evaluate(replace(settings_for(folder, data, tmp_path / "out"), rank_options=True))
    scores = evaluate(replace(settings_for(folder, data, tmp_path / "out"), rank_options=True))
    assert sum(ranked) == scores["bison"]["n"]
    assert scores == evaluate(replace(settings_for(folder, data, tmp_path / "whole"), rank_options=True))


def test_an_adapter_of_a_folder_or_of_the_hub_answers_as_its_merged_model(
    tmp_path: Path, folder: Path, hub: LoopbackHub
) -> None:
    from peft import LoraConfig, get_peft_model

    from cadvi_hub.training.adapters import merge
    from cadvi_hub.training.structure import lora_targets

    base = AutoModelForImageTextToText.from_pretrained(folder)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=lora_targets(base), init_lora_weights=False))
    adapted.save_pretrained(str(tmp_path / "adapter"))
    AutoProcessor.from_pretrained(folder).save_pretrained(tmp_path / "adapter")
    merge(tmp_path / "adapter", tmp_path / "merged")
    HfApi().create_repo("tester/adapter")
    HfApi().upload_folder(repo_id="tester/adapter", folder_path=tmp_path / "adapter")
    docs = [question(caption) for caption in ("a dog", "two cats", "x")]

    def answers(name: str) -> list[list[str]]:
        return [response.text for response in VisionModel(ModelConfig(model_name=name)).greedy_until(docs)]

    merged = answers(str(tmp_path / "merged"))
    assert answers(str(tmp_path / "adapter")) == answers("tester/adapter") == merged
    assert answers(str(folder)) != merged
    assert local_model("tester/adapter").name.startswith("tester/adapter@")


def test_pillow_makes_the_pixels_even_where_torchvision_is_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.models.auto.image_processing_auto.is_torchvision_available", lambda: True)
    _, processor, _ = LocalGenerator(str(folder)).load()
    assert type(processor.image_processor).__name__ == "CLIPImageProcessorPil"
