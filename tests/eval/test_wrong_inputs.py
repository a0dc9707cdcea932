"""A wrong model or place ends an evaluation in one plain line; runs that share a folder are not mixed."""

from dataclasses import replace
from pathlib import Path

import httpx
import huggingface_hub
import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import encode_png
from cadvi_hub.eval.benchmarks.stored import check_complete
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.training.adapters import local_model


@pytest.fixture
def settings(tmp_path: Path) -> EvaluateSettings:
    picture = {"bytes": encode_png(Image.new("RGB", (4, 4), "red")), "path": "a.png"}
    row = {"images": [picture] * 2, "question": "<image><image> Which?", "options": ["A", "B"], "answer": "A"}
    row |= {"id": "0", "category": "", "group": "0", "source": "test"}
    write_questions([row | {"task": "bison"}, row | {"task": "svo_probes", "category": "verb"}], tmp_path / "data")
    return EvaluateSettings(model="constant", data=str(tmp_path / "data"), out=tmp_path / "out")


def test_what_an_earlier_run_left_in_the_folder_does_not_pass_for_this_ones(settings: EvaluateSettings) -> None:
    evaluate(replace(settings, both_orders=True))
    predictions = settings.out / "predictions"
    assert len(list(predictions.iterdir())) == 4
    scores = evaluate(replace(settings, tasks=["bison"]))
    assert [file.name for file in predictions.iterdir()] == ["bison.jsonl"]
    assert list(scores) == ["bison"]


def test_a_stopped_run_leaves_the_scores_and_predictions_of_the_one_before_together(
    settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(settings)
    before = {path.name: path.read_bytes() for path in (settings.out / "predictions").iterdir()}
    scores = (settings.out / "results.json").read_bytes()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cadvi_hub.eval.evaluate.task_scores", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate(settings)
    assert (settings.out / "results.json").read_bytes() == scores
    assert {path.name: path.read_bytes() for path in (settings.out / "predictions").iterdir()} == before


def test_a_set_in_the_place_of_another_is_refused(settings: EvaluateSettings, tmp_path: Path) -> None:
    (tmp_path / "data/svo_probes").rename(tmp_path / "data/nlvr2")
    with pytest.raises(InputError, match="task nlvr2, question 0: it is a question of svo_probes"):
        evaluate(replace(settings, tasks=["nlvr2"]))


@pytest.mark.parametrize("place", ["{}/nowhere", "./nowhere", "../nowhere/model"])
def test_a_model_that_is_neither_a_folder_nor_a_name_of_the_hub_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(InputError, match=r"nowhere.*it is not there, or cannot be loaded"):
        local_model(place.format(tmp_path))


def test_a_hub_that_cannot_be_reached_is_told_with_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise httpx.ConnectError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfFileSystem, "glob", unreachable)
    with pytest.raises(InputError, match=r"'bison' of me/questions: cannot be read \(Name or service not known\)"):
        check_complete("me/questions", "bison")


@pytest.mark.parametrize("name", ["../../../evil", "..", "a/../b", "/evil", "a/b/c", "a\nb", "x" * 300])
def test_a_name_cannot_lead_out_of_the_folder(settings: EvaluateSettings, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="cannot name a model in the results"):
        evaluate(replace(settings, name=name))
    assert sorted(tmp_path.rglob("*")) == before
