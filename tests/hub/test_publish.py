"""Publishing to a Hub and reading back with the real clients."""

import logging
import time
from pathlib import Path

import pytest
import yaml
from datasets import Dataset, load_dataset
from huggingface_hub import DatasetCard, HfApi

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_json, write_json
from cadvi_hub.core.manifest import manifest_of
from cadvi_hub.core.schema import cad_qa_features, v1_features, v2_features
from cadvi_hub.hub.loopback import LoopbackHub
from cadvi_hub.hub.publish import publish
from cadvi_hub.hub.settings import PublishSettings
from cadvi_hub.hub.upload import Published
from tests.support.hub_folders import (
    ALL_FILES,
    REPO,
    commits,
    files,
    messages,
    publish_data,
    row,
    v1_row,
    write_config,
    write_data,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.mark.parametrize("damaged", ["flipped", "cut"])
def test_a_file_that_is_not_as_it_was_built_is_not_published(hub: LoopbackHub, data: Path, damaged: str) -> None:
    folder = data / "v1"
    record = read_json(folder / "build.json") | {"files": manifest_of(folder, folder.glob("*.parquet"))}
    write_json(folder / "build.json", record)
    publish_data(data)
    before, file = commits(), folder / "train-00001-of-00003.parquet"
    content = file.read_bytes()
    at = content.index(b"\x00\x00\x00\rIHDR") + 20  # in a picture, so that the file can still be read
    changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    file.write_bytes(changed if damaged == "flipped" else content[:-10])
    problem = "its content is not what was built" if damaged == "flipped" else "bytes instead of"
    with pytest.raises(InputError, match=rf"v1.*{problem}"):
        publish_data(data, sample=False)
    assert commits() == before
    file.write_bytes(content)
    assert publish_data(data).uploaded == ()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's pauses between retries take no time."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_every_config_loads_whole_and_streaming_with_its_features(hub: LoopbackHub, data: Path) -> None:
    publish_data(data)
    assert files() == ALL_FILES
    expected = {
        "v1": (v1_features(), "train", 6),
        "v2": (v2_features(), "train", 1),
        "cad_qa": (cad_qa_features(), "test", 2),
    }
    for config, (features, split, rows) in expected.items():
        whole = load_dataset(REPO, config)
        assert {name: len(part) for name, part in whole.items()} == {split: rows}
        assert whole[split].features == features
        streamed = load_dataset(REPO, config, split=split, streaming=True)
        assert streamed.features == features
        assert list(streamed) == list(whole[split])
    first = load_dataset(REPO, "v1", split="train")[0]
    assert [image.getpixel((0, 0)) for image in first["images"]] == [(0, 0, 0), (0, 1, 0)]
    assert first["messages"] == messages()


def test_the_card_says_what_was_counted(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    publish_data(data, license="cc-by-4.0")
    card = DatasetCard.load(REPO)
    assert card.data.license == "cc-by-4.0"
    assert card.data.size_categories == ["n<1K"]
    assert {config["config_name"]: config["data_files"] for config in card.data.configs} == {
        "v1": [{"split": "train", "path": "v1/train-*.parquet"}],
        "v2": [{"split": "train", "path": "v2/train-00000-of-00001.parquet"}],
        "cad_qa": [{"split": "test", "path": "cad_qa/test-00000-of-00001.parquet"}],
    }
    lines = card.text.splitlines()
    assert "| v1 | 6 | 10 | 5 | 5 |" in lines
    assert "| paper, V1 | 278K | 157 | 40 | 117 |" in lines
    assert "| v1 | Counts | 100.0% |" in lines
    assert "| v1 | mentions&#64;1 | " + "ab" * 32 + ' | {"temperature": 0.0} | 6 |' in lines
    assert "| v1 | scenes | 6 |" in lines
    assert "| too_short | 7 |" in lines
    assert "| digest | 0123abcd |" in lines
    assert "| note | from captions.jsonl, images and https&#58;//example.org/a/b |" in lines
    assert "line 3" not in card.text
    assert str(tmp_path) not in card.content


def test_hostile_text_stays_text(hub: LoopbackHub, data: Path) -> None:
    publish_data(data)
    card = DatasetCard.load(REPO)
    _, head, text = card.content.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "other"
    for mark in ("<", "`code`", "[a]", "http:", "**c**", "49"):
        assert mark not in text.split("## Build of cad_qa")[1]
    table = [line for line in text.splitlines() if "alert" in line]
    assert len(table) == 1
    assert table[0].count("|") == 3


def test_publishing_twice_changes_nothing(hub: LoopbackHub, data: Path) -> None:
    first = publish_data(data)
    assert set(first.uploaded) == ALL_FILES
    assert first.url == f"{hub.endpoint}/datasets/{REPO}"
    hub.requests.clear()
    again = publish_data(data)
    assert again == Published(first.url, first.commit, (), len(ALL_FILES), ())
    assert str(again) == f"{first.url}: files uploaded 0, unchanged {len(ALL_FILES)}, deleted 0; commit {first.commit}"
    assert not [request for request in hub.requests if request.startswith("PUT") or "/commit/" in request]
    assert commits()[0] == first.commit


def test_a_smaller_build_leaves_no_old_shard_behind(hub: LoopbackHub, data: Path) -> None:
    publish_data(data)
    for path in (data / "v1").glob("*.parquet"):
        path.unlink()
    write_config(data / "v1", v1_features(), [[v1_row(50)]], "train", {})
    published = publish_data(data)
    assert published.deleted == tuple(sorted(path for path in ALL_FILES if path.startswith("v1/train")))
    assert load_dataset(REPO, "v1", split="train")["id"] == ["row-50"]


def test_a_config_that_only_the_hub_has_is_never_dropped(hub: LoopbackHub, data: Path) -> None:
    publish_data(data)
    for path in (data / "v2").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="config 'v2'"):
        publish_data(data)
    assert files() == ALL_FILES


def test_a_folder_that_no_build_made_is_published_too(hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "questions" / "bison").mkdir(parents=True)
    rows = Dataset.from_dict({"question": ["A or B?"], "answer": ["A"]})
    rows.to_parquet(tmp_path / "questions" / "bison" / "test.parquet")
    publish(PublishSettings(folder=tmp_path / "questions", repo_id="test-org/questions", kind="dataset", private=True))
    assert HfApi().dataset_info("test-org/questions").private
    assert load_dataset("test-org/questions", "bison", split="test")[0] == {"question": "A or B?", "answer": "A"}


def test_a_bad_token_is_refused_and_never_told(
    hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    with pytest.raises(InputError) as problem:
        publish_data(data)
    expected = f"dataset {REPO} on {hub.endpoint}: the Hub refuses the token. Set HF_TOKEN or run `hf auth login`"
    assert str(problem.value).startswith(expected)
    assert "wrongwrong" not in str(problem.value) + caplog.text


def test_the_token_is_in_no_card_and_no_log(hub: LoopbackHub, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    publish_data(data)
    assert hub.token not in caplog.text + DatasetCard.load(REPO).content
    write_config(data / "v2", v2_features(), [[row(9, messages=messages(), context="")]], "train", {"key": hub.token})
    with pytest.raises(InputError, match="your access token") as problem:
        publish_data(data)
    assert hub.token not in str(problem.value)


@pytest.mark.parametrize(
    ("repo_id", "problem"),
    [
        ("somebody-else/data", "the token may not write there"),
        ("no owner/data", "not a valid repository name"),
        ("data", "it has no owner"),
    ],
)
def test_a_repository_that_cannot_be_is_named(hub: LoopbackHub, data: Path, repo_id: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as raised:
        publish(PublishSettings(folder=data, repo_id=repo_id, kind="dataset"))
    assert repo_id in str(raised.value)


@pytest.mark.usefixtures("impatient")
def test_a_hub_that_is_not_there_is_named(hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"on http://127\.0\.0\.1:1: the connection was lost"):
        publish_data(data)


def test_a_half_built_folder_is_refused(hub: LoopbackHub, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sub-folder holds parquet"):
        publish_data(tmp_path / "nothing")
    shard = data / "v1" / "train-00002-of-00003.parquet"
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(InputError, match=r"2 files of train, but their names say \[3\]"):
        publish_data(data)
    shard.write_bytes(content[:-20])
    with pytest.raises(InputError, match="does not read as parquet"):
        publish_data(data)
    shard.write_bytes((data / "v2" / "train-00000-of-00001.parquet").read_bytes())
    with pytest.raises(InputError, match="columns differ"):
        publish_data(data)
    shard.write_bytes((data / "v1" / "train-00000-of-00003.parquet").read_bytes())
    (data / "v1" / "build.json").write_text('{"rows": 7}')
    with pytest.raises(InputError, match="counts 7 rows, but the files hold 6"):
        publish_data(data)
    (data / "v1" / "_work").mkdir()
    (data / "v1" / "build.json").unlink()
    with pytest.raises(InputError, match="its build is not finished"):
        publish_data(data)
    (data / "v1" / "build.json").write_text('{"rows"')
    with pytest.raises(InputError, match="it is not JSON"):
        publish_data(data)
    with pytest.raises(Exception, match="404"):
        HfApi().dataset_info(REPO)
