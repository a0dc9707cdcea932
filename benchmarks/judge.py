"""The judge: ratings/s and peak memory of `cadvi judge run`, beside a bare asyncio loop over the same prompts.

    python benchmarks/judge.py --answers 5000
    python benchmarks/judge.py --base-url http://127.0.0.1:8000/v1 --model NAME --answers 300

Both send the same prompts with the openai client, at the same concurrency, with a JSON schema. Ours also reads the
question set and the predictions, stores each reply in an SQLite file, reads the ratings and writes the scores; the
bare loop keeps nothing. Each run is a process of its own. Without `--base-url` the endpoint is a server that gives
the same rating after `--latency` seconds; its own limit is measured first. If both are far below it, the client is
the limit.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generation

REFERENCE = "Image 1 shows a brown dog on green grass, while Image 2 shows two black cats on a red sofa by a window."
ANSWER = "There is a dog on the grass in the first image, and in the second one there are two cats on a sofa."


def answers(number: int) -> Iterator[tuple[str, str, str]]:
    """Question, reference and answer, about as long as CaD-QA's; no two are alike."""
    for index in range(number):
        yield f"<image><image> Which animals are there, no. {index}?", REFERENCE, ANSWER


def write_evaluation(folder: Path, number: int) -> None:
    """A question set and the predictions of a model, as `cadvi benchmarks build` and `cadvi evaluate` leave them."""
    from PIL import Image

    from cadvi_hub.core.images import encode_png
    from cadvi_hub.eval.benchmarks.writing import write_questions
    from cadvi_hub.eval.scoring import prediction

    picture = {"bytes": encode_png(Image.new("RGB", (4, 4))), "path": "a.png"}
    same: dict[str, Any] = {
        "images": [picture] * 2,
        "options": [],
        "task": "cad_qa",
        "category": "",
        "source": "benchmark",
    }
    rows: list[dict[str, Any]] = [
        {**same, "id": str(index), "group": str(index), "question": question, "answer": reference}
        for index, (question, reference, _) in enumerate(answers(number))
    ]
    write_questions(rows, folder / "questions")
    (folder / "results" / "predictions").mkdir(parents=True)
    with (folder / "results" / "predictions" / "cad_qa.jsonl").open("w") as file:
        for index, row in enumerate(rows):
            file.write(json.dumps({"index": index, **prediction("cad_qa", row, row["answer"], ANSWER)}) + "\n")


def run_ours(given: argparse.Namespace, folder: Path) -> int:
    from cadvi_hub.eval.judge.run import judge_answers
    from cadvi_hub.eval.judge.settings import JudgeModelSettings, JudgeSettings

    asked = {"model": given.model, "base_url": given.base_url, "max_tokens": given.max_tokens}
    judge = JudgeModelSettings(concurrency=given.concurrency, **asked)
    scores = judge_answers(JudgeSettings(folder / "results", str(folder / "questions"), judge=judge))
    return int(scores["tasks"]["cad_qa"]["n"] - scores["tasks"]["cad_qa"]["faults"].get("unanswered", 0))


def run_bare(given: argparse.Namespace, folder: Path) -> int:
    from openai import AsyncOpenAI

    from cadvi_hub.eval.judge.rating import Answered, rating_request
    from cadvi_hub.generation.chat import Decoding
    from cadvi_hub.generation.completions import chat_messages

    unasked, decoding = answers(given.answers), Decoding(max_tokens=given.max_tokens)
    answered: list[bool] = []

    async def work(client: AsyncOpenAI) -> None:
        for each in unasked:
            request = rating_request("cad_qa", Answered(*each), 4000, decoding, json_schema=True)
            schema = {"name": "reply", "schema": request.json_schema, "strict": True}
            body: dict[str, Any] = {
                "model": given.model,
                "messages": chat_messages(request),
                "temperature": 0,
                "max_tokens": given.max_tokens,
                "seed": 0,
                "response_format": {"type": "json_schema", "json_schema": schema},
            }
            completion = await client.chat.completions.create(**body)
            answered.append(bool(completion.choices[0].message.content))

    async def ask_all() -> None:
        async with AsyncOpenAI(base_url=given.base_url, api_key="EMPTY", timeout=300) as client:
            await asyncio.gather(*(work(client) for _ in range(given.concurrency)))

    asyncio.run(ask_all())
    return sum(answered)


ENGINES = {"ours": run_ours, "bare": run_bare}


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Ratings/s, ms of CPU per rating, peak MB; the set and the predictions are written before the clock starts."""
    with tempfile.TemporaryDirectory() as name:
        write_evaluation(Path(name), given.answers)
        start, cpu = time.perf_counter(), generation.cpu_seconds()
        answered = ENGINES[given.engine](given, Path(name))
        seconds = time.perf_counter() - start
    if answered != given.answers:
        sys.exit(f"{given.engine}: {given.answers - answered} of {given.answers} requests were not answered")
    used = generation.cpu_seconds() - cpu
    return {"rate": answered / seconds, "cpu_ms": 1000 * used / answered, "peak_mb": generation.peak_mb()}


@contextlib.contextmanager
def endpoint(given: argparse.Namespace) -> Iterator[str]:
    """The address to send requests to: the given one, or that of a server which lives as long as the block."""
    if given.base_url:
        yield given.base_url
        return
    command = [sys.executable, __file__, "--serve", "--latency", str(given.latency)]
    # The judge asks `GET /models` once; this server does not know it and complains on stderr.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout
        port = int(server.stdout.readline())
        limit = asyncio.run(generation.server_limit(port, 5000, given.concurrency))
        print(f"server: answers up to {limit:.0f} requests/s", flush=True)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds, of the server that is started")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--base-url", default="", help="an endpoint that runs already")
    parser.add_argument("--model", default="fake")
    parser.add_argument("--repeats", type=int, default=3, help="runs per engine, in turn; the medians are compared")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        rating = json.dumps({"reason": "The answer says the same as the reference.", "rating": 5})
        generation.COMPLETION["choices"][0]["message"]["content"] = rating
        asyncio.run(generation.serve(given.latency))
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
                line = "{rate:.3g} ratings/s, {cpu_ms:.2f} ms of CPU each, peak {peak_mb:.0f} MB"
                print(f"{engine}: {given.answers} answers, {line.format(**results[engine][-1])}", flush=True)
    rate, cpu = (
        {engine: statistics.median(run[figure] for run in results[engine]) for engine in ENGINES}
        for figure in ("rate", "cpu_ms")
    )
    print(f"ours / bare: {rate['ours'] / rate['bare']:.2f} × ratings/s, {cpu['ours'] / cpu['bare']:.2f} × CPU")


if __name__ == "__main__":
    main()
