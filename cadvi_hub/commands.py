"""The commands of `cadvi`: where each is, what it does, and an example."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple


class Positional(NamedTuple):
    """Arguments before the first key, and the key that they stand for.

    Attributes:
        shown: how the usage shows them.
        key: the key, without dashes.
        field: the field of the settings, where it has another name than the key.
        choices: the allowed values, where the command needs one of them.
        reader: function below `cadvi_hub`, (key, arguments) → {key: value}, for several arguments; without it,
            there is one.
    """

    shown: str
    key: str
    field: str | None = None
    choices: tuple[str, ...] = ()
    reader: str = ""


class Command(NamedTuple):
    """A command.

    Attributes:
        module: below `cadvi_hub`, with its settings class and its function.
        settings: name of the class.
        function: name of the function, settings → what is printed.
        summary: what it does, half a sentence.
        example: arguments for a first try.
        positional: arguments before the first key.
        ends: what it says at its end: what is where, and what to do next; a format of `settings` and `result`.
    """

    module: str
    settings: str
    function: str
    summary: str
    example: str
    positional: Positional | None = None
    ends: str = ""

    def load(self, attribute: str) -> Any:
        """The settings class or the function; imports their module."""
        return getattr(importlib.import_module(f"cadvi_hub.{self.module}"), attribute)


# `--config` names the recipe, so the field `config` of the settings gets the key `--dataset`.
_DATA_SETS = ("v1", "v2", "instruct", "cad_qa", "preferences")
_DATA_SET = Positional("{" + ",".join(_DATA_SETS) + "}", "dataset", "config", _DATA_SETS)
# Modules are imported when their command runs: `cadvi --help` must not wait for torch.
COMMANDS = {
    "demo": Command(
        "demo.run",
        "DemoSettings",
        "demo",
        "the whole method at small scale, from captions to the results table",
        "--config demo --out out/demo",
        ends="Data sets, models and scores are in {settings.out}, how long each stage took in seconds.json.\n"
        "Next: cadvi ask LEFT.png RIGHT.png --model {settings.out}/models/v2/merged",
    ),
    "ablations": Command(
        "demo.ablations",
        "AblationSettings",
        "ablations",
        "the demo over three seeds, with parts left out and fewer pairs",
        "--config demo --out out/ablations",
        ends="Means and intervals are in {settings.out}: results.json, report.md, index.html; each seed has a folder.",
    ),
    "scenes": Command(
        "world.make",
        "WorldSettings",
        "make_world",
        "draw the small world: captions, pairs, questions and their truth",
        "--captioned 600 --questions 40 --out out/scenes",
        ends="Captioned pictures are in {result}/captioned, questions in {result}/questions.\n"
        "Next: cadvi build v1 --source.path {result}/captioned --source.name scenes --out data",
    ),
    "nlvr": Command(
        "world.nlvr",
        "NlvrSettings",
        "captioned_boxes",
        "turn NLVR's boxes into captioned images",
        "--path nlvr --out out/nlvr",
        ends="Next: cadvi build v1 --source.path {settings.out} --source.name nlvr --out data",
    ),
    "build": Command(
        "builder.build",
        "BuildSettings",
        "build",
        "build a data set: v1, v2, instruct, cad_qa or preferences (cadvi build v1 …)",
        "v1 --source.path my_pictures --source.name mine --out data",
        _DATA_SET,
        ends="Rows with pictures and messages are in {result}, with build.json, which counts every dropped row.\n"
        "Next: look at them (cadvi view --data {result}), or train on them (cadvi train --help)",
    ),
    "pairs mine": Command(
        "builder.build",
        "BuildSettings",
        "mine",
        "mine the pairs of a build, and stop before any model is asked",
        "v1 --source.path my_pictures --source.name mine --out data",
        _DATA_SET,
        ends="Next: the same arguments with `cadvi build` write the summaries",
    ),
    "pairs explain": Command(
        "pairing.explain",
        "ExplainSettings",
        "explain",
        "show how many captions and pairs each rule removed",
        "--folder data/v1",
    ),
    "ground": Command(
        "grounding.score",
        "GroundSettings",
        "ground",
        "check a data set's statements against scene graphs",
        "--folder data/v1 --graphs graphs",
        ends="The counts by aspect and kind are in {settings.folder}/grounding.json.\n"
        "Next: cadvi build with --verifier.model leaves out what a model denies (cadvi build --help)",
    ),
    "benchmarks build": Command(
        "eval.benchmarks.build",
        "BenchmarkSettings",
        "build_benchmark",
        "make a benchmark for the tasks from question files or upstream annotations, and pictures",
        "bison --questions bison.jsonl --images pictures --out out/questions",
        Positional("NAME", "task"),
        ends="Next: cadvi evaluate --model MODEL --data {settings.out} --out out/evaluation/MODEL",
    ),
    "benchmarks list": Command(
        "eval.benchmarks.listing",
        "ListSettings",
        "list_benchmarks",
        "list the benchmark sets and what each asks",
        "",
    ),
    "evaluate": Command(
        "eval.evaluate",
        "EvaluateSettings",
        "evaluate_and_show",
        "run the lighteval tasks on a model",
        "--model out/v1/merged --data out/questions --out out/evaluation/v1",
        ends="Scores (results.json) and answers (predictions/) are in {settings.out}.\n"
        "Next: cadvi report {settings.out} --out out/report",
    ),
    "compare": Command(
        "eval.comparison",
        "CompareSettings",
        "compare",
        "compare two evaluations on the same questions: paired bootstrap and McNemar's test",
        "--first out/evaluation/base --second out/evaluation/v1",
    ),
    "judge run": Command(
        "eval.judge.run",
        "JudgeSettings",
        "run",
        "let an LLM rate the open answers of an evaluation from 0 to 5",
        "--config judge --data out/questions --results out/evaluation/v1",
        ends="Next: cadvi report {settings.results} --out out/report",
    ),
    "judge check": Command(
        "eval.judge.check",
        "JudgeCheckSettings",
        "check",
        "test a judge on answers whose quality is known",
        "--config judge --data out/questions --out out/judge_check",
        ends="Ratings and replies are in {settings.out}.\n"
        "Next, with a judge that passed: cadvi judge run --data {settings.data} --results out/evaluation/MODEL",
    ),
    "judge differences": Command(
        "eval.judge.differences",
        "DifferencesSettings",
        "differences",
        "let an LLM say which of the true differences an answer names: precision and recall",
        "--config judge --data out/questions --results out/evaluation/v1",
        ends="What the judge said of each answer is in {settings.results}/judged/differences.",
    ),
    "assemble": Command(
        "training.llava",
        "AssembleSettings",
        "assemble_model",
        "assemble LLaVA from Vicuna, CLIP and LLaVA's stage-1 projector",
        "--language_model lmsys/vicuna-7b-v1.5 --vision_tower openai/clip-vit-large-patch14-336 "
        "--projector PROJECTOR --out models/start",
        ends="Next: cadvi train --config llava-1.5-7b/v1 --model_name_or_path {settings.out}",
    ),
    "merge": Command(
        "training.adapters",
        "MergeSettings",
        "merge_adapter",
        "merge an adapter into its base, and check the result",
        "--adapter out/v1 --out out/merged",
        ends="Next: cadvi ask LEFT.jpg RIGHT.jpg --model {settings.out}",
    ),
    "report": Command(
        "pages.report",
        "ReportSettings",
        "report",
        "tables, Markdown and a page from evaluations (cadvi report FOLDER NAME=FOLDER …)",
        "out/evaluation/base out/evaluation/v1 --out out/report",
        Positional("RESULTS…", "models", reader="pages.report.folders_by_key"),
        ends="The same tables are in {settings.out}/report.md, the numbers in {settings.out}/results.json.\n"
        "Next: open the page, or look at single answers: cadvi view --help",
    ),
    "view": Command(
        "pages.view",
        "ViewSettings",
        "view",
        "a page to look at pairs, answers and two pictures of your own (cadvi view FOLDER NAME=FOLDER …)",
        "out/evaluation/base out/evaluation/v1 --data data/v1",
        Positional("RESULTS…", "results", reader="pages.report.folders_by_key"),
    ),
    "ask": Command(
        "pages.ask",
        "AskSettings",
        "ask",
        'ask a model about two pictures (cadvi ask A.jpg B.jpg "What differs?")',
        'left.jpg right.jpg "What differs?" --model out/v1/merged',
        Positional("PICTURES… [QUESTION]", "images", reader="pages.ask.asked"),
    ),
    "replies recover": Command(
        "generation.recover",
        "RecoverSettings",
        "recover",
        "save what can be read of a damaged reply store",
        "--store data/replies.sqlite --out data/recovered.sqlite",
    ),
    "publish": Command(
        "hub.publish",
        "PublishSettings",
        "publish",
        "push a data set or a model to the Hub, with its card",
        "--kind dataset --folder data --repo_id me/pairs",
        ends="Next: look at the page above; the same command uploads only what changed since",
    ),
}
