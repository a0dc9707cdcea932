"""Published multiple-choice sets, from rows of exactly their form to scores computed here anew."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
from lighteval.tasks.requests import Doc

from cadvi_hub.core.errors import InputError
from tests.support.published import build, letter_of, lines, numbers, parquet, picture, scores

WORDS = ["a cat", "a dog", "a fox", "a hen"]


def is_right(number: int) -> bool:
    """Whether the model of these tests knows the answer to question `number`."""
    return random.Random(number).random() < 0.6


def share(numbers_of_questions: list[int]) -> float:
    return sum(map(is_right, numbers_of_questions)) / len(numbers_of_questions)


def test_blink_asks_the_whole_prompt_after_one_to_four_images(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {"Counting": [], "Jigsaw": []}
    for number in range(16):
        images = number % 4 + 1
        right = number % 3
        sub_task = "Jigsaw" if number % 2 else "Counting"
        prompt = f"Question {number}: what is it?\nSelect from the following choices.\n"
        rows[sub_task].append(
            {
                "idx": f"val_{sub_task}_{number}",
                "question": f"Question {number}: what is it?",
                "sub_task": sub_task,
                **{f"image_{n}": picture(10 * number + n) if n <= images else None for n in (1, 2, 3, 4)},
                "choices": WORDS[:3],
                "answer": f"({'ABC'[right]})",
                "prompt": prompt + "\n".join(f"({letter}) {word}" for letter, word in zip("ABC", WORDS, strict=False)),
            }
        )
    for sub_task, of_task in rows.items():
        parquet(tmp_path / f"BLINK/{sub_task}/val-00000-of-00001.parquet", of_task)
        parquet(tmp_path / f"BLINK/{sub_task}/test-00000-of-00001.parquet", [{**of_task[0], "answer": "hidden"}])
    asked = {}

    def answer(doc: Doc) -> str:
        number = numbers(doc)[0] // 10
        asked[number] = doc.query, numbers(doc)
        right = number % 3
        return "ABC"[right if is_right(number) else right - 1]

    found = scores("blink", tmp_path / "BLINK", tmp_path, answer)["blink"]
    assert (found["n"], found["accuracy"]) == (16, share(list(range(16))))
    assert found["accuracy_Counting"] == share(list(range(0, 16, 2)))
    assert found["accuracy_Jigsaw"] == share(list(range(1, 16, 2)))
    assert [len(asked[number][1]) for number in range(4)] == [1, 2, 3, 4]
    assert asked[1][0] == (
        "Image 1: <image>\nImage 2: <image>\nQuestion 1: what is it?\nSelect from the following choices.\n"
        "(A) a cat\n(B) a dog\n(C) a fox\nAnswer with the option's letter from the given choices directly."
    )
    hidden = tmp_path / "BLINK/Jigsaw/test-00000-of-00001.parquet"
    with pytest.raises(InputError, match=r"row 1: answer 'hidden' is not among"):
        build("blink", hidden, tmp_path / "hidden")


def test_muirbench_has_images_among_its_options_and_pairs_with_their_counterpart(tmp_path: Path) -> None:
    rows, truth = [], {}
    for number in range(12):
        counterpart, is_answerable = number + 1 if number % 2 == 0 else number - 1, number % 2 == 0
        images = 3 if number < 6 else 2
        options = ["<image>", "<image>"] if number < 6 else ["yes", "no"]
        question = "Which picture differs from <image>?" if number < 6 else "Are <image> and <image> the same?"
        truth[number] = "A" if is_answerable else "C"
        rows.append(
            {
                "idx": str(number),
                "task": "Difference Spotting" if number < 6 else "Counting",
                "image_relation": "Independent",
                "image_type": "Photography",
                "question": question,
                "options": [*options, "None of the choices provided"],
                "answer": truth[number],
                "image_list": [picture(10 * number + each) for each in range(images)],
                "counterpart": str(counterpart),
            }
        )
    asked = {}

    def answer(doc: Doc) -> str:
        number = numbers(doc)[0] // 10
        asked[number] = doc.query, numbers(doc)
        return truth[number] if is_right(number) else "B"

    found = scores("muirbench", parquet(tmp_path / "test.parquet", rows), tmp_path, answer)["muirbench"]
    assert found["accuracy"] == share(list(range(12)))
    assert found["accuracy_Difference Spotting"] == share(list(range(6)))
    assert found["counterpart_accuracy"] == sum(is_right(n) and is_right(n + 1) for n in range(0, 12, 2)) / 6
    assert asked[0][0] == (
        "Which picture differs from <image>?\nA. <image>\nB. <image>\nC. None of the choices provided\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert asked[0][1] == [0, 1, 2]


def test_mantis_eval_has_choices_and_short_answers(tmp_path: Path) -> None:
    rows = []
    for number in range(10):
        is_choice = number < 6
        rows.append(
            {
                "id": f"mantis_eval_{number}",
                "question_type": "multi-choice" if is_choice else "short-answer",
                "question": "<image> and <image>: what do both show?" if is_choice else "How many cats are there?",
                "images": [picture(10 * number), picture(10 * number + 1)],
                "options": [f"({letter}) {word}" for letter, word in zip("ABCD", WORDS, strict=True)]
                if is_choice
                else [],
                "answer": "ABCD"[number % 4] if is_choice else f"{number} cats",
            }
        )

    def answer(doc: Doc) -> str:
        number = numbers(doc)[0] // 10
        if number < 6:
            return letter_of(doc, WORDS[number % 4 if is_right(number) else number % 4 - 1])
        return f"{number} Cats." if is_right(number) else "none"

    found = scores("mantis_eval", parquet(tmp_path / "m.parquet", rows), tmp_path, answer)["mantis_eval"]
    assert found["tolerant_accuracy"] == share(list(range(10)))
    assert found["accuracy_multi-choice"] == share(list(range(6)))
    assert found["accuracy_short-answer"] == 0  # "Cats." is not "cats" to the letter
    assert found["tolerant_accuracy_short-answer"] == share(list(range(6, 10)))


def test_q_bench2_leaves_out_options_that_are_not_there(tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        options = ["Yes", "No", "N/A", "N/A"] if number % 3 == 0 else ["Much", "Less", "Same", "N/A"]
        rows.append(
            {
                "id": number,
                "image1": picture(10 * number),
                "image2": picture(10 * number + 1),
                "question": "Is the first image more blurred?",
                **{f"option{place}": option for place, option in enumerate(options)},
                "question_type": number % 3,
                "question_concern": number % 4,
                "correct_choice": "AB"[number % 2],
            }
        )
    parquet(tmp_path / "q/data/test-00000-of-00001.parquet", [{**rows[0], "correct_choice": "Z"}])
    parquet(tmp_path / "q/data/dev-00000-of-00001.parquet", rows)
    listed = set()

    def answer(doc: Doc) -> str:
        number = numbers(doc)[0] // 10
        listed.add((number % 3 == 0, tuple(re.findall(r"^[A-D]\. (.*)$", doc.query, re.M))))
        right = number % 2
        return "AB"[right if is_right(number) else 1 - right]

    found = scores("q_bench2", tmp_path / "q", tmp_path, answer)["q_bench2"]
    assert listed == {(True, ("Yes", "No")), (False, ("Much", "Less", "Same"))}
    assert found["accuracy"] == share(list(range(12)))
    assert found["accuracy_how"] == share([1, 4, 7, 10])
    assert found["accuracy_concern_3"] == share([3, 7, 11])


def subtle_rows() -> list[dict[str, Any]]:
    return [
        {
            "image_1": f"https://example.org/datasets/x/resolve/main/images/{number}_1.png",
            "image_2": f"https://example.org/datasets/x/resolve/main/images/{number}_2.png",
            "question": f"In which image is the lamp {number} brighter?",
            "answer": ("first image", "second image")[number % 2],
            "distractors": [("second image", "first image")[number % 2], "both are the same"],
            "has_caption": number == 0,
            "caption": "The lamp is darker in the second image." if number == 0 else "",
            "category": ("state", "quality")[number // 6],
            "domain": ("medical", "natural")[number % 2],
            "source": "made",
            "source_id": str(number),
        }
        for number in range(12)
    ]


def test_vlm_subtle_bench_is_asked_in_both_orders(tmp_path: Path) -> None:
    rows, folder = subtle_rows(), tmp_path / "subtle"
    lines(folder / "data/test.jsonl", rows)
    lines(folder / "data/val.jsonl", rows[:1])
    (folder / "images").mkdir()
    for number in range(12):
        for place in (1, 2):
            (folder / f"images/{number}_{place}.png").write_bytes(picture(10 * number + place)["bytes"])
    orders = set()

    def answer(doc: Doc) -> str:
        """Knows which picture has the brighter lamp, picture 1 of even rows, unless it errs; then it says "first"."""
        shown = numbers(doc)
        number = shown[0] // 10
        brighter = shown.index(10 * number + 1 + number % 2)
        orders.add(tuple(re.findall(r"^[A-C]\. (.*)$", doc.query, re.M)))
        return letter_of(doc, ("first image", "second image")[brighter if is_right(number) else 0])

    found = scores("vlm_subtle_bench", folder, tmp_path, answer, both_orders=True)
    there = [is_right(number) or number % 2 == 0 for number in range(12)]
    back = [is_right(number) or number % 2 == 1 for number in range(12)]
    own = found["vlm_subtle_bench"]
    assert own["accuracy"] == sum(there) / 12
    assert found["vlm_subtle_bench_swapped"]["accuracy"] == sum(back) / 12
    assert own["both_orders_accuracy"] == sum(a and b for a, b in zip(there, back, strict=True)) / 12
    assert own["accuracy_quality"] == sum(there[6:]) / 6
    assert own["accuracy_medical"] == sum(there[::2]) / 6
    assert "position_bias" not in own  # a letter is not a place
    assert len(orders) > 2
    assert own["not_swapped_n"] == 0
