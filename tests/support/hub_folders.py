"""Small data set folders as a build leaves them, and what a Hub has of them once they are published."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features
from huggingface_hub import DatasetCard, HfApi
from PIL import Image

from cadvi_hub.core.images import encode_png
from cadvi_hub.core.schema import cad_qa_features, message, v1_features, v2_features
from cadvi_hub.hub.publish import publish
from cadvi_hub.hub.settings import PublishSettings
from cadvi_hub.hub.upload import Published

REPO = "tester/cad-inst"
ALL_FILES = {
    "README.md",
    *(f"assets/{config}.jpg" for config in ("cad_qa", "v1", "v2")),
    "cad_qa/test-00000-of-00001.parquet",
    *(f"{config}/build.json" for config in ("cad_qa", "v1", "v2")),
    *(f"v1/train-0000{shard}-of-00003.parquet" for shard in range(3)),
    "v2/train-00000-of-00001.parquet",
}
LARGE = [path for path in ALL_FILES if path.endswith((".parquet", ".jpg"))]  # what goes up before its commit
HOSTILE = "<script>alert(1)</script> `code` | cell\n---\n# [a](http://evil.example) ![b](x) **c** {{ 7 * 7 }} :tada:"


def row(number: int, **columns: Any) -> dict[str, Any]:
    images = [
        {"bytes": encode_png(Image.new("RGB", (4, 4), (number, side, 0))), "path": f"{number}_{side}.png"}
        for side in (0, 1)
    ]
    return {
        "id": f"row-{number}",
        "images": images,
        "source": "scenes",
        "commonalities": "Both show a red square.",
        "differences": [{"aspect": "Counts", "text": "one square and two squares"}],
        "shared_nouns": ["square"],
        "annotator": "mentions@1",
        "prompt_hash": "ab" * 32,
        "decoding": '{"temperature": 0.0}',
        **columns,
    }


def referred(*names: str | None) -> dict[str, Any]:
    """The column of a row that names its pictures and does not hold them."""
    return {"images": [{"bytes": None, "path": name} for name in names]}


def messages() -> list[Any]:
    return [message("user", "<image> and <image>: compare."), message("assistant", "Both show a red square.")]


def v1_row(number: int, **columns: Any) -> dict[str, Any]:
    return row(number, messages=messages(), captions=["a red square", "two red squares"], **columns)


def cad_qa_row(number: int, **columns: Any) -> dict[str, Any]:
    texts = {"question": "What differs?", "answer": "The count."}
    return row(number, captions=["a red square", "two red squares"], **{**texts, **columns})


def write_config(folder: Path, features: Features, shards: list[list[dict[str, Any]]], split: str, build: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, rows in enumerate(shards):
        name = f"{split}-{index:05}-of-{len(shards):05}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=features.arrow_schema), folder / name)
    (folder / "build.json").write_text(json.dumps({"rows": sum(map(len, shards)), **build}))


def write_data(folder: Path) -> Path:
    """Three configs, and a work folder that nobody should see."""
    shards = [[v1_row(n) for n in range(start, start + 2)] for start in (0, 2, 4)]
    drops = {
        "drops": {"too_short": {"count": 7, "first": ["captions.jsonl, line 3"]}, "refusal": 2},
        "digest": "0123abcd",
        "files": ["train-00000-of-00003.parquet"],
        "note": f"from {folder.parent}/captions.jsonl, {folder.parent}/images and https://example.org/a/b",
    }
    write_config(folder / "v1", v1_features(), shards, "train", drops)
    v2 = row(9, messages=messages(), context="a square is gone")
    write_config(folder / "v2", v2_features(), [[v2]], "train", {})
    notes = {"notes": {HOSTILE: HOSTILE}}
    write_config(folder / "cad_qa", cad_qa_features(), [[cad_qa_row(20), cad_qa_row(21)]], "test", notes)
    (folder / "_work").mkdir()
    (folder / "_work" / "replies.parquet").write_bytes(b"not for others")
    return folder


def publish_data(data: Path, **settings: Any) -> Published:
    return publish(PublishSettings(folder=data, repo_id=REPO, kind="dataset", **settings))


def commits() -> list[str]:
    return [commit.commit_id for commit in HfApi().list_repo_commits(REPO, repo_type="dataset")]


def files() -> set[str]:
    return set(HfApi().list_repo_files(REPO, repo_type="dataset")) - {".gitattributes"}


def card_lines() -> list[str]:
    return str(DatasetCard.load(REPO, ignore_metadata_errors=False).text).splitlines()
