"""What a further phase brings in the demo's world: preferences, rewards and swapped orders against more of the same.

    cadvi demo --config demo --out out/demo-0 --seed 0
    python benchmarks/preference.py --demo 'out/demo-{seed}' --out out/preference --seeds 0

It starts from the demo's V2 and takes as many further optimizer steps in each of four ways, with as many rows a step:

- `sft`: on V2's mixture, as V2 itself was tuned;
- `swapped`: the same, half of the rows with two images in the other order;
- `dpo`: on preference pairs of V1's and V2's summaries, with the truth of the drawn pictures as scene graphs;
- `grpo`: on V1's which-image questions, each in both orders of its images; one step reads as many answers.

Then each is asked the questions of the demo, and writes summaries of similar pictures; their statements are looked up
in the scene graphs. A finished part is left alone, so that a stopped benchmark goes on.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from cadvi_hub.annotation.settings import AnnotatorSettings
from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.cli import parse_settings
from cadvi_hub.core.files import read_json, write_json
from cadvi_hub.demo.base_recipe import base_folder
from cadvi_hub.demo.run import V1_SOURCES, V2_SOURCES, Demo
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.settings import EvaluateSettings
from cadvi_hub.grounding.score import RECORD, ground
from cadvi_hub.grounding.settings import GroundSettings
from cadvi_hub.sources.settings import SourceSettings

TASKS = ("bison", "svo_probes", "nlvr2", "eqben", "cola", "single_image")
METRICS = ("accuracy", "pair_accuracy", "both_orders_accuracy", "position_bias")
WAYS = ("sft", "swapped", "dpo", "grpo")
ROWS = 32  # of a step


def preferences(demo: Demo, out: Path) -> dict[str, Any]:
    """The mixture of preference pairs, which are built where they are missing."""
    mixture = {}
    for name, pictures in (("v1", "captioned"), ("v2", "similar")):
        settings = BuildSettings(
            "preferences",
            SourceSettings(demo.data / name, "scenes"),
            out,
            graphs=demo.world / pictures,
            name=f"{name}_preferences",
        )
        build(settings)
        mixture[settings.name] = {"path": str(out), "config": settings.name}
    return mixture


def recipe(way: str, demo: Demo, steps: int, out: Path, faster: float) -> dict[str, Any]:
    """The recipe of one way: the demo's own settings where the method does not ask for others.

    Its learning rates are `faster` times the usual ones.
    """
    settings = demo.settings.training | {
        "model_name_or_path": str(demo.out / "models/v2/merged"),
        "output_dir": str(out / way),
        "seed": demo.settings.seed,
        "max_steps": steps,
        "lr_scheduler_type": "linear",
        "lr_scheduler_kwargs": None,
        "resume_from_checkpoint": "true",
        "per_device_train_batch_size": ROWS,
    }
    mixture = {name.replace("/", "_"): demo.source(name) for name in (*V1_SOURCES, *V2_SOURCES)}
    if way == "swapped":
        both = {}
        for name, source in mixture.items():
            half = {**source, "repeats": 0.5} if name != "instruct" else source
            both[name] = half
            if name != "instruct":
                both[f"{name}_swapped"] = {**half, "swapped": True}
        mixture = both
    if way in ("sft", "swapped"):
        return settings | {"mixture": mixture, "learning_rate": 1e-4 * faster, "projector_lr": 2e-5 * faster}
    settings |= {"method": way, "projector_lr": 0.0}
    if way == "dpo":
        pairs = preferences(demo, out / "data")
        # A pair has two answers: as many answers a step as the other ways.
        return settings | {"mixture": pairs, "learning_rate": 5e-5 * faster, "per_device_train_batch_size": ROWS // 2}
    questions = {name.replace("/", "_"): demo.source(name) for name in V1_SOURCES if name.endswith("/which_image")}
    answers = {"num_generations": 8, "max_completion_length": 8, "train_sampling_strategy": "random"}
    return settings | answers | {"mixture": questions, "learning_rate": 5e-5 * faster, "save_steps": 10}


def train(settings: dict[str, Any]) -> Path:
    """Run `cadvi train` in a process of its own; returns the merged model."""
    file = Path(f"{settings['output_dir']}.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({key: value for key, value in settings.items() if value is not None}))
    subprocess.run([sys.executable, "-m", "cadvi_hub.cli", "train", "--config", str(file)], check=True)
    return Path(settings["output_dir"], "merged")


def measure(name: str, model: Path, demo: Demo, out: Path, questions: int | None, summaries: int) -> dict[str, float]:
    """Scores of `model`, and the share of statements in its summaries that the scene graphs contradict."""
    folder = out / "evaluation" / name
    if not (folder / "results.json").is_file():
        settings = EvaluateSettings(str(model), str(demo.questions), folder, name, TASKS, batch_size=64, max_tokens=32)
        evaluate(replace(settings, max_samples=questions, both_orders=True))
    annotator = AnnotatorSettings(
        kind="local", prompt="summary_from_images", model=str(model), batch_size=64, max_tokens=160
    )
    written = BuildSettings(
        "v2",
        SourceSettings(demo.world / "similar", "scenes"),
        out / "summaries" / name,
        annotator=annotator,
        max_rows=summaries,
    )
    rows = build(written)
    if not (rows / RECORD).is_file():
        ground(GroundSettings(rows, demo.world / "similar"))
    scores = read_json(folder / "results.json")
    found = {
        f"{task} {metric}": scores[task][metric] for task in TASKS for metric in METRICS if metric in scores[task]
    }
    counted = read_json(rows / RECORD)["statements"]
    total = sum(sum(verdicts.values()) for verdicts in counted.values())
    found["summaries"] = read_json(rows / "build.json")["rows"]
    found["contradicted statements"] = sum(verdicts.get("contradicted", 0) for verdicts in counted.values()) / total
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", required=True, help="folder of a finished demo, with {seed} where its seed is")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--faster", type=float, default=1.0, help="factor of all learning rates; needs its own --out")
    parser.add_argument("--questions", type=int, help="of each set; all if unset")
    parser.add_argument("--summaries", type=int, default=200)
    chosen = parser.parse_args(arguments)
    table: dict[str, Any] = {}
    for seed in chosen.seeds:
        folder = chosen.demo.format(seed=seed)
        settings = parse_settings("demo", ["--config", "demo", "--out", folder, "--seed", str(seed)])
        demo, out = Demo(settings, base_folder()), chosen.out / str(seed)
        models = {"v2": demo.out / "models/v2/merged"}
        models |= {way: train(recipe(way, demo, chosen.steps, out, chosen.faster)) for way in chosen.ways}
        for name, model in models.items():
            found = measure(name, model, demo, out, chosen.questions, chosen.summaries)
            table.setdefault(name, {})[str(seed)] = found
            print(json.dumps({name: found}), flush=True)
    write_json(chosen.out / "table.json", table)


if __name__ == "__main__":
    main()
