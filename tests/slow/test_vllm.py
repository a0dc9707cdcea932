"""A build with a real LLM behind a real vLLM server, through which both server and builder are killed.

SmolLM2's prose is poor; what counts is that every row is valid, every drop counted, and no answer lost. The server
lives in an environment of its own (`make vllm`); the model comes with a package from the registry.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cadvi_hub.hub.loopback import LoopbackHub
from tests.slow.vllm_server import PYTHON, VllmServer, smollm2, wait_for

DATA = Path(__file__).parents[3] / "shared" / "data" / "captioned_images"
PAIRS = 12
REPO = "test-org/cad-smollm2"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no server environment; `make vllm` makes it"),
    pytest.mark.skipif(not DATA.exists(), reason="no captioned_images in ../shared/data"),
]


def build_command(out: Path, server: VllmServer) -> list[str]:
    keys = {
        "source.path": DATA,
        "source.name": "tuxpaint_stamps",
        "pairs.min_shared": 1,
        "pairs.max_uses_per_image": 1,  # else two pairs have the same captions, and one request
        "annotator.kind": "server",
        "annotator.model": "smollm2",
        "annotator.base_url": f"{server.address}/v1",
        "annotator.json_schema": "true",
        "annotator.max_tokens": 384,
        "annotator.concurrency": 2,
        "annotator.max_retries": 1,
        "rows_per_shard": 5,
        "max_rows": PAIRS,
        "out": out,
    }
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    return [str(Path(sys.executable).with_name("cadvi")), "build", "v1", *words]


class Builder:
    """A build in a process of its own, whose stderr is a terminal, so that it shows its progress."""

    def __init__(self, out: Path, server: VllmServer):
        self.out = out
        self._terminal, its_end = pty.openpty()
        termios.tcsetwinsize(its_end, (24, 160))
        self.process = subprocess.Popen(build_command(out, server), stdout=subprocess.DEVNULL, stderr=its_end)
        os.close(its_end)

    def wait_for_replies(self, number: int) -> None:
        wait_for(f"{number} replies are stored", lambda: stored(self.out) >= number, self.process)

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> tuple[int, str]:
        """Exit status, and what was shown."""
        shown = b""
        with contextlib.suppress(OSError):  # so ends a terminal whose other end is closed
            while some := os.read(self._terminal, 65536):
                shown += some
        os.close(self._terminal)
        return self.process.wait(), shown.decode()


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
    last_shown: str
    answered_after_restart: int
    tokens_after_restart: tuple[int, int]


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Survived]:
    folder = tmp_path_factory.mktemp("vllm")
    out = folder / "out"
    grammar = json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})
    options = {"max_model_len": 2048, "max_num_seqs": 4, "structured_outputs_config": grammar}
    server = VllmServer(smollm2(), folder / "vllm.log", served_model_name="smollm2", **options)
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
        last_status, shown = Builder(out, server).end()
        assert last_status == 0, shown
        answered = server.counted("request_success", finished_reason="(?:stop|length)")
        tokens = server.counted("prompt_tokens"), server.counted("generation_tokens")
        yield Survived(out, after_builder, after_server, status, error, shown, answered, tokens)
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


def test_usage_is_shown_in_the_progress_bar_and_summed_as_the_server_counts_it(survived: Survived) -> None:
    bar = r"\rsmollm2: .*?[\d,]+ \+ [1-9][\d,]* tokens, [1-9][\d,]* tokens/s, [0-2] in flight, 0 failed\]"
    assert re.search(bar, survived.last_shown)
    total = r"smollm2: (\d+) replies in [\d.]+ s, 0 failed; ([\d,]+) \+ ([\d,]+) tokens"
    shards = re.findall(total, survived.last_shown)
    counted = [sum(int(count.replace(",", "")) for count in counts) for counts in zip(*shards, strict=True)]
    assert counted == [survived.answered_after_restart, *survived.tokens_after_restart]


def test_every_whole_reply_follows_the_json_schema(survived: Survived) -> None:
    from cadvi_hub.core.schema import Aspect

    with sqlite3.connect(survived.out / "replies.sqlite") as database:
        replies = database.execute("SELECT text FROM replies WHERE finish_reason = 'stop'").fetchall()
    assert replies
    for (text,) in replies:
        summary = json.loads(text)
        assert list(summary) == ["commonalities", "differences"]
        assert all(difference.keys() == {"aspect", "text"} for difference in summary["differences"])
        assert {difference["aspect"] for difference in summary["differences"]} <= set(Aspect)


def test_every_row_is_valid_and_every_drop_counted(survived: Survived) -> None:
    from datasets import load_dataset

    from cadvi_hub.core.schema import Aspect, v1_features

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

    from cadvi_hub.hub.publish import publish
    from cadvi_hub.hub.settings import PublishSettings

    publish(PublishSettings(survived.out, REPO, "dataset", license="gpl-2.0"))
    local = load_dataset("parquet", data_files=str(survived.out / "v1" / "*.parquet"), split="train")
    remote = load_dataset(REPO, "v1", split="train")
    assert list(remote["messages"]) == list(local["messages"])
    assert [[image.size for image in row] for row in remote["images"]] == [
        [image.size for image in row] for row in local["images"]
    ]
