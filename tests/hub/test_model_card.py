"""Models to a Hub and back: the base, an adapter on it, and what a card says of both."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import HfApi, ModelCard, hf_hub_download, parse_eval_result_entries
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.hub.eval_results import MAIN_METRICS
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.hub.publish import publish
from cadvi_hub.hub.settings import PublishSettings
from cadvi_hub.hub.upload import Published
from tests.support.tiny_llava import make_tiny_llava

BASE, ADAPTER, MERGED = "tester/tiny-base", "tester/tiny-adapter", "tester/tiny-merged"
HOSTILE = "<b>x</b> | `y`\n---\n"
HOSTILE_SHOWN = "&#60;b&#62;x&#60;/b&#62; &#124; &#96;y&#96; ---"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base/`, and a training's output: `run/` with an adapter, a checkpoint and the model merged from both."""
    folder = tmp_path_factory.mktemp("models")
    base = make_tiny_llava(folder / "base")
    model: Any = AutoModelForImageTextToText.from_pretrained(base)
    target = r".*language_model.*[qv]_proj"
    lora = LoraConfig(r=4, target_modules=target, modules_to_save=["multi_modal_projector"], init_lora_weights=False)
    tuned: Any = get_peft_model(model, lora)
    run = folder / "run"
    tuned.save_pretrained(run)
    processor = AutoProcessor.from_pretrained(base)
    processor.save_pretrained(run)
    curve = [{"step": step, "loss": 2.5 - step / 100} for step in range(151)]
    log = {
        "settings": {
            "learning_rate": 1e-4,
            "output_dir": str(run),
            "base_revision": "b" * 40,
            "mixture": {"v1": {"path": str(folder / "data"), "config": "v1"}},
            "data_revisions": {"v1": "sha256:abc"},
        },
        "rows": {"v1": 12, "older": 5},
        "cut": {"v1": {"later turns": 2, "end of an answer": 0}},
        "steps": 10,
        "curve": curve,
    }
    (run / "training.json").write_text(json.dumps({**log, "dropped": {"v1": {HOSTILE: 3}}}))
    (run / "training_args.bin").write_bytes(b"pickle")
    (run / "checkpoint-10").mkdir()
    (run / "checkpoint-10" / "optimizer.pt").write_bytes(b"pickle")
    tuned.merge_and_unload().save_pretrained(run / "merged")
    processor.save_pretrained(run / "merged")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    def scores(value: float) -> dict[str, Any]:
        return {
            "bison": {"accuracy": value, "accuracy_interval": [value - 0.05, value + 0.05], "n": 150},
            "cola": {
                "pair_accuracy": value / 2,
                "pair_accuracy_interval": [0.1, 0.2],
                "pair_accuracy_n": 210,
                "n": 420,
            },
        }

    path = tmp_path / "results.json"
    path.write_text(json.dumps({"base": scores(0.5), "v1": scores(0.9375), HOSTILE: {"bison": {"accuracy": 0.25}}}))
    return path


def publish_model(folder: Path, repo_id: str, **settings: Any) -> Published:
    return publish(PublishSettings(folder=folder, repo_id=repo_id, kind="model", **settings))


def logits(model: Any, processor: Any) -> torch.Tensor:
    images = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    inputs = processor(text="<image> and <image>: what differs?", images=images, return_tensors="pt")
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**inputs).logits
    return found


def test_an_adapter_brings_its_base_from_the_hub(hub: LoopbackHub, models: Path) -> None:
    publish_model(models / "base", BASE)
    publish_model(models / "run", ADAPTER, base_model=BASE)
    publish_model(models / "run" / "merged", MERGED, base_model=BASE)
    local_base = AutoModelForImageTextToText.from_pretrained(models / "base")
    processor = AutoProcessor.from_pretrained(ADAPTER)
    base_logits = logits(local_base, processor)
    expected = logits(PeftModel.from_pretrained(local_base, models / "run"), processor)
    assert (expected - base_logits).abs().max() > 0.01

    base = AutoModelForImageTextToText.from_pretrained(BASE)
    assert torch.equal(logits(base, AutoProcessor.from_pretrained(BASE)), base_logits)
    assert torch.equal(logits(PeftModel.from_pretrained(base, ADAPTER), processor), expected)
    by_itself = AutoModelForImageTextToText.from_pretrained(ADAPTER)
    assert torch.equal(logits(by_itself, processor), expected)
    merged = logits(AutoModelForImageTextToText.from_pretrained(MERGED), AutoProcessor.from_pretrained(MERGED))
    torch.testing.assert_close(merged, expected, rtol=0, atol=1e-4)


def test_only_what_loads_the_model_is_published(
    hub: LoopbackHub, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    published = publish_model(models / "run", ADAPTER, base_model=BASE)
    assert published.left_out == ("training.json", "training_args.bin")
    assert "training_args.bin" in caplog.text
    files = set(HfApi().list_repo_files(ADAPTER)) - {".gitattributes"}
    assert files == set(published.uploaded)
    assert files == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for name in files:
        assert str(models).encode() not in Path(hf_hub_download(ADAPTER, name)).read_bytes(), name


def test_publishing_a_model_twice_changes_nothing(hub: LoopbackHub, models: Path) -> None:
    first = publish_model(models / "run", ADAPTER, base_model=BASE)
    again = publish_model(models / "run", ADAPTER, base_model=BASE)
    assert (again.commit, again.uploaded, again.unchanged) == (first.commit, (), len(first.uploaded))
    HfApi().upload_file(path_or_fileobj=b"mine", path_in_repo="notes.txt", repo_id=ADAPTER)
    HfApi().upload_file(path_or_fileobj=b"old", path_in_repo="model-00002-of-00002.safetensors", repo_id=ADAPTER)
    third = publish_model(models / "run", ADAPTER, base_model=BASE)
    assert third.deleted == ("model-00002-of-00002.safetensors",)
    assert "notes.txt" in HfApi().list_repo_files(ADAPTER)


def test_the_card_tells_training_and_scores(hub: LoopbackHub, models: Path, results: Path) -> None:
    publish_model(
        models / "run" / "merged",
        MERGED,
        base_model=BASE,
        datasets=["tester/cad-inst"],
        license="apache-2.0",
        results=results,
        results_model="v1",
    )
    card = ModelCard.load(MERGED)
    assert card.data.base_model == BASE
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "transformers")
    assert card.data.datasets == ["tester/cad-inst"]
    scores = {(score.dataset_name, score.metric_type): score.metric_value for score in card.data.eval_results}
    assert scores == {("bison", "accuracy"): 0.9375, ("cola", "pair_accuracy"): 0.46875}
    lines = card.text.splitlines()
    losses = [line for line in lines if re.fullmatch(r"\| \d+ \| [\d.]+ \|", line)]
    assert (len(losses), losses[0], losses[-1]) == (12, "| 0 | 2.5 |", "| 150 | 1 |")
    assert f"tuned from `{BASE}` at revision {'b' * 40}." in card.text
    assert "| settings.learning_rate | 0.0001 |" in lines
    assert "| settings.output_dir | run |" in lines
    assert f"| v1 | data, v1 | sha256&#58;abc | 12 | 3 rows: {HOSTILE_SHOWN} , later turns of 2 rows |" in lines
    assert "| older | not recorded | not recorded | 5 | nothing |" in lines
    assert "| bison | accuracy | 150 | 0.5 (0.45 to 0.55) | 0.9375 (0.8875 to 0.9875) | 0.25 |" in lines
    assert "| cola | pair_accuracy | 210 | 0.25 (0.1 to 0.2) | 0.4688 (0.1 to 0.2) |  |" in lines
    assert f"| task | metric | n | base | v1 | {HOSTILE_SHOWN} |" in lines
    assert yaml.safe_load(card.content.split("---\n")[1])["pipeline_tag"] == "image-text-to-text"


def test_scores_go_where_the_hub_shows_them(hub: LoopbackHub, models: Path, results: Path) -> None:
    where = {"results": results, "results_model": "v1", "results_dataset": "tester/cad-eval"}
    publish_model(models / "base", "tester/scored", **where)
    assert not publish_model(models / "base", "tester/scored", **where).uploaded
    file = hf_hub_download("tester/scored", ".eval_results/cad-eval.yaml")
    entries = parse_eval_result_entries(yaml.safe_load(Path(file).read_text()))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("tester/cad-eval", "bison", 93.75),
        ("tester/cad-eval", "cola", 46.88),
    ]
    assert entries[1].notes == "pair accuracy, 95 % interval 10.0–20.0, n 210"
    with pytest.raises(InputError, match=r"results_dataset: there are no results"):
        publish_model(models / "base", "tester/scored", results_dataset="tester/cad-eval")


def test_the_main_score_is_that_of_the_benchmark() -> None:
    for benchmark in BENCHMARKS.values():
        metrics = {column.metric for column in benchmark.columns}
        assert next(metric for metric in MAIN_METRICS if metric in metrics) == benchmark.columns[0].metric


def test_a_card_of_an_adapter_says_how_to_load_it(hub: LoopbackHub, models: Path) -> None:
    publish_model(models / "run", ADAPTER, base_model=BASE)
    card = ModelCard.load(ADAPTER)
    assert (card.data.library_name, card.data.base_model) == ("peft", BASE)
    assert f'base = AutoModelForImageTextToText.from_pretrained("{BASE}"' in card.text
    assert f'model = PeftModel.from_pretrained(base, "{ADAPTER}")' in card.text
    assert "| modules_to_save | multi_modal_projector |" in card.text.replace("&#46;", ".")


def test_what_cannot_be_published_is_named(hub: LoopbackHub, models: Path, results: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an adapter needs its base on the Hub"):
        publish_model(models / "run", ADAPTER)
    with pytest.raises(InputError, match="no such folder"):
        publish_model(tmp_path / "nothing", ADAPTER)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match=r"no weights as safetensors, only pytorch_model\.bin"):
        publish_model(tmp_path / "old", MERGED)
    with pytest.raises(InputError, match="it has no model None, only"):
        publish_model(models / "base", BASE, results=results)
    for wrong in ('{"bison": {"accuracy": 0.5}}', '{"bison": 0.5}'):
        results.write_text(wrong)
        with pytest.raises(InputError, match=r"is not results\[model\]\[task\]\[metric\]"):
            publish_model(models / "base", BASE, results=results)
    with pytest.raises(InputError, match="not a valid repository name"):
        publish_model(models / "base", BASE, base_model="a b")
    with pytest.raises(Exception, match="404"):
        HfApi().model_info(BASE)
