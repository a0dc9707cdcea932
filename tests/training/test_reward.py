"""Which-image questions in both orders of their images: the right image is rewarded; a constant reward ends it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from PIL import Image
from safetensors.torch import load_file

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.training import reward
from cadvi_hub.training.collator import Collator
from cadvi_hub.training.reward import RewardTrainer, right_image
from tests.support.tunings import COLOURS, curve, run, tiny_processor

GRPO: dict[str, Any] = {
    "method": "grpo",
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 4,
    "save_strategy": "steps",
    "save_steps": 1,
    "max_steps": 2,
}


def question(index: int) -> dict[str, Any]:
    first, second = COLOURS[index % 4], COLOURS[(index + 1) % 4]
    pictures = [encode_png(Image.new("RGB", (40, 32), colour)) for colour in (first, second)]
    which = index // 4 % 2
    asked = f"Image 1: <image>\nImage 2: <image>\nWhich is {(first, second)[which]}?\nA. Image 1\nB. Image 2"
    return {
        "id": str(index),
        "images": [{"bytes": picture, "path": None} for picture in pictures],
        "messages": [message("user", asked), message("assistant", "AB"[which])],
        "source": "drawn",
    }


def make_questions(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    tiny_processor(folder / "base").save_pretrained(folder / "base")
    (folder / "v1").mkdir()
    Dataset.from_list(list(rows), features=instruct_features()).to_parquet(str(folder / "v1/train.parquet"))
    return folder


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_questions(tmp_path_factory.mktemp("room"), [question(index) for index in range(12)])


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A random model names no image; here every completion that has an odd first token counts as "A"."""
    seen: list[dict[str, Any]] = []

    def rewards(completions: Any, answer: list[str], completion_ids: Any, **given: Any) -> list[float]:
        seen.append({"answer": answer, **given})
        said = ["AB"[ids[0] % 2] for ids in completion_ids]
        return right_image([[message_of(letter)] for letter in said], answer)

    monkeypatch.setattr(reward, "right_image", rewards)
    return seen


def message_of(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def test_the_reward_is_for_the_right_image_however_it_is_named() -> None:
    said = [[message_of(text)] for text in ("A", "The first image.", "B", "It is image 2.", "Both.", "")]
    assert right_image(said, ["A", "A", "A", "B", "B", "B"]) == [1, 1, 0, 1, 0, 0]


def test_each_group_sees_both_orders_and_the_run_is_resumed_exactly(
    room: Path, tmp_path: Path, letters: list[dict[str, Any]]
) -> None:
    run(room, tmp_path / "whole", **GRPO)
    assert len(letters) == 2
    for batch in letters:
        for start in range(0, 8, 4):
            answers, images = batch["answer"][start : start + 4], batch["images"][start : start + 4]
            assert answers in (["A", "B"] * 2, ["B", "A"] * 2)
            shown = [[image.getpixel((0, 0)) for image in of_row] for of_row in images]
            assert shown[0] == shown[2] == shown[1][::-1] == shown[3][::-1]
    log = json.loads((tmp_path / "whole/training.json").read_text())
    assert log["rows"] == {"v1": 12}
    assert log["finished"]
    assert {"reward", "frac_reward_zero_std", "tokens_per_second"} <= set(log["curve"][0])

    run(room, tmp_path / "run", **GRPO | {"max_steps": 1})
    file = tmp_path / "run/training.json"  # as if the run of two steps had been stopped after one
    settings = json.loads(file.read_text())["settings"] | {"max_steps": 2}
    file.write_text(json.dumps({"finished": False, "settings": settings}))
    run(room, tmp_path / "run", **GRPO)
    whole, resumed = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())
    assert curve(tmp_path / "run") == curve(tmp_path / "whole")


def test_a_constant_reward_ends_the_run_and_says_so(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward, "CONSTANT_ROUNDS", 2)
    monkeypatch.setattr(reward, "right_image", lambda completions, **_: [0.0] * len(completions))
    with pytest.raises(InputError, match="step 2: every answer of the last 2 rounds has the reward 0; nothing"):
        run(room, tmp_path, **GRPO | {"max_steps": 4})


def test_prompt_and_pixels_are_those_of_the_other_methods(room: Path, tmp_path: Path) -> None:
    """TRL makes the batches of this method; they must not differ from what the model was tuned on."""
    processor = tiny_processor(tmp_path)
    row = {**question(0), "images": [Image.new("RGB", (40, 32), colour) for colour in COLOURS[:2]]}
    ours = Collator(processor)([row])
    trainer: Any = object.__new__(RewardTrainer)
    trainer.__dict__ |= {"processing_class": processor, "_is_vlm": True, "environment_factories": None}
    trainer.__dict__ |= {"tools": None, "chat_template": None, "chat_template_kwargs": {}}
    from trl.data_utils import prepare_multimodal_messages

    prompt = prepare_multimodal_messages(row["messages"][:1], row["images"])
    ids, _, fields = trainer._tokenize_prompts([prompt])
    learned = (ours["labels"][0] != -100).nonzero()[0].item()
    assert list(ids[0]) == ours["input_ids"][0, :learned].tolist()
    pixels = torch.stack([torch.as_tensor(image) for image in fields["pixel_values"]])
    assert torch.allclose(pixels, ours["pixel_values"], atol=1e-5)


def test_rows_that_are_no_question_in_both_orders_are_dropped_and_counted(
    tmp_path: Path, letters: list[dict[str, Any]]
) -> None:
    rows = [question(index) for index in range(8)]
    rows[3]["messages"] = [message("user", "<image><image>What is different?"), message("assistant", "Nothing.")]
    rows[5]["messages"] = [message("user", "<image><image>Is A or B gone?"), message("assistant", "A")]
    room = make_questions(tmp_path / "room", rows)
    run(room, tmp_path / "out", **GRPO | {"max_steps": 1})
    log = json.loads((tmp_path / "out/training.json").read_text())
    assert log["rows"] == {"v1": 6}
    dropped = {reason: count for reason, count in log["dropped"]["v1"].items() if count}
    assert dropped == {
        "its last answer is not the letter of an image": 1,
        "its images cannot be shown in the other order": 1,
    }


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"use_vllm": True}, "use_vllm"),
        ({"num_generations": 3, "per_device_train_batch_size": 9}, "num_generations"),
        ({"train_sampling_strategy": "llava"}, "train_sampling_strategy"),
        ({"steps_per_generation": 2, "save_steps": 1}, "save_steps"),
        ({"per_device_train_batch_size": 64}, "it has 12 questions, and a step needs 16"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    room: Path, tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        run(room, tmp_path, **GRPO | changed)
