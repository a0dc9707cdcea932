"""Captions of differences: from rows of the published form to ROUGE-L and CIDEr, computed here in another way."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lighteval.tasks.requests import Doc

from cadvi_hub.eval.comparison import compare
from cadvi_hub.eval.judge.rating import PROMPTS, Answered, rating_request
from cadvi_hub.eval.settings import CompareSettings
from cadvi_hub.eval.text_scores import ciders, rouge_l
from cadvi_hub.generation.chat import Decoding
from tests.eval.test_recent_choices import is_right, share, subtle_rows
from tests.support.published import build, lines, numbers, parquet, picture, scores

REFERENCES = [
    "The red car is gone.",
    "A man in a blue coat stands at the door, and the dog is gone.",
    "The small red cube moved to the left of the large ball.",
    "Nothing has changed but the light.",
    "Make the sky dark and add a moon.",
    "There is one more person at the door of the shop.",
]


def words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


def common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, by recursion over a table."""
    table = np.zeros((len(first) + 1, len(second) + 1), int)
    for i, a in enumerate(first, 1):
        for j, b in enumerate(second, 1):
            table[i, j] = table[i - 1, j - 1] + 1 if a == b else max(table[i - 1, j], table[i, j - 1])
    return int(table[-1, -1])


def f_of_common(text: str, reference: str) -> float:
    found, wanted = words(text[:512]), words(reference)
    shared = common(found, wanted)
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def dense_ciders(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """CIDEr-D with dense vectors over all n-grams."""
    total = np.zeros(len(texts))
    for size in (1, 2, 3, 4):

        def grams(text: str, size: int = size) -> list[str]:
            return [" ".join(words(text)[start : start + size]) for start in range(len(words(text)) - size + 1)]

        vocabulary = sorted({gram for text in (*texts, *references) for gram in grams(text)})
        if not vocabulary:
            continue
        counts = [
            np.array([[grams(text).count(gram) for gram in vocabulary] for text in each])
            for each in (texts, references)
        ]
        rarity = np.log(len(references)) - np.log(np.maximum(1, (counts[1] > 0).sum(0)))
        ours, theirs = (each * rarity for each in counts)
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        total += np.divide(
            (np.minimum(ours, theirs) * theirs).sum(1), norms, out=np.zeros(len(texts)), where=norms > 0
        )
    pairs = [[len(list(pairwise(words(text)))) for text in each] for each in (texts, references)]
    penalty = np.exp(-((np.array(pairs[0]) - np.array(pairs[1])) ** 2) / 72)
    return list(10 * total / 4 * penalty)


def said(number: int) -> str:
    """An answer that is the reference, a part of it, or another one."""
    reference = REFERENCES[number % 6]
    return [reference, " ".join(reference.split()[::2]), REFERENCES[(number + 1) % 6]][number % 3]


def test_both_scores_are_what_their_definitions_say() -> None:
    texts = [said(number) for number in range(6)]
    assert [rouge_l(*pair) for pair in zip(texts, REFERENCES, strict=True)] == pytest.approx(
        [f_of_common(*pair) for pair in zip(texts, REFERENCES, strict=True)]
    )
    assert ciders(texts, REFERENCES) == pytest.approx(dense_ciders(texts, REFERENCES))
    assert ciders(REFERENCES, REFERENCES) == pytest.approx([10.0] * 6)
    assert ciders([""] * 6, REFERENCES) == [0.0] * 6
    assert rouge_l("x " * 300 + "the red car is gone", REFERENCES[0]) == 0  # beyond 512 characters


def interleave_rows(count: int) -> list[dict[str, Any]]:
    sub_tasks = ("Spot-the-Diff", "CLEVR-Change", "IEdit")
    return [
        {
            "sample_id": f"{number}",
            "sub_task": sub_tasks[number % 3],
            **{f"image_{place}": picture(10 * number + place) if place < 2 else None for place in range(12)},
            "question": "<image>\n<image>\nWhat differs?" if number % 2 else "What differs?",
            "answer": REFERENCES[number % 6],
            "question_type": "open-ended",
        }
        for number in range(count)
    ]


def test_interleave_bench_scores_its_captions_of_differences(tmp_path: Path) -> None:
    rows = interleave_rows(12)
    others = [{**rows[0], "sub_task": "AESOP"}, {**rows[0], "sub_task": "QBench", "question_type": "multi-choice"}]
    place = parquet(tmp_path / "in_domain/test-00000-of-00001.parquet", [*rows, *others])
    asked = []

    def answer(doc: Doc) -> str:
        asked.append(doc.query)
        return said(numbers(doc)[0] // 10)

    found = scores("interleave_differences", place.parent, tmp_path, answer)["interleave_differences"]
    texts, references = [said(number) for number in range(12)], [row["answer"] for row in rows]
    rouge = [f_of_common(*pair) for pair in zip(texts, references, strict=True)]
    cider = dense_ciders(texts, references)
    assert found["n"] == 12
    assert found["rouge_l"] == pytest.approx(sum(rouge) / 12)
    assert found["cider"] == pytest.approx(sum(cider) / 12)
    assert found["rouge_l_CLEVR-Change"] == pytest.approx(sum(rouge[1::3]) / 4)
    assert found["cider_IEdit"] == pytest.approx(sum(cider[2::3]) / 4)
    assert found["cider_IEdit_n"] == 4
    assert found["cider_interval"][0] < found["cider"] < found["cider_interval"][1] <= 10
    assert set(asked) == {"<image>\n<image>\nWhat differs?"}
    compared = compare(CompareSettings(tmp_path / "scores", tmp_path / "scores", resamples=10))
    assert "rouge_l" in compared
    assert "cider" in compared


@pytest.mark.parametrize("task", PROMPTS)
def test_a_judge_can_be_asked_about_every_open_set(task: str) -> None:
    asked = rating_request(task, Answered("What differs?", "It is dark.", "It is night."), 100, Decoding(), True)
    shown = "".join(part["text"] for turn in asked.messages for part in turn["content"])
    assert "It is night." in shown
    assert ("What differs?" in shown) == (task != "cad_summary")


def test_an_empty_reference_is_counted_as_a_fault(tmp_path: Path) -> None:
    rows = [{**row, "answer": ""} for row in interleave_rows(1)]
    flags = build("interleave_differences", parquet(tmp_path / "d.parquet", rows), tmp_path)["flags"]
    assert flags["the reference answer is empty"]["count"] == 1


def test_interleave_bench_reads_the_letters_that_a_prompt_lists(tmp_path: Path) -> None:
    rows = [
        {
            **row,
            "sub_task": ("NLVR2_Mantis", "QBench")[number % 2],
            "question": "<image> <image> Which is it?\nA. yes\nB. no" + "\nC. both" * (number % 2) + "\nAnswer: ",
            "answer": "AB"[number // 2 % 2],
            "question_type": "multi-choice",
        }
        for number, row in enumerate(interleave_rows(12))
    ]

    def answer(doc: Doc) -> str:
        number = numbers(doc)[0] // 10
        right = number // 2 % 2
        return "AB"[right if is_right(number) else 1 - right] if number else "(C)"

    found = scores("interleave_choices", parquet(tmp_path / "c.parquet", rows), tmp_path, answer)["interleave_choices"]
    assert found["tolerant_accuracy"] == (12 * share(list(range(12))) - is_right(0)) / 12
    assert found["accuracy_QBench"] == share(list(range(1, 12, 2)))
    assert found["unreadable"] == 1 / 12  # question 0 has no C
    assert found["tolerant_unreadable"] == 1 / 12


def test_vlm_subtle_bench_in_free_form_takes_the_rows_with_a_caption(tmp_path: Path) -> None:
    lines(tmp_path / "s/data/test.jsonl", subtle_rows())
    (tmp_path / "s/images").mkdir()
    for place in (1, 2):
        (tmp_path / f"s/images/0_{place}.png").write_bytes(picture(place)["bytes"])
    found = scores("vlm_subtle_captions", tmp_path / "s", tmp_path, lambda doc: "The lamp is darker.")
    reference = str(subtle_rows()[0]["caption"])
    assert found["vlm_subtle_captions"]["n"] == 1
    assert found["vlm_subtle_captions"]["rouge_l"] == pytest.approx(f_of_common("The lamp is darker.", reference))
