import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from lighteval.models.abstract_model import ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.lighteval_task import LightevalTask
from lighteval.tasks.requests import Doc
from PIL import Image

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.models.base import specific
from cadvi_hub.eval.models.constant import ConstantModel
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.eval.tasks import TASKS_TABLE, data_place, prompt, task_configs
from cadvi_hub.eval.text_scores import token_f1
from cadvi_hub.hub.loopback import LoopbackHub
from tests.support.question_rows import read_questions

QUESTIONS = Path(__file__).parents[3] / "shared/data/questions"
PICTURE = {"bytes": encode_png(Image.new("RGB", (4, 4), "red")), "path": "a.png"}


class Scripted(ConstantModel):
    """Answers what `answer` makes of a question."""

    def __init__(self, answer: Callable[[Doc], str]):
        super().__init__(ModelConfig(model_name="scripted"))
        self.answer = answer

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        return [ModelResponse(text=[self.answer(doc)]) for doc in docs]


def row(task: str, index: int, **changes: Any) -> dict[str, Any]:
    options, images = list(BENCHMARKS[task].options), BENCHMARKS[task].images
    return {
        "id": str(index),
        "images": [PICTURE] * images,
        "question": f"{'<image>' * images} Which?",
        "options": options,
        "answer": options[index % 2] if options else "a red dog",
        "task": task,
        "category": "",
        "group": str(index),
        "source": "test",
        **changes,
    }


def pairs(task: str, count: int, **changes: Any) -> Iterator[dict[str, Any]]:
    for index in range(2 * count):
        yield row(task, index, id=f"{index // 2}_{index % 2}", group=str(index // 2), **changes)


def test_the_pipeline_leaves_gradients_on_for_a_training_in_the_same_process() -> None:
    code = "import torch, cadvi_hub.eval.pipeline; assert torch.is_grad_enabled()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_questions_are_read_from_the_folder_as_it_is_now(tmp_path: Path) -> None:
    for folder, question in (("a/questions", "First?"), ("b/questions", "Second?"), ("b/questions", "Third?")):
        write_questions([row("bison", 0, question=f"<image><image> {question}")], tmp_path / folder)
        (config,) = task_configs({"bison": str(tmp_path / folder)}, both_orders=False)
        task = LightevalTask(config)
        LightevalTask.load_datasets({"bison": task})
        assert [doc.query for doc in task.get_docs()] == [f"<image><image> {question}"]


def gold(doc: Doc) -> str:
    return str(doc.get_golds()[0])


@pytest.fixture
def settings(tmp_path: Path) -> EvaluateSettings:
    """All sets, small."""
    rows = [
        *(row("bison", index) for index in range(5)),
        *(row("svo_probes", index, category=name) for index, name in enumerate(["subject", "verb", "object"] * 2)),
        *(row("nlvr2", index) for index in range(4)),
        *pairs("eqben", 2, category="kubric_cnt"),
        *pairs("cola", 4),
        *(row(task, index, category="Scene") for task in ("seed_image", "seed_video") for index in range(2)),
        *(row(task, index) for task in ("cad_qa", "cad_summary") for index in range(3)),
        *(row("single_image", index, options=["red", "blue"], answer="red") for index in range(2)),
    ]
    write_questions(rows, tmp_path / "data")
    return EvaluateSettings(model="constant", data=str(tmp_path / "data"), out=tmp_path / "out")


def predictions(settings: EvaluateSettings, task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (settings.out / f"predictions/{task}.jsonl").open()]


def test_every_set_is_a_task_and_its_rows_become_docs() -> None:
    assert [config.name for config in TASKS_TABLE if not config.name.endswith("_swapped")] == list(BENCHMARKS)
    swapped = {f"{task}_swapped" for task in BENCHMARKS if BENCHMARKS[task].swaps}
    assert swapped > {f"{task}_swapped" for task in ("bison", "svo_probes", "nlvr2", "eqben", "cola")}
    assert {config.name for config in TASKS_TABLE} - set(BENCHMARKS) == swapped
    images = [Image.new("RGB", (2, 2), "red"), Image.new("L", (3, 3))]
    doc = prompt(row("nlvr2", 1, images=images, question="<image> and <image>?"), "nlvr2")
    assert (doc.query, doc.choices, doc.gold_index) == ("<image> and <image>?", ["True", "False"], 1)
    assert doc.images is not None
    assert [(image.size, image.mode) for image in doc.images] == [((2, 2), "RGB"), ((3, 3), "RGB")]
    assert doc.specific == {"id": "1", "group": "1", "category": "", "options": ["True", "False"]}
    assert prompt(row("cad_qa", 0, images=images), "cad_qa").choices == ["a red dog"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"images": [None] * 3, "question": "<image><image><image>?"}, "image 1 is missing"),
        ({"images": [None]}, "1 image.* and 2 <image>"),
        ({"answer": "C"}, "'C' is not one of its options"),
    ],
)
def test_a_row_that_is_no_question_about_two_images_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        prompt(row("bison", 7, **changes), "bison")
    assert caught.value.where == "task bison, question 7"


def test_the_environment_says_where_each_set_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CADVI_EVAL_DATA", "me/all")
    monkeypatch.setenv("CADVI_EVAL_DATA_COLA", "me/cola")
    assert (data_place("bison"), data_place("cola")) == ("me/all", "me/cola")


def test_the_reference_answers_are_all_right(settings: EvaluateSettings) -> None:
    scores = evaluate(settings, Scripted(gold))
    written = {file.parent.name for file in Path(str(settings.data)).glob("*/test.parquet")}
    assert list(scores) == [name for name in BENCHMARKS if name in written]
    assert len(written) == 10
    for task, metrics in scores.items():
        values = {name: metrics[name] for name in metrics if f"{name}_interval" in metrics}
        assert values
        assert {value for name, value in values.items() if "unreadable" not in name} == {1.0}, task
        assert {value for name, value in values.items() if "unreadable" in name} <= {0.0}
    assert scores["cola"]["n"] == 8
    assert scores["cola"]["pair_accuracy_n"] == 4
    assert scores["svo_probes"]["accuracy_verb_n"] == 2
    assert {"accuracy_subject", "accuracy_verb", "accuracy_object"} <= set(scores["svo_probes"])
    assert {"pair_accuracy", "accuracy_kubric_cnt", "pair_accuracy_kubric_cnt"} <= set(scores["eqben"])


@pytest.mark.parametrize(
    ("spoil", "tolerant"),
    [(lambda text: "", 0), (lambda text: text + ".", 1), (str.lower, 1), (lambda text: f"Image {text}", 1)],
)
def test_an_answer_that_is_no_option_is_wrong_and_unreadable_unless_read_tolerantly(
    settings: EvaluateSettings, spoil: Callable[[str], str], tolerant: int
) -> None:
    settings.tasks = ["bison", "cola"]
    scores = evaluate(settings, Scripted(lambda doc: spoil(gold(doc))))
    bison = scores["bison"]
    assert (bison["accuracy"], bison["unreadable"], scores["cola"]["pair_accuracy"]) == (0, 1, 0)
    assert (bison["tolerant_accuracy"], bison["tolerant_unreadable"]) == (tolerant, 1 - tolerant)
    assert scores["cola"]["tolerant_pair_accuracy"] == tolerant


def test_a_pair_counts_only_when_both_halves_are_right(settings: EvaluateSettings) -> None:
    settings.tasks = ["cola"]
    wrong = {"0_1", "2_0", "2_1"}
    scores = evaluate(settings, Scripted(lambda doc: "?" if specific(doc)["id"] in wrong else gold(doc)))["cola"]
    assert scores["accuracy"] == 5 / 8
    assert scores["pair_accuracy"] == 2 / 4
    assert scores["pair_accuracy_interval"] == pytest.approx([0.150, 0.850], abs=5e-4)  # Wilson's, of 2 of 4 pairs


def test_open_answers_score_by_their_words(settings: EvaluateSettings) -> None:
    settings.tasks = ["cad_qa"]
    answers = {"0": "A red dog.", "1": "red", "2": "nothing"}
    scores = evaluate(settings, Scripted(lambda doc: answers[specific(doc)["id"]]))["cad_qa"]
    expected = [token_f1(answer, "a red dog") for answer in answers.values()]
    assert scores["token_f1"] == pytest.approx(sum(expected) / 3)
    low, high = scores["token_f1_interval"]
    assert 0 <= low < scores["token_f1"] < high <= 1
    assert scores["exact_match"] == 0


def test_results_predictions_and_lightevals_own_files_are_written(settings: EvaluateSettings) -> None:
    settings.tasks = ["cola", "cad_qa"]
    scores = evaluate(settings, Scripted(gold))
    assert json.loads((settings.out / "results.json").read_text()) == scores
    lines = predictions(settings, "cola")
    assert [line["index"] for line in lines] == list(range(8))  # the set's order, whatever order lighteval asked in
    assert lines[3] == {
        "index": 3, "id": "1_1", "category": "", "group": "1", "answer": "B", "prediction": "B",
        "strict": "B", "correct": True, "tolerant": "B", "tolerant_correct": True,
    }  # fmt: skip
    (results,) = (settings.out / "results/scripted").glob("results_*.json")
    by_lighteval = json.loads(results.read_text())["results"]["cola|0"]
    assert by_lighteval == {name: scores["cola"][name] for name in by_lighteval}
    assert {"accuracy", "tolerant_accuracy", "pair_accuracy", "unreadable"} <= set(by_lighteval)
    (details,) = (settings.out / "details/scripted").rglob("details_cola*.parquet")
    table = pq.read_table(details)
    assert table.num_rows == 8
    assert table["model_response"][0].as_py()["text"] == ["A"]
    assert not list(settings.out.rglob("*.part"))


def test_the_same_run_gives_the_same_files_again(settings: EvaluateSettings) -> None:
    settings.tasks = ["bison", "eqben"]
    evaluate(settings)
    paths = [settings.out / "results.json", *(settings.out / "predictions").iterdir()]
    first = [path.read_bytes() for path in paths]
    evaluate(settings)
    assert [path.read_bytes() for path in paths] == first


def test_a_sample_of_a_set_keeps_pairs_whole(settings: EvaluateSettings) -> None:
    settings.tasks, settings.max_samples, settings.both_orders = ["cola", "bison"], 3, True
    scores = evaluate(settings, Scripted(gold))
    assert scores["bison"]["both_orders_accuracy"] == 1  # the same questions in both orders
    assert scores["bison"]["not_swapped_n"] == 0
    assert scores["bison"]["n"] == 3
    assert (scores["cola"]["n"], scores["cola"]["pair_accuracy"], scores["cola"]["pair_accuracy_n"]) == (4, 1, 2)


def test_the_constant_baseline_leaves_open_questions_empty(settings: EvaluateSettings) -> None:
    settings.tasks = ["cad_qa", "single_image", "nlvr2"]
    evaluate(settings)
    assert {line["prediction"] for line in predictions(settings, "cad_qa")} == {""}
    assert {line["prediction"] for line in predictions(settings, "single_image")} == {"red"}
    assert {line["prediction"] for line in predictions(settings, "nlvr2")} == {"True"}


@pytest.mark.skipif(not QUESTIONS.is_dir(), reason="../shared/data/questions is not beside the checkout")
def test_the_constant_baseline_scores_as_the_papers_files_say(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for name, task in (("BISON", "bison"), ("COLA", "cola")):
        for line in (QUESTIONS / f"{name}.jsonl").open():
            for image in json.loads(line)["image"]:
                (tmp_path / image).write_bytes(PICTURE["bytes"])
        rows += read_questions(QUESTIONS / f"{name}.jsonl", tmp_path, task)
    write_questions(rows, tmp_path / "data")
    settings = EvaluateSettings("constant", str(tmp_path / "data"), tmp_path / "out", tasks=["bison", "cola"])
    scores = evaluate(settings)
    assert scores["bison"]["accuracy"] == pytest.approx(83 / 150)
    assert (scores["bison"]["unreadable"], scores["bison"]["n"]) == (0, 150)
    assert (scores["cola"]["accuracy"], scores["cola"]["pair_accuracy"]) == (0.5, 0)
    assert (scores["cola"]["n"], scores["cola"]["pair_accuracy_n"]) == (420, 210)


def test_every_set_may_have_a_place_of_its_own(settings: EvaluateSettings, tmp_path: Path) -> None:
    write_questions([row("bison", 0)], tmp_path / "other")
    settings.data = {"bison": str(tmp_path / "other"), "nlvr2": str(settings.data)}
    scores = evaluate(settings)
    assert {task: metrics["n"] for task, metrics in scores.items()} == {"bison": 1, "nlvr2": 4}


def test_a_partial_set_is_scored_on_demand_only_and_says_so(settings: EvaluateSettings) -> None:
    missing = Drops()
    missing.add("no picture", "question 9")
    write_questions([row("bison", 0), row("bison", 1)], Path(str(settings.data)), missing)
    settings.tasks = ["bison"]
    with pytest.raises(InputError, match=r"1 question\(s\) are missing"):
        evaluate(settings)
    settings.allow_partial = True
    assert evaluate(settings)["bison"]["questions"] == "partial: 1 missing"


def test_questions_come_from_a_hub_repo_by_its_id(settings: EvaluateSettings, hub: LoopbackHub) -> None:
    settings.tasks = ["cola", "nlvr2"]
    local = evaluate(settings)
    HfApi().create_repo("tester/cad-eval", repo_type="dataset")
    HfApi().upload_folder(repo_id="tester/cad-eval", repo_type="dataset", folder_path=str(settings.data))
    settings.data = "tester/cad-eval"
    assert evaluate(settings) == local
    assert any("cola/test.parquet" in request for request in hub.requests)


def test_bad_settings_are_named(settings: EvaluateSettings, tmp_path: Path) -> None:
    settings.tasks = ["bisom"]
    with pytest.raises(InputError, match="unknown: bisom"):
        evaluate(settings)
    with pytest.raises(InputError, match="no place for cola"):
        evaluate(replace(settings, tasks=["cola"], data={"bison": str(settings.data)}))
    settings.tasks = ["bison"]
    settings.data = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"question set 'bison' of .*nowhere"):
        evaluate(settings)
    (tmp_path / "file").write_text("")
    settings.out = tmp_path / "file"
    with pytest.raises(InputError, match="cannot be written"):
        evaluate(settings)
