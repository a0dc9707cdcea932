"""Uploads that are cut short, in many commits, and read back in part."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download

from cadvi_hub.builder.folder import open_build_folder
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.parquet import ROWS_PER_GROUP
from cadvi_hub.core.schema import v1_features
from cadvi_hub.hub.dataset_card import UNFINISHED
from cadvi_hub.hub.loopback import LoopbackHub
from tests.support.hub_folders import (
    ALL_FILES,
    LARGE,
    REPO,
    card_lines,
    commits,
    files,
    publish_data,
    v1_row,
    write_data,
)

PUBLISH = """
import cadvi_hub.cli, cadvi_hub.hub.upload
cadvi_hub.hub.upload.FILES_PER_COMMIT = 3
cadvi_hub.cli.main()
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


def uploads(hub: LoopbackHub) -> list[str]:
    return [request for request in hub.requests if request.startswith("PUT /lfs/")]


def kill_publishing(hub: LoopbackHub, data: Path, matching: str, after: int) -> None:
    """Publish in a process of its own, and kill it while the Hub has such a request in hand."""
    held = hub.hold(matching, after)
    settings = {"--kind": "dataset", "--folder": str(data), "--repo_id": REPO}
    command = [sys.executable, "-c", PUBLISH, "publish", *(word for pair in settings.items() for word in pair)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        while not held.wait(0.1):
            assert process.poll() is None, process.communicate()[1]
        process.kill()
    hub.restore_connection()


def test_after_kill_9_a_rerun_sends_only_what_is_missing_and_no_half_set_loads(
    hub: LoopbackHub, data: Path, tmp_path: Path
) -> None:
    kill_publishing(hub, data, "PUT /lfs/", after=4)  # the second batch has one of its three files
    first_batch = {"cad_qa/test-00000-of-00001.parquet", *(f"v1/train-0000{n}-of-00003.parquet" for n in (0, 1))}
    assert files() == {"README.md", *first_batch}
    for streaming in (False, True):
        with pytest.raises(FileNotFoundError, match=UNFINISHED):
            load_dataset(REPO, "v1", split="train", streaming=streaming, cache_dir=str(tmp_path / "cache"))
    assert "This data set is being uploaded" in "\n".join(card_lines())
    before = len(commits())
    kill_publishing(hub, data, "/commit/", after=0)
    assert len(uploads(hub)) == 5 + 2
    assert len(commits()) == before
    published = publish_data(data)
    assert files() == ALL_FILES
    assert set(published.uploaded) == ALL_FILES - first_batch
    sent = Counter(uploads(hub))
    assert len(sent) == len(LARGE)
    assert sorted(sent.values()) == [1] * (len(sent) - 1) + [
        2
    ]  # twice: the file that was in the air at the first kill
    assert len(load_dataset(REPO, "v1", split="train")) == 6
    assert not any("being uploaded" in line for line in card_lines())


@pytest.mark.parametrize(
    ("matching", "after", "during"),
    [("PUT /lfs/", 2, "request"), ("PUT /lfs/", 1, "answer"), ("/commit/", 0, "request"), ("/commit/", 0, "answer")],
)
def test_after_a_cut_connection_a_rerun_completes(
    hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch, matching: str, after: int, during: Any
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the client's pauses between retries take no time
    hub.cut_connection(matching, after, during)
    with pytest.raises(InputError, match=rf"dataset {REPO} on http.*the connection was lost.*Run it again") as problem:
        publish_data(data)
    assert hub.token not in str(problem.value)
    hub.restore_connection()
    kept = len(list(hub.store.contents.iterdir()))
    hub.requests.clear()
    publish_data(data)
    assert files() == ALL_FILES
    assert len(uploads(hub)) == len(LARGE) - (kept - 1 if "lfs" in matching else len(LARGE))
    assert len(commits()) == 2
    for path in ALL_FILES:
        if path.endswith(".parquet"):
            assert Path(hf_hub_download(REPO, path, repo_type="dataset")).read_bytes() == (data / path).read_bytes()


@pytest.mark.parametrize("status", [429, 503, 504])
@pytest.mark.parametrize(
    ("matching", "late"), [("/tree/", False), ("/commit/", False), ("/commit/", True), ("/preupload/", False)]
)
def test_a_busy_hub_is_asked_again_after_the_time_that_it_names(
    hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch, matching: str, late: bool, status: int
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    hub.be_busy(matching, 2, status, late=late)
    published = publish_data(data)
    assert waited.count(4) == (1 if late else 2)  # three seconds, and one because the Hub rounds
    assert files() == ALL_FILES
    assert published.commit == commits()[0]
    assert len(commits()) == 2  # a commit that was made before the Hub answered that it is busy is not made again


def test_a_hub_that_stays_busy_ends_the_upload(hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.be_busy("/commit/", 1000)
    with pytest.raises(InputError, match=r"the Hub answered 503.*Run it again"):
        publish_data(data)


def test_a_rerun_reads_only_files_that_changed(hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_data(data)
    read: list[str] = []
    add = CommitOperationAdd.__post_init__

    def note(self: CommitOperationAdd) -> None:
        if isinstance(self.path_or_fileobj, Path):
            read.append(self.path_in_repo)
        add(self)

    monkeypatch.setattr(CommitOperationAdd, "__post_init__", note)
    assert publish_data(data).uploaded == ()
    assert read == []
    changed = data / next(path for path in LARGE if path.endswith(".parquet"))
    os.utime(changed, ns=(0, 0))
    assert publish_data(data).uploaded == ()
    assert [data / path for path in read] == [changed]


def test_a_file_that_vanishes_meanwhile_is_named_and_not_the_connection(
    hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = HfApi.preupload_lfs_files

    def vanish(self: HfApi, repo_id: str, additions: Any, **rest: Any) -> None:
        Path(additions[0].path_or_fileobj).unlink()
        send(self, repo_id, additions, **rest)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", vanish)
    with pytest.raises(InputError, match=r"\.parquet: it cannot be read \(No such file or directory\)"):
        publish_data(data)


def test_many_files_go_up_in_bounded_commits(hub: LoopbackHub, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cadvi_hub.hub.upload.FILES_PER_COMMIT", 4)
    assert publish_data(data).commit == commits()[0]
    assert len(commits()) == 1 + 1 + 3  # the first, the notice that files are going up, nine files
    assert files() == ALL_FILES
    assert publish_data(data).uploaded == ()


def test_streaming_reads_a_small_part_of_a_large_shard_for_its_first_row(hub: LoopbackHub, tmp_path: Path) -> None:
    noise = random.Random(0)
    rows = [v1_row(number % 256, id=f"row-{number}") for number in range(10 * ROWS_PER_GROUP)]
    for image in (image for row in rows for image in row["images"]):
        image["bytes"] += noise.randbytes(50_000)  # decoders pass over what follows a PNG's end
    folder = tmp_path / "data" / "v1"
    with open_build_folder(folder, "digest", overwrite=False) as build:
        build.write_part(0, rows, v1_features(), dict)
        build.lay_out([len(rows)], {"rows": len(rows), "digest": "digest"})
        build.finish()
    publish_data(tmp_path / "data")
    shard = folder / "train-00000-of-00001.parquet"
    metadata = pq.read_metadata(shard)
    assert max(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)) <= 100
    hub.sent.clear()
    first = next(iter(load_dataset(REPO, "v1", split="train", streaming=True)))
    assert first["id"] == "row-0"
    # `datasets` asks for 32 MB at least, and its file system for 5 MB more, however large the shard is.
    assert shard.stat().st_size > 100_000_000
    assert 0 < hub.sent["v1/train-00000-of-00001.parquet"] < 40_000_000
