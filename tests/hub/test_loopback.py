"""The loopback Hub answers the real clients as the real Hub does."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from cadvi_hub.hub.loopback import LoopbackHub

REPO = "tester/things"


@pytest.fixture
def api(hub: LoopbackHub) -> HfApi:
    assert hub.endpoint == constants.ENDPOINT
    api = HfApi()
    api.create_repo(REPO, repo_type="dataset")
    return api


def upload(api: HfApi, path: str, data: bytes) -> str:
    return api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=REPO, repo_type="dataset").oid


def download(path: str, revision: str = "main") -> bytes:
    return Path(hf_hub_download(REPO, path, repo_type="dataset", revision=revision)).read_bytes()


def test_regular_and_lfs_files_come_back_as_they_were_sent(api: HfApi) -> None:
    upload(api, "notes/a b.txt", "Grüße".encode())
    upload(api, "data/x.parquet", bytes(range(256)) * 40)
    assert download("notes/a b.txt").decode() == "Grüße"
    assert download("data/x.parquet") == bytes(range(256)) * 40
    listed = {file.path for file in api.list_repo_tree(REPO, repo_type="dataset", recursive=True)}
    assert listed == {".gitattributes", "data", "data/x.parquet", "notes", "notes/a b.txt"}
    parquet, text = api.get_paths_info(REPO, ["data/x.parquet", "notes/a b.txt"], repo_type="dataset")
    assert isinstance(parquet, RepoFile)
    assert isinstance(text, RepoFile)
    assert parquet.lfs is not None
    assert (parquet.lfs.size, text.lfs) == (256 * 40, None)


def test_every_commit_keeps_its_own_files(api: HfApi) -> None:
    first = upload(api, "a.txt", b"one")
    api.create_tag(REPO, tag="v1", repo_type="dataset")
    changes = [CommitOperationAdd("a.txt", b"two"), CommitOperationAdd("b/c.txt", b"three")]
    api.create_commit(REPO, changes, commit_message="Change", repo_type="dataset")
    api.create_commit(REPO, [CommitOperationDelete("b/")], commit_message="Delete", repo_type="dataset")
    assert [download("a.txt", revision=revision) for revision in (first, "v1", "main")] == [b"one", b"one", b"two"]
    assert "b/c.txt" not in api.list_repo_files(REPO, repo_type="dataset")
    titles = [commit.title for commit in api.list_repo_commits(REPO, repo_type="dataset")]
    assert titles == ["Delete", "Change", "Upload a.txt with huggingface_hub", "initial commit"]


def test_a_range_of_a_file_is_read_without_the_rest(api: HfApi) -> None:
    upload(api, "x.parquet", bytes(range(256)))
    with HfFileSystem().open(f"datasets/{REPO}/x.parquet", block_size=16) as file:
        file.seek(100)
        assert file.read(5) == bytes(range(100, 105))
    url = f"{constants.ENDPOINT}/datasets/{REPO}/resolve/main/x.parquet"
    answer = httpx.get(url, headers={"Range": "bytes=250-"}, trust_env=False)
    assert (answer.status_code, answer.content) == (206, bytes(range(250, 256)))
    assert answer.headers["Content-Range"] == "bytes 250-255/256"


def test_what_is_missing_is_named_as_the_clients_expect(api: HfApi) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("tester/other")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(REPO, repo_type="dataset", revision="v9")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(REPO, "nothing.txt", repo_type="dataset")


def test_a_wrong_token_and_a_foreign_namespace_are_refused(api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        HfApi(token="hf_wrong").create_repo("tester/new")  # noqa: S106
    assert refused.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_repo("somebody-else/new")
    assert refused.value.response.status_code == 403


def test_a_private_repository_is_missing_for_strangers(api: HfApi) -> None:
    api.create_repo("test-org/secret", private=True)
    assert api.repo_info("test-org/secret").private
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=False).repo_info("test-org/secret")
    assert [model.id for model in api.list_models(author="test-org")] == ["test-org/secret"]
    assert list(HfApi(token=False).list_models(author="test-org")) == []


def test_a_commit_on_an_old_head_is_refused(api: HfApi) -> None:
    old = upload(api, "a.txt", b"one")
    upload(api, "a.txt", b"two")
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_commit(
            REPO,
            [CommitOperationAdd("a.txt", b"three")],
            commit_message="Late",
            parent_commit=old,
            repo_type="dataset",
        )
    assert refused.value.response.status_code == 412
    assert download("a.txt") == b"two"


def test_a_cut_request_does_nothing_and_a_cut_answer_does_all(api: HfApi, hub: LoopbackHub) -> None:
    hub.cut_connection("/commit/")
    with pytest.raises(httpx.TransportError):
        upload(api, "a.txt", b"one")
    hub.cut_connection("/commit/", during="answer")
    with pytest.raises(httpx.TransportError):
        upload(api, "b.txt", b"two")
    hub.restore_connection()
    assert set(api.list_repo_files(REPO, repo_type="dataset")) == {".gitattributes", "b.txt"}


def test_run_by_hand_it_prints_what_to_export_and_keeps_what_it_got(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cadvi_hub.hub.loopback", "--root", str(tmp_path), "--port", "0"]
    commits = []
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                words = server.stdout.readline().removeprefix("export ").split()
                settings = dict(word.split("=", 1) for word in words)
                api = HfApi(endpoint=settings["HF_ENDPOINT"], token=settings["HF_TOKEN"])
                repo = api.create_repo("kept", exist_ok=True)
                api.upload_file(path_or_fileobj=b"x", path_in_repo="x.bin", repo_id=repo.repo_id)
                commits.append(api.repo_info("tester/kept").sha)
            finally:
                server.terminate()
    assert commits[0] == commits[1]
    assert settings.keys() <= os.environ.keys()
