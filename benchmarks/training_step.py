"""A step of the demo's training without a GPU: ours beside TRL's, which projects every position to the vocabulary.

    python benchmarks/training_step.py --steps 80

Both compute the loss of the same model in one training, in turn: one step ours, two TRL's, one ours, and so on. The
figures are seconds for a million tokens, padding included, since batches differ in their length.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cadvi_hub.cli import parse_settings
from cadvi_hub.demo.run import V1_SOURCES, Stages, _tune, prepare
from cadvi_hub.demo.settings import DemoSettings
from cadvi_hub.training import methods
from cadvi_hub.training.trainer import Tuner, TuningTrainer

WARM_UP = 4  # steps that are not counted
LOSSES: dict[str, type[Tuner]] = {"ours": TuningTrainer, "trl": Tuner}


class InTurn(TuningTrainer):
    """Takes turns between the two losses, and notes the time of each step."""

    seconds = dict.fromkeys(LOSSES, 0.0)
    tokens = dict.fromkeys(LOSSES, 0)

    @property
    def _turn(self) -> str:
        return "ours" if self.state.global_step % 4 in (0, 3) else "trl"

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return LOSSES[self._turn].compute_loss(self, *args, **kwargs)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        turn, started, tokens = self._turn, time.perf_counter(), inputs["input_ids"].numel()
        loss = super().training_step(model, inputs, *args, **kwargs)
        if self.state.global_step >= WARM_UP:
            self.seconds[turn] += time.perf_counter() - started
            self.tokens[turn] += tokens
        return loss


def measure(folder: Path, steps: int, captions: int) -> dict[str, float]:
    """Seconds for a million tokens, by who computes the loss."""
    keys = {"captioned": captions, "instruct": captions, "edited": captions // 4, "similar": 1, "questions": 2}
    world = [word for key, value in keys.items() for word in (f"--world.{key}", str(value))]
    settings = parse_settings("demo", ["--config", "demo", "--out", str(folder), *world])
    assert isinstance(settings, DemoSettings)
    demo = prepare(settings, Stages())
    demo.build_v1()
    constant = {
        "max_steps": steps,
        "save_strategy": "no",
        "lr_scheduler_type": "constant",
        "lr_scheduler_kwargs": None,
    }
    methods.PARTS["sft"] = methods.PARTS["sft"]._replace(trainer=InTurn)
    training = settings.training | constant | {"output_dir": str(folder / "model")}
    _tune(training, demo.base, {name: demo.source(name) for name in V1_SOURCES})  # in this process
    return {turn: 1e6 * InTurn.seconds[turn] / InTurn.tokens[turn] for turn in LOSSES}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=80, help="of the training; the first four are not counted")
    parser.add_argument("--captions", type=int, default=400, help="captioned pictures that the rows come from")
    given = parser.parse_args(argv)
    with TemporaryDirectory() as folder:
        found = measure(Path(folder), given.steps, given.captions)
    for turn, seconds in found.items():
        print(f"{turn}: {seconds:.1f} s for a million tokens")
    print(f"ours / trl: {found['ours'] / found['trl']:.2f}")


if __name__ == "__main__":
    main()
