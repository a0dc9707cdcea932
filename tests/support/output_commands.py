"""Every command that writes to a folder, at its smallest, as a function of that folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.eval.benchmarks.build import build_benchmark
from cadvi_hub.eval.comparison import compare
from cadvi_hub.eval.evaluate import evaluate
from cadvi_hub.eval.judge.check import check_judge
from cadvi_hub.eval.judge.run import judge_answers
from cadvi_hub.eval.judge.settings import JudgeCheckSettings, JudgeModelSettings, JudgeSettings
from cadvi_hub.eval.settings import BenchmarkSettings, CompareSettings, EvaluateSettings
from cadvi_hub.grounding.score import ground
from cadvi_hub.grounding.settings import GroundSettings
from cadvi_hub.pages.export import export
from cadvi_hub.pages.report import report
from cadvi_hub.pages.settings import ViewSettings
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.training.adapters import merge_adapter
from cadvi_hub.training.llava import assemble
from cadvi_hub.training.settings import MergeSettings
from cadvi_hub.world.make import make_world
from cadvi_hub.world.nlvr import captioned_boxes
from cadvi_hub.world.settings import NlvrSettings, WorldSettings
from tests.support.builds import FakeAnnotator, captioned_source, picture, similar_source
from tests.support.judges import fair, reference, write_predictions, write_set
from tests.support.openai_server import openai_server
from tests.support.report_parts import evaluation, reported
from tests.support.tunings import make_room
from tests.support.tunings import run as train

COMMANDS: tuple[str, ...] = (
    "scenes",
    "nlvr",
    "build",
    "ground",
    "benchmarks build",
    "evaluate",
    "compare",
    "judge run",
    "judge check",
)
COMMANDS += ("report", "view", "train", "assemble", "merge")


class Commands:
    """Inputs of the commands below `folder`.

    `commands[name](out, changed)` runs a command that writes to `out`; with `changed` its result is another one, which
    replaces the first.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Callable[..., Any]:
        command: Callable[..., Any] = getattr(self, f"_{name.replace(' ', '_')}")
        return command

    def _once(self, name: str, make: Callable[[Path], Any]) -> Any:
        """What `make` makes in a folder of its own, when it is needed first."""
        if name not in self._made:
            (self.folder / name).mkdir(parents=True)
            self._made[name] = make(self.folder / name)
        return self._made[name]

    def _scenes(self, out: Path, changed: bool = False) -> None:
        make_world(WorldSettings(captioned=2, similar=1, instruct=1, questions=2, out=out))

    def _build(self, out: Path, changed: bool = False) -> None:
        source = self._once("source", lambda folder: similar_source(folder / "similar"))
        settings = BuildSettings("v2", source, out.parent, name=out.name, rows_per_shard=4, overwrite=changed)
        build(replace(settings, rows_per_shard=3) if changed else settings, FakeAnnotator())

    def _nlvr(self, out: Path, changed: bool = False) -> None:
        def boxes(folder: Path) -> Path:
            picture(folder / "0.png", 9)
            box = [{"x_loc": 1, "y_loc": 2, "size": 20, "type": "circle", "color": "Yellow"}]
            (folder / "dev.jsonl").write_text(json.dumps({"image": "0.png", "structured_rep": [box, [], box]}))
            return folder

        captioned_boxes(NlvrSettings(self._once("nlvr", boxes), out))

    def _ground(self, out: Path, changed: bool = False) -> None:
        def built(folder: Path) -> Path:
            source = captioned_source(folder / "captioned")
            return build(BuildSettings("v1", source, folder, PairSettings(min_shared=1)))

        def graphs(folder: Path) -> Path:
            objects = [{"object_id": 1, "names": ["dog"], "x": 0, "y": 0, "w": 5, "h": 5}]
            scenes = [{"image_id": k, "objects": objects, "relationships": []} for k in range(6)]
            (folder / "scene_graphs.json").write_text(json.dumps(scenes))
            (folder / "fewer").mkdir()
            (folder / "fewer/scene_graphs.json").write_text(json.dumps([{**scene, "objects": []} for scene in scenes]))
            return folder

        data = self._once("built", built)
        out.mkdir(parents=True, exist_ok=True)
        for file in data.glob("*.parquet"):
            shutil.copy(file, out)
        known = self._once("graphs", graphs)
        ground(GroundSettings(out, known / "fewer" if changed else known))

    def _benchmarks_build(self, out: Path, changed: bool = False) -> None:
        source = self._once("source", lambda folder: similar_source(folder / "similar"))
        file = self.folder / f"questions-{changed}.jsonl"
        row = {"image": ["0.png", "1.png"], "text": "<image><image> Which?\nA. Image 1\nB. Image 2", "answer": "A"}
        numbers = range(3 if changed else 2)
        file.write_text("".join(json.dumps({**row, "question_id": str(number)}) + "\n" for number in numbers))
        build_benchmark(BenchmarkSettings("bison", file, out, source.path / "images", "question_file"))

    def _evaluate(self, out: Path, changed: bool = False) -> None:
        def sets(folder: Path) -> Path:
            write_set(folder, 3)
            write_set(folder, 3, "cad_summary")
            return folder

        tasks = ["cad_summary"] if changed else ["cad_qa"]
        evaluate(EvaluateSettings("constant", str(self._once("sets", sets)), out, "constant", tasks))

    def _compare(self, out: Path, changed: bool = False) -> None:
        def evaluations(folder: Path) -> Path:
            for number, name in enumerate(("first", "second")):
                evaluation(folder / name, 4 + number, ["bison"])
            return folder

        both = self._once("evaluations", evaluations)
        number = 6 if changed else 5
        compare(CompareSettings(both / "first", both / "second", resamples=number, out=out / "comparison.json"))

    def _judge_check(self, out: Path, changed: bool = False) -> None:
        data = self._once("checked", lambda folder: write_set(folder, 3) and folder)
        with openai_server(fair) as server:
            settings = JudgeModelSettings(model="judge", base_url=server.base_url)
            check_judge(JudgeCheckSettings(str(data), out, seed=int(changed), judge=settings))

    def _judge_run(self, out: Path, changed: bool = False) -> None:
        rows = self._once("judged", lambda folder: write_set(folder, 3))
        data = str(self.folder / "judged")
        write_predictions(out, rows, [reference(0)] * 3)
        with openai_server(fair) as server:
            judge_answers(
                JudgeSettings(out, data, ["cad_qa"], JudgeModelSettings(model="judge", base_url=server.base_url))
            )

    def _report(self, out: Path, changed: bool = False) -> None:
        settings = self._once("reported", reported)
        report(replace(settings, out=out, note="Another note." if changed else settings.note))

    def _view(self, out: Path, changed: bool = False) -> None:
        settings = self._once("reported", reported)
        export(ViewSettings(str(settings.data / "v1"), export=out, rows=1 if changed else 3))

    def _train(self, out: Path, changed: bool = False) -> None:
        train(self._once("room", make_room), out, max_steps=1)

    def _assemble(self, out: Path, changed: bool = False) -> None:
        def made(folder: Path) -> Path:
            import torch

            from tests.support import llava_parts

            llava_parts.make_vicuna(folder / "vicuna")
            llava_parts.make_clip(folder / "clip")
            torch.save(llava_parts.projector_weights(), folder / "mm_projector.bin")
            return folder

        parts = self._once("parts", made)
        assemble(str(parts / "vicuna"), str(parts / "clip"), str(parts / "mm_projector.bin"), out)

    def _merge(self, out: Path, changed: bool = False) -> None:
        from tests.training.test_adapters import save_adapter

        room = self._once("room", make_room)
        adapter = self._once("adapter", lambda folder: save_adapter(room / "base", folder / "adapter"))
        if changed:
            (adapter / "training.json").write_text('{"finished": true}')
        else:
            (adapter / "training.json").unlink(missing_ok=True)
        merge_adapter(MergeSettings(str(adapter), out))
