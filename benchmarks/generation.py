"""Generation: requests/s and peak memory of `StoredGenerator` over `ServerGenerator`, beside a bare asyncio loop.

    python benchmarks/generation.py --requests 100000
    python benchmarks/generation.py --base-url http://127.0.0.1:8000/v1 --model NAME --requests 500

Both send the same requests with the openai client, at the same concurrency; ours stores each reply in an SQLite file
as well. Each runs in a process of its own, so that its peak memory is its own; that of the first tenth shows whether
it grows. Without `--base-url` the endpoint is a server that answers each request after `--latency` seconds; its own
limit is measured first, by clients that only write and read bytes. If both are far below it, the client is the limit.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cadvi_hub.core.schema import message
from cadvi_hub.generation.chat import ChatRequest, Decoding, Reply

CAPTION = "In this picture we can see a brown dog lying on the green grass beside a red ball, and there are trees. "
SUMMARY = "Both images show a dog outdoors. In the first image the dog lies on the grass; in the second it runs. " * 8
COMPLETION: dict[str, Any] = {
    "id": "chat-0",
    "object": "chat.completion",
    "created": 0,
    "model": "fake",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SUMMARY}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 700, "completion_tokens": 157, "total_tokens": 857},
}


def make_requests(count: int, picture_bytes: int, max_tokens: int) -> Iterator[ChatRequest]:
    """Requests as long as those of V1, or of V2 with two pictures of `picture_bytes` each; no two are alike."""
    picture = b"P6 1 1 255\n" + os.urandom(picture_bytes)
    for number in range(count):
        text = f"Image 1: {CAPTION * 6}\nImage 2: {CAPTION * 6} No. {number}."
        images = tuple(picture + b"%d %d" % (number, side) for side in range(2)) if picture_bytes else ()
        prompt = f"<image>\n<image>\n{text}" if images else text
        yield ChatRequest([message("user", prompt)], images, Decoding(max_tokens=max_tokens))


def run_ours(given: argparse.Namespace, requests: Iterator[ChatRequest]) -> Iterator[bool]:
    """Per request, whether it was answered."""
    from cadvi_hub.generation.server import ServerGenerator
    from cadvi_hub.generation.settings import EndpointSettings
    from cadvi_hub.generation.store import ReplyStore, StoredGenerator

    with tempfile.TemporaryDirectory() as folder:
        generator = ServerGenerator(given.model, EndpointSettings(given.base_url, concurrency=given.concurrency))
        store = ReplyStore(Path(folder) / "replies.sqlite")
        for outcome in StoredGenerator(generator, store).generate(requests):
            yield isinstance(outcome, Reply)


def run_bare(given: argparse.Namespace, requests: Iterator[ChatRequest]) -> list[bool]:
    """The same requests by as many tasks over one client; nothing is kept in order, stored or counted."""
    from openai import AsyncOpenAI

    from cadvi_hub.generation.completions import chat_messages

    answered: list[bool] = []

    async def ask_all() -> None:
        key = os.environ.get("OPENAI_API_KEY") or "EMPTY"
        async with AsyncOpenAI(base_url=given.base_url, api_key=key, timeout=300) as client:

            async def work() -> None:
                for request in requests:
                    body: dict[str, Any] = {
                        "model": given.model,
                        "messages": chat_messages(request),
                        "temperature": request.decoding.temperature,
                        "max_tokens": request.decoding.max_tokens,
                        "top_p": request.decoding.top_p,
                        "seed": request.decoding.seed,
                    }
                    completion = await client.chat.completions.create(**body)
                    answered.append(bool(completion.choices[0].message.content))

            await asyncio.gather(*(work() for _ in range(given.concurrency)))

    asyncio.run(ask_all())
    return answered


ENGINES = {"ours": run_ours, "bare": run_bare}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Requests/s, ms of CPU per request, peak MB up to the first tenth of the requests and of them all."""
    early: list[float] = []

    def watched() -> Iterator[ChatRequest]:
        for number, request in enumerate(make_requests(given.requests, given.picture_bytes, given.max_tokens)):
            if number == given.requests // 10:
                early.append(peak_mb())
            yield request

    start, cpu = time.perf_counter(), cpu_seconds()
    answered = sum(ENGINES[given.engine](given, watched()))
    seconds = time.perf_counter() - start
    if answered != given.requests:
        sys.exit(f"{given.engine}: {given.requests - answered} of {given.requests} requests were not answered")
    return {
        "rate": given.requests / seconds,
        "cpu_ms": 1000 * (cpu_seconds() - cpu) / given.requests,
        "early_mb": early[0],
        "peak_mb": peak_mb(),
    }


async def serve(latency: float) -> None:
    """Answer every request with the same completion, `latency` seconds after it was read; print the port first."""
    body = json.dumps(COMPLETION).encode()
    response = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, _, length = head.partition(b"content-length:")  # a GET has none
                await reader.readexactly(int(length.split(b"\r\n")[0] or 0))
                await asyncio.sleep(latency)
                writer.write(response)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def server_limit(port: int, requests: int, concurrency: int) -> float:
    """Requests/s that the server answers to clients that do nothing but write and read bytes."""
    body = b" " * 1500
    request = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // concurrency):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"Content-Length:")[1].split(b"\r\n")[0]))
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return requests // concurrency * concurrency / (time.perf_counter() - start)


@contextlib.contextmanager
def endpoint(given: argparse.Namespace) -> Iterator[str]:
    """The address to send requests to: the given one, or that of a server which lives as long as the block."""
    if given.base_url:
        yield given.base_url
        return
    command = [sys.executable, __file__, "--serve", "--latency", str(given.latency)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        port = int(server.stdout.readline())
        limit = asyncio.run(server_limit(port, 5000, given.concurrency))
        print(f"server: answers up to {limit:.0f} requests/s", flush=True)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds, of the server that is started")
    parser.add_argument("--picture-bytes", type=int, default=0, help="send two pictures of this size per request")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--base-url", default="", help="an endpoint that runs already")
    parser.add_argument("--model", default="fake")
    parser.add_argument("--repeats", type=int, default=3, help="runs per engine, in turn; the medians are compared")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.latency))
        return
    if given.engine:
        print(json.dumps(measure(given)))
        return
    results: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    with endpoint(given) as base_url:
        for repeat in range(given.repeats):
            for engine in sorted(ENGINES, reverse=repeat % 2 == 1):
                command = [sys.executable, __file__, *sys.argv[1:], "--engine", engine, "--base-url", base_url]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                results[engine].append(json.loads(done.stdout))
                line = "{rate:.0f} requests/s, {cpu_ms:.2f} ms of CPU each, peak {early_mb:.0f} MB after a tenth"
                line = f"{engine}: {given.requests} requests, {line}, {{peak_mb:.0f}} MB at the end"
                print(line.format(**results[engine][-1]), flush=True)
    rate, cpu = (
        {engine: statistics.median(run[figure] for run in results[engine]) for engine in ENGINES}
        for figure in ("rate", "cpu_ms")
    )
    print(f"ours / bare: {rate['ours'] / rate['bare']:.2f} × requests/s, {cpu['ours'] / cpu['bare']:.2f} × CPU")


if __name__ == "__main__":
    main()
