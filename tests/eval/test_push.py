"""Results and details on the Hub, as lighteval pushes them."""

import json
from pathlib import Path

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard, HfApi, hf_hub_download
from lighteval.tasks.requests import Doc

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.hub.loopback import LoopbackHub
from tests.eval.test_evaluate import Scripted, gold, row

REPO = "tester/details_scripted_private"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluateSettings:
    # the card is checked at huggingface.co whatever HF_ENDPOINT says
    monkeypatch.setattr(DatasetCard, "validate", lambda *_, **__: None)
    rows = [*(row("bison", index) for index in range(4)), row("cad_qa", 0)]
    write_questions(rows, tmp_path / "data")
    return EvaluateSettings("scripted", str(tmp_path / "data"), tmp_path / "out", results_org="tester")


def repo_files() -> list[str]:
    return HfApi().list_repo_files(REPO, repo_type="dataset")


def test_details_of_every_run_load_from_the_hub_and_tell_no_path_of_this_machine(
    hub: LoopbackHub, settings: EvaluateSettings, tmp_path: Path
) -> None:
    evaluate(settings, Scripted(lambda _: "A"))
    assert len(load_dataset(REPO, "cad_qa_0", split="latest")) == 1
    evaluate(settings, Scripted(gold))
    latest = load_dataset(REPO, "bison_0", split="latest", download_mode="force_redownload")
    assert [response["text"] for response in latest["model_response"]] == [["A"], ["B"], ["A"], ["B"]]
    assert len(load_dataset(REPO, "bison_0")) == 3  # two runs, the later of which is the latest
    runs = [name for name in repo_files() if name.endswith(".json")]
    assert len(runs) == 2
    pushed = [Path(hf_hub_download(REPO, name, repo_type="dataset")).read_text() for name in runs]
    assert {json.loads(text)["results"]["bison|0"]["accuracy"] for text in pushed} == {0.5, 1.0}
    assert not any(str(tmp_path) in text for text in pushed)
    assert HfApi().repo_info(REPO, repo_type="dataset").private
    settings.public = True
    evaluate(settings, Scripted(gold))
    assert not HfApi().repo_info(REPO.removesuffix("_private"), repo_type="dataset").private


def test_a_token_that_the_hub_refuses_is_told_before_anything_is_asked(
    hub: LoopbackHub, settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    asked: list[str] = []

    def answer(doc: Doc) -> str:
        asked.append(doc.query)
        return "A"

    with pytest.raises(InputError, match=r"results for tester on .*: the Hub refuses the token") as caught:
        evaluate(settings, Scripted(answer))
    assert not asked
    assert "hf_wrong" not in str(caught.value)


def test_an_owner_that_the_token_may_not_write_for_leaves_the_results_here(
    hub: LoopbackHub, settings: EvaluateSettings
) -> None:
    settings.results_org = "somebody"
    with pytest.raises(InputError, match="the token may not write there"):
        evaluate(settings, Scripted(gold))
    assert json.loads((settings.out / "results.json").read_text())["bison"]["accuracy"] == 1


def test_a_lost_connection_leaves_the_results_here_and_a_rerun_pushes_them(
    hub: LoopbackHub, settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's pauses between retries
    hub.cut_connection(matching="/lfs/")
    with pytest.raises(InputError, match=r"the connection was lost.*Run it again"):
        evaluate(settings, Scripted(gold))
    assert json.loads((settings.out / "results.json").read_text())["bison"]["accuracy"] == 1
    hub.restore_connection()
    evaluate(settings, Scripted(gold))
    assert len(load_dataset(REPO, "bison_0", split="latest")) == 4
