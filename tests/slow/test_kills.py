"""kill -9 at random moments.

Of builder, worker and server: no row lost, none twice, hardly any asked again.
Of the build of a question set: the same bytes.
"""

import collections
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.faults.record import Faults
from tests.support.builds import picture

pytestmark = pytest.mark.slow

KILLS, CONCURRENCY, WORKERS = 20, 4, 2
KIND = "kill -9"
SERVER = """
import contextlib, hashlib, json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self):
        with contextlib.suppress(ConnectionError):  # whoever asked was killed
            super().handle()

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = hashlib.sha256(json.dumps(request["messages"]).encode()).hexdigest()
        with open(sys.argv[2], "a") as log:
            log.write(name + "\\n")
        time.sleep(float(sys.argv[3]))
        text = f"Commonalities:\\nBoth show things number {name[:8]} of some kind.\\n\\nDifferences:\\n"
        text += f"1. Attributes: Image 1 shows {name[8:16]}, while image 2 shows {name[16:24]}."
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "0", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        body["usage"] = usage
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def draw_captioned(folder: Path, number: int) -> None:
    rng = random.Random(0)
    things = ["dog", "cat", "boat", "tree", "house", "horse", "car", "bird", "lamp", "chair", "table", "kite"]
    (folder / "images").mkdir(parents=True)
    with (folder / "captions.jsonl").open("w") as file:
        for k in range(number):
            picture(folder / f"images/{k}.png", k % 256)
            one, two, three = rng.sample(things, 3)
            caption = f"A {one} by a {two} and a {three}, no. {k}."
            row = {"image_id": str(k), "caption": caption, "image": f"images/{k}.png"}
            file.write(json.dumps(row) + "\n")


@pytest.fixture
def port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def rows_of(folder: Path) -> list[dict[str, Any]]:
    columns = ["id", "commonalities", "differences", "captions", "messages"]
    files = sorted(folder.glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, columns=columns).to_pylist()]


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Its worker processes that live, without the tracker that Python starts beside them."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except FileNotFoundError:
        return []


def test_twenty_kills_lose_no_row_and_repeat_none(tmp_path: Path, port: int, faults: Faults) -> None:
    count = faults(KIND)
    draw_captioned(tmp_path / "source", 400)
    asked = tmp_path / "asked"
    asked.touch()

    def serve(
        seconds: float = 0.6,
    ) -> subprocess.Popen[bytes]:  # per reply; so all kills hit the build
        return subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(asked), str(seconds)])

    def start(out: Path, workers: int = WORKERS) -> subprocess.Popen[bytes]:
        keys = {
            "source.path": tmp_path / "source",
            "source.name": "things",
            "out": out,
            "pairs.min_shared": 1,
            "annotator.kind": "server",
            "annotator.model": "m",
            "annotator.base_url": f"http://127.0.0.1:{port}/v1",
            "annotator.concurrency": CONCURRENCY,
            "rows_per_shard": 20,
            "workers": workers,
        }
        options = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
        with (tmp_path / "log").open("a") as log:
            return subprocess.Popen([sys.executable, "-m", "cadvi_hub.cli", "build", "v1", *options], stderr=log)

    server = serve()
    rng = random.Random(20)
    killed: collections.Counter[str] = collections.Counter()
    try:
        builder = start(tmp_path / "out")
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.5, 9))
            if builder.poll() is not None:
                assert builder.returncode, "the build ended before all kills"
                builder = start(tmp_path / "out")
                time.sleep(rng.uniform(4, 9))
            target = rng.choice(["builder", "worker", "server"])
            workers = workers_of(builder)
            if target == "server":
                server.kill()
                server.wait()
                time.sleep(rng.uniform(0, 2))
                server = serve()
            elif target == "worker" and workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                builder.wait(timeout=60)
            else:
                target = "builder"
                builder.kill()
                builder.wait()
            killed[target] += 1
            if builder.poll() is not None:
                builder = start(tmp_path / "out")
        for _ in range(3):  # one that lost its server may have given up
            if builder.wait(timeout=300) == 0:
                break
            builder = start(tmp_path / "out")
        assert builder.returncode == 0, (tmp_path / "log").read_text()[-2000:]
        requests = collections.Counter(asked.read_text().split())
        asked.write_text("")
        server.kill()
        server.wait()
        server = serve(0)
        assert start(tmp_path / "clean", workers=1).wait(timeout=300) == 0
    finally:
        server.kill()
        builder.kill()
    survived, clean = rows_of(tmp_path / "out/v1"), rows_of(tmp_path / "clean/v1")
    count.add("tried", killed.total())
    count.rows([row["id"] for row in clean], [row["id"] for row in survived])
    assert survived == clean
    again = requests.total() - len(requests)
    print(f"{dict(killed)}: {len(survived)} rows, {len(requests)} requests, {again} of them asked again")
    assert set(requests) == set(asked.read_text().split())
    assert again <= killed.total() * CONCURRENCY * WORKERS


SMALL_SHARDS = """
import functools, sys
from cadvi_hub.cli import main
from cadvi_hub.eval.benchmarks import build
build.write_questions = functools.partial(build.write_questions, shard_bytes=1)
main(sys.argv[1:])
"""


def test_a_question_set_whose_build_is_killed_has_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, faults: Faults
) -> None:
    count = faults(KIND)
    rng = random.Random(0)
    Image.frombytes("RGB", (640, 480), rng.randbytes(640 * 480 * 3)).save(tmp_path / "0.jpg")
    with (tmp_path / "BISON.jsonl").open("w") as file:
        for index in range(1, 2001):
            (tmp_path / f"{index}.jpg").hardlink_to(tmp_path / "0.jpg")
            names = [f"{index}.jpg", "gone.jpg" if index % 70 == 7 else f"{index - 1}.jpg"]
            line = {"image": names, "text": "<image><image> A or B?", "answer": "A", "question_id": index}
            file.write(json.dumps(line) + "\n")

    def start(out: str) -> subprocess.Popen[bytes]:
        places = ["--questions", "BISON.jsonl", "--images", ".", "--out", out]
        command = [sys.executable, "-c", SMALL_SHARDS, "benchmarks", "build", "bison", *places]
        return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)

    work, kept = tmp_path / "out/bison/_work", [0]
    for _ in range(5):
        builder = start("out")
        while builder.poll() is None and len(list(work.glob("*.parquet"))) == kept[-1]:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.8))
        assert builder.poll() is None, "the build ended before all kills"
        builder.kill()
        builder.wait()
        count.add("tried")
        kept.append(len(list(work.glob("*.parquet"))))
    assert start("out").wait(timeout=300) == 0
    assert start("clean").wait(timeout=300) == 0
    survived, clean = (
        {file.name: file.read_bytes() for file in (tmp_path / out / "bison").iterdir()} for out in ("out", "clean")
    )
    count.rows(list(clean), list(survived))
    assert survived == clean
    print(f"whole shards after each kill: {kept[1:]} of {len(clean) - 2}")
