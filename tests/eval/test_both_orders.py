"""Beyond the paper: swapped images, ranked options, blanked images, the table, and a run that was killed."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lighteval.models.abstract_model import ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.models.blank_images import GREY, BlankImages
from cadvi_hub.eval.models.row_images import RowImages
from cadvi_hub.eval.score_table import format_scores
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.generation.chat import ChatRequest, Failed, Reply
from cadvi_hub.generation.local import LocalGenerator
from tests.eval.test_evaluate import Scripted, gold, pairs, row
from tests.support.tiny_llava import make_tiny_llava

RED = {"bytes": encode_png(Image.new("RGB", (4, 6), "red")), "path": "red.png"}
BLUE = {"bytes": encode_png(Image.new("RGB", (5, 5), "blue")), "path": "blue.png"}
PICTURES = [RED, BLUE]
STATEMENTS = ["Both are red.", "The left image is red.", "A dog looks right.", "Image 2 is blue."]


@pytest.fixture
def settings(tmp_path: Path) -> EvaluateSettings:
    groups = ["0", "0", "2", "3"]
    statements = [
        row("nlvr2", index, images=PICTURES, question=f'<image><image> "{text}"', group=group)
        for index, (text, group) in enumerate(zip(STATEMENTS, groups, strict=True))
    ]
    rows = [
        *(row("bison", index, images=PICTURES) for index in range(4)),
        *pairs("cola", 2, images=PICTURES),
        *statements,
        row("cad_qa", 0, images=PICTURES),
    ]
    write_questions(rows, tmp_path / "data")
    return EvaluateSettings("constant", str(tmp_path / "data"), tmp_path / "out", both_orders=True)


def colours(doc: Doc) -> list[str]:
    assert doc.images is not None
    return ["red" if image.getpixel((0, 0)) == (255, 0, 0) else "blue" for image in doc.images]


def test_every_question_is_asked_once_more_with_its_images_swapped(settings: EvaluateSettings) -> None:
    seen: dict[str, dict[int, tuple[str, ...]]] = {}

    def answer(doc: Doc) -> str:
        seen.setdefault(doc.task_name, {})[int(doc.id)] = (*colours(doc), gold(doc), doc.query)
        return gold(doc)

    scores = evaluate(settings, Scripted(answer))
    assert list(scores) == ["bison", "bison_swapped", "nlvr2", "nlvr2_swapped", "cola", "cola_swapped", "cad_qa"]
    assert [seen["bison|0"][index][:3] for index in (0, 1)] == [("red", "blue", "A"), ("red", "blue", "B")]
    assert [seen["bison_swapped|0"][index][:3] for index in (0, 1)] == [("blue", "red", "B"), ("blue", "red", "A")]
    asked = {index: question[-1].split('"')[1] for index, question in seen["nlvr2_swapped|0"].items()}
    assert asked == {0: "Both are red.", 1: "The right image is red.", 3: "Image 1 is blue."}
    assert scores["nlvr2"]["not_swapped_n"] == 1
    assert scores["nlvr2_swapped"]["n"] == scores["nlvr2"]["both_orders_accuracy_n"] == 3
    assert scores["nlvr2"]["both_orders_consistency"] == 1
    assert "position_bias" not in scores["nlvr2"]
    assert scores["cola"]["both_orders_pair_accuracy"] == scores["bison"]["both_orders_accuracy"] == 1
    assert scores["bison"]["position_bias"] == 0


def test_a_constant_answer_is_right_in_one_order_and_biased(settings: EvaluateSettings) -> None:
    scores = evaluate(settings)
    bison = scores["bison"]
    assert bison["accuracy"] == scores["bison_swapped"]["accuracy"] == 0.5
    assert (bison["both_orders_accuracy"], bison["position_bias"], bison["tolerant_position_bias"]) == (0, 1, 1)
    assert bison["position_bias_interval"] == [1, 1]


def test_statements_of_which_none_can_be_swapped_are_asked_in_one_order(settings: EvaluateSettings) -> None:
    write_questions([row("nlvr2", 0, question="<image><image> The dog looks left.")], Path(str(settings.data)))
    settings.tasks = ["nlvr2"]
    scores = evaluate(settings)
    assert (scores["nlvr2"]["n"], scores["nlvr2"]["not_swapped_n"]) == (1, 1)
    assert list(scores) == ["nlvr2"]


class Ranking(Scripted):
    """Says nothing that can be read, and finds the right option likeliest but for question 0."""

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        likely = [[(choice == gold(doc)) != (doc.id == "0") for choice in doc.choices] for doc in docs]
        return [ModelResponse(logprobs=[float(each) for each in row], argmax_logits_eq_gold=row) for row in likely]


def test_options_are_ranked_beside_generation(settings: EvaluateSettings) -> None:
    settings.rank_options, settings.both_orders = True, False
    scores = evaluate(settings, Ranking(lambda doc: "?"))
    assert (scores["bison"]["accuracy"], scores["bison"]["ranked_accuracy"]) == (0, 3 / 4)
    assert "ranked_accuracy" not in scores["cad_qa"]
    lines = [json.loads(line) for line in (settings.out / "predictions/bison.jsonl").open()]
    assert [line["ranked"] == line["answer"] for line in lines] == [False, True, True, True]
    (results,) = (settings.out / "results/scripted").glob("*.json")
    assert json.loads(results.read_text())["results"]["bison|0"]["ranked_accuracy"] == 3 / 4


def test_a_text_only_model_sees_grey_pictures_of_the_same_size(settings: EvaluateSettings) -> None:
    seen: list[Any] = []

    def answer(doc: Doc) -> str:
        assert doc.images is not None
        seen.extend((image.size, image.getpixel((1, 1))) for image in doc.images)
        return gold(doc)

    settings.blank_images, settings.tasks = True, ["bison"]
    scores = evaluate(settings, Scripted(answer))
    assert set(seen) == {((4, 6), GREY), ((5, 5), GREY)}
    assert scores["bison"]["images"] == scores["bison_swapped"]["images"] == "images blanked"
    ranked = BlankImages(ModelConfig(model_name="x"), Ranking(gold)).loglikelihood([Doc("?", ["A"], 0, specific={})])
    assert ranked[0].logprobs == [1.0]


def test_pictures_are_decoded_when_they_are_asked_for(settings: EvaluateSettings) -> None:
    seen: list[type] = []

    def answer(doc: Doc) -> str:
        seen.append(type(doc.images))
        return ""

    torn = {"bytes": RED["bytes"][:40], "path": "torn.png"}
    write_questions([row("bison", 0, images=[RED, torn])], Path(str(settings.data)))
    settings.tasks, settings.both_orders = ["bison"], False
    evaluate(settings, Scripted(answer))
    assert seen == [RowImages]
    with pytest.raises(InputError, match=r"question 0, picture torn.png: .*does not decode"):
        evaluate(settings, Scripted(lambda doc: str(colours(doc))))


def test_the_terminal_shows_every_metric_strict_beside_tolerant(settings: EvaluateSettings) -> None:
    lines = format_scores(evaluate(settings, Scripted(lambda doc: gold(doc) + "."))).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["bison", "(4", "questions)", "strict", "tolerant"]
    accuracy = next(line for line in lines if line.startswith("  accuracy"))
    assert accuracy.split() == ["accuracy", "0.0", "[0.0–49.0]", "100.0", "[51.0–100.0]"]
    assert any(line.startswith("  both orders pair accuracy (n 2)") for line in lines)
    assert any(line.startswith("nlvr2 (4 questions, 1 in one order only)") for line in lines)


KILLED = """
import os, signal, sys
from pathlib import Path
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.generation.local import LocalGenerator

model, data, out = sys.argv[1:]
answer, asked = LocalGenerator._answer, 0

def counted(self, requests):
    global asked
    if asked >= 5:
        os.kill(os.getpid(), signal.SIGKILL)
    asked += len(requests)
    return answer(self, requests)

LocalGenerator._answer = counted
evaluate(EvaluateSettings(model, data, Path(out), batch_size=1, max_tokens=4, both_orders=True))
"""


def test_a_killed_run_repeats_what_was_in_flight_and_ends_with_the_same_bytes(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.model, settings.batch_size, settings.max_tokens = str(make_tiny_llava(tmp_path / "model")), 1, 4
    arguments = [sys.executable, "-c", KILLED, settings.model, str(settings.data), str(tmp_path / "killed")]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "killed/results.json").exists()
    asked: list[int] = []
    answer = LocalGenerator._answer

    def counted(self: LocalGenerator, requests: list[ChatRequest]) -> list[Reply | Failed]:
        asked.append(len(requests))
        return answer(self, requests)

    monkeypatch.setattr(LocalGenerator, "_answer", counted)
    counts = {}
    for name in ("killed", "whole"):
        asked.clear()
        evaluate(replace(settings, out=tmp_path / name))
        counts[name] = sum(asked)
    assert counts["killed"] == counts["whole"] - 5
    for name in ("results.json", *(f"predictions/{file.name}" for file in (tmp_path / "whole/predictions").iterdir())):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
