"""Evaluation: speed and peak memory of our local model, beside a plain loop and lighteval's own vision model.

    python benchmarks/evaluation.py --questions 64 --batch-sizes 1 8 32

The model is a LLaVA of about 100 million random weights, made on the spot, whose answers all stop at the same length.
The questions, about drawn pictures, are of three forms: `cola` asks two about each pair of pictures,
`cola_both_orders` the same two with the pictures swapped as well, `bison` one about each pair. The plain loop is one
`generate` per question; ours and lighteval's model (which puts the text before the pictures) run at every batch size,
and the best of each is compared. Each run is a process of its own, so that its peak memory is its own; loading and one
question to warm up are not timed. On a busy machine compare questions a second of CPU.

    python benchmarks/evaluation.py --questions 32 --batch-sizes 8 --before ../checkout --runs 3

compares with this script of another checkout instead, in turn: is ours as fast as at 5841c0d, say?
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lighteval.tasks.requests import Doc

sys.path.insert(0, str(Path(__file__).parents[1]))

IMAGE_SIZE, PATCH_SIZE = 224, 14  # 256 tokens a picture
FORMS = {"cola": (2, False), "cola_both_orders": (2, True), "bison": (1, False)}  # questions a pair, both orders
QUERY = "Image 1: <image>\nImage 2: <image>\nWhich image suits the caption {} better? Answer with the option's letter."


def make_model(folder: Path) -> int:
    """Save a LLaVA with random weights that never writes its end token; returns the number of its weights."""
    import torch
    from transformers import AutoConfig, AutoProcessor, LlavaForConditionalGeneration
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from cadvi_hub.training.checkpoints import save_model
    from tests.support.tiny_llava import make_tiny_llava

    make_tiny_llava(folder)
    config, processor = AutoConfig.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    vision, text = config.vision_config, config.text_config
    vision.image_size, vision.patch_size = IMAGE_SIZE, PATCH_SIZE
    vision.hidden_size, vision.intermediate_size = 512, 2048
    vision.num_hidden_layers = vision.num_attention_heads = 8
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 768, 2048, 10
    text.num_attention_heads = text.num_key_value_heads = 12
    text.head_dim, text.max_position_embeddings = 64, 4096
    config.image_seq_length = (IMAGE_SIZE // PATCH_SIZE) ** 2
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight[text.eos_token_id] = 0  # never the likeliest token
    save_model(model, folder)  # as vLLM reads it, too
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    processor.image_processor = CLIPImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size)
    processor.patch_size = PATCH_SIZE
    processor.tokenizer.chat_template = processor.chat_template  # lighteval asks the tokenizer for it
    processor.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def make_questions(form: str, count: int, tokens: int) -> list[Doc]:
    """`count` questions over pictures of coarse noise, 640 × 480 pixels."""
    import numpy as np
    from lighteval.tasks.requests import Doc
    from PIL import Image

    rng = np.random.default_rng(0)

    def picture() -> Image.Image:
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        return coarse.resize((640, 480), Image.Resampling.BICUBIC)

    captions, both_orders = FORMS[form]
    questions: list[Doc] = []
    while len(questions) < count:
        group, pictures = str(len(questions)), [picture(), picture()]
        for images in [pictures, pictures[::-1]] if both_orders else [pictures]:
            for caption in range(captions):
                words = " ".join(["a large dog to the left of a small red ball"] * (1 + (caption + int(group)) % 2))
                questions.append(
                    Doc(
                        query=QUERY.format(f"{words} {caption}"),
                        choices=["A", "B"],
                        gold_index=0,
                        images=images,
                        specific={"id": f"{group}_{caption}", "group": group, "category": "", "options": ["A", "B"]},
                        generation_size=tokens,
                        task_name=f"{form}|0",
                    )
                )
    return questions[:count]


def load_ours(model: Path, batch_size: int) -> Callable[[list[Doc]], list[str]]:
    from lighteval.models.abstract_model import ModelConfig

    from cadvi_hub.eval.models.vision import VisionModel
    from cadvi_hub.generation.local import LocalGenerator

    ours = VisionModel(ModelConfig(model_name="ours"), LocalGenerator(str(model), batch_size=batch_size))
    return lambda questions: [response.text[0] for response in ours.greedy_until(questions)]


def load_plain(model: Path, batch_size: int) -> Callable[[list[Doc]], list[str]]:
    """One `generate` per question, as a script would do it."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from cadvi_hub.core.schema import message

    network = AutoModelForImageTextToText.from_pretrained(model).eval()
    processor = AutoProcessor.from_pretrained(model)

    def answer(question: Doc) -> str:
        prompt = processor.apply_chat_template([message("user", question.query)], add_generation_prompt=True)
        inputs = processor(text=prompt, images=question.images, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            output = network.generate(**inputs, max_new_tokens=question.generation_size, do_sample=False)
        return str(processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    return lambda questions: list(map(answer, questions))


def load_lighteval(model: Path, batch_size: int) -> Callable[[list[Doc]], list[str]]:
    from dataclasses import replace

    from lighteval.models.transformers.vlm_transformers_model import VLMTransformersModel, VLMTransformersModelConfig

    config = VLMTransformersModelConfig(
        model_name=str(model), batch_size=batch_size, dtype="float32", cache_dir=str(model.parent / "cache")
    )
    theirs = VLMTransformersModel(config)

    def answer(questions: list[Doc]) -> list[str]:
        # Its prompt has a place for each picture after the text. `_greedy_until` is what its cache wraps.
        bare = [replace(question, query=question.query.replace("<image>", "")) for question in questions]
        return ["".join(response.text) for response in theirs._greedy_until(bare)]

    return answer


ENGINES = {"ours": load_ours, "plain": load_plain, "lighteval": load_lighteval}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    questions = make_questions(given.form, given.questions, given.tokens)
    answer = ENGINES[given.engine](given.model, given.batch_size)
    answer(make_questions("bison", 1, given.tokens))
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start, cpu = time.perf_counter(), time.process_time()
    answers = answer(questions)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rates = {"rate": len(questions) / seconds, "cpu_rate": len(questions) / cpu}
    return {**rates, "loaded_mb": loaded, "peak_mb": peak, "answers": answers}


def run(given: argparse.Namespace, engine: str, size: int, script: Path = Path(__file__)) -> dict[str, Any]:
    """What `measure` finds in a process of its own: that of this script, or of the same one in another checkout."""
    options = {"questions": given.questions, "tokens": given.tokens, "model": given.model}
    options |= {"engine": engine, "form": given.form, "batch-size": size}
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    surroundings = {**os.environ, "PYTHONPATH": str(script.resolve().parents[1])}
    done = subprocess.run(
        [sys.executable, script, *words], check=True, stdout=subprocess.PIPE, text=True, env=surroundings
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("result "))
    result: dict[str, Any] = json.loads(line.removeprefix("result "))
    return result


def shown(result: dict[str, Any]) -> str:
    rates = f"{result['rate']:.3f} questions/s, {result['cpu_rate']:.3f} a second of CPU"
    return f"{rates}, peak {result['peak_mb']:.0f} MB ({result['loaded_mb']:.0f} MB after one question)"


def compare_engines(given: argparse.Namespace) -> None:
    """Ours beside a plain loop and lighteval's model."""
    form = given.form
    runs = [("plain", 1)]
    for engine in ("ours", "lighteval") if form != "cola_both_orders" else ("ours",):
        runs += [(engine, size) for size in given.batch_sizes]
    results = {}
    for engine, size in runs:
        results[engine, size] = result = run(given, engine, size)
        print(f"{form}: {engine}, batch size {size}: {shown(result)}", flush=True)
    plain = results["plain", 1]
    ours, theirs = (
        [result for (engine, _), result in results.items() if engine == name] for name in ("ours", "lighteval")
    )
    same = [sum(map(str.__eq__, each["answers"], plain["answers"])) for each in ours]
    print(f"{form}: ours {ratios(ours, [plain])} the plain loop, {min(same)} of {given.questions} answers alike")
    if theirs:
        print(f"{form}: ours {ratios(ours, theirs)} lighteval", flush=True)


def compare_checkouts(given: argparse.Namespace) -> None:
    """Ours of this checkout beside ours of the checkout `before`."""
    checkouts = {"before": given.before / "benchmarks" / Path(__file__).name, "now": Path(__file__)}
    for size in given.batch_sizes:
        found: list[float] = []
        for number in range(given.runs):
            results = {name: run(given, "ours", size, script) for name, script in checkouts.items()}
            for name, result in results.items():
                print(f"{given.form}, batch size {size}, run {number + 1}, {name}: {shown(result)}", flush=True)
            before, now = results["before"], results["now"]
            same = sum(map(str.__eq__, before["answers"], now["answers"]))
            found.append(now["cpu_rate"] / before["cpu_rate"])
        ratio = f"{statistics.median(found):.3f} × ({', '.join(f'{each:.3f}' for each in found)})"
        print(
            f"{given.form}, batch size {size}: {ratio} the questions a second of CPU, {same} answers alike", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=8, help="per form")
    parser.add_argument("--tokens", type=int, default=8, help="of each answer")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--forms", choices=FORMS, nargs="+", default=list(FORMS))
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--runs", type=int, default=3, help="of each checkout, in turn")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--form", help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        print("result " + json.dumps(measure(given)))
        return
    with tempfile.TemporaryDirectory() as folder:
        given.model = Path(folder) / "llava"
        print(
            f"a LLaVA of {make_model(given.model) / 1e6:.0f} M weights, answers of {given.tokens} tokens", flush=True
        )
        for form in given.forms:
            given.form = form
            (compare_checkouts if given.before else compare_engines)(given)


def ratios(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """By the clock and by CPU time, each at its best batch size."""
    wall, cpu = (max(run[rate] for run in ours) / max(run[rate] for run in others) for rate in ("rate", "cpu_rate"))
    return f"{wall:.2f} × (by CPU {cpu:.2f} ×)"


if __name__ == "__main__":
    main()
