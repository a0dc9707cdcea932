"""Training the base from scratch: its vision tower, plain text, single images, claims, binding, then labels."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from cadvi_hub.core.files import replacing
from cadvi_hub.demo.base import build_model, build_processor, save_base
from cadvi_hub.demo.base_data import (
    collate,
    draw_binding,
    draw_claims,
    draw_conversation,
    draw_labelled,
    draw_look,
    draw_reading,
)
from cadvi_hub.demo.base_recipe import BaseRecipe
from cadvi_hub.world import scene as graph
from cadvi_hub.world.captions import PLACES
from cadvi_hub.world.instruct import Turn
from cadvi_hub.world.render import render
from cadvi_hub.world.scene import Scene, draw_scene

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

VISION_BATCH = 128
STEPS_PER_CHECKPOINT = 500
TOWER, CHECKPOINT = "vision_tower.safetensors", "checkpoint.safetensors"
# What can be true of a ninth of the picture: the vision tower learns to name it, as CLIP's learned from captions. It
# names the ninth, too: a tower that never has to say where it looks loses that in its first layer, and no language
# model can bind a thing to its place after it.
VISION_WORDS = (
    *(*graph.ANIMATE, *graph.THINGS, *graph.SHAPES, *graph.COLORS, *graph.BOX_SIZES),
    *(*graph.FILLS[1:], *graph.ACTIONS[1:], *graph.BACKDROPS, *PLACES),
)


class Pools:
    """Item k is a list of `POOL` batches that depends only on seed, name and k; for a `DataLoader`."""

    POOL = 10

    def __init__(
        self, make: Callable[[random.Random, float], list[Any]], seed: int, name: str, steps: int, first_step: int
    ):
        self.make, self.seed, self.name, self.steps = make, seed, name, steps
        self.first = first_step // self.POOL

    def __len__(self) -> int:
        return self.steps // self.POOL - self.first

    def __getitem__(self, index: int) -> list[Any]:
        if index >= len(self):
            raise IndexError(index)
        pool = self.first + index
        return self.make(random.Random(f"{self.seed} {self.name} {pool}"), pool * self.POOL / self.steps)


def _batches(pools: Pools) -> Iterator[Any]:
    """The batches in order, made ahead by one worker process."""
    dataset: Any = pools  # a map-style data set that is not a Dataset
    loader: torch.utils.data.DataLoader[Any] = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1)
    return (batch for pool in loader for batch in pool)


def _vision_labels(scene: Scene) -> torch.Tensor:
    """(9, words): which words are true of each ninth of the picture."""
    labels = torch.zeros(9, len(VISION_WORDS))
    for cell, place in enumerate(PLACES):
        labels[cell, VISION_WORDS.index(place)] = 1
    for item in scene.items:
        row, column = item.cell
        for word in item.look:
            if word in VISION_WORDS:
                labels[3 * row + column, VISION_WORDS.index(word)] = 1
    if scene.backdrop in VISION_WORDS:
        labels[:, VISION_WORDS.index(scene.backdrop)] = 1
    return labels


def train_vision(recipe: BaseRecipe, model: LlavaForConditionalGeneration, processor: LlavaProcessor) -> float:
    """Teach the vision tower to name what is in each ninth of a picture; returns the share it names without error."""
    from tqdm import tqdm

    def make(rng: random.Random, progress: float) -> list[Any]:
        batches = []
        for _ in range(Pools.POOL):
            looks = [draw_look(rng, recipe) for _ in range(VISION_BATCH)]
            scenes = [draw_scene(rng, "train", look) for look in looks]
            pixels = processor.image_processor([render(scene) for scene in scenes], return_tensors="pt")[
                "pixel_values"
            ]
            batches.append((pixels, torch.stack([_vision_labels(scene) for scene in scenes])))
        return batches

    tower = model.model.vision_tower
    head = nn.Linear(recipe.hidden_size, len(VISION_WORDS))
    weights = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.01, betas=(0.9, 0.98))
    named = torch.zeros(())
    progress = tqdm(
        _batches(Pools(make, recipe.seed, "vision", recipe.vision_steps, 0)),
        total=recipe.vision_steps,
        desc="vision tower",
    )
    for step, (pixels, labels) in enumerate(progress):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * _schedule(step, recipe.vision_steps)
        logits = head(tower(pixels).last_hidden_state[:, 1:])  # without the class token, as LLaVA takes them
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(-1).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        named = 0.98 * named + 0.02 * ((logits > 0) == labels.bool()).all(-1).float().mean()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}", named=f"{named.item():.3f}")
    return named.item()


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / 200)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def weighted_loss(model: LlavaForConditionalGeneration, inputs: dict[str, Any], weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the next token, averaged with `weights` (batch, length); other tokens get no logits."""
    hidden = model.model(**inputs).last_hidden_state[:, :-1]
    weighted = weights[:, 1:] > 0
    losses = nn.functional.cross_entropy(
        model.lm_head(hidden[weighted]), inputs["input_ids"][:, 1:][weighted], reduction="none"
    )
    return (losses * weights[:, 1:][weighted]).sum() / weights[:, 1:].sum()


def train_base(recipe: BaseRecipe, out: Path) -> None:
    """Train the base model from scratch and save it, its processor and its recipe under `out`.

    The finished vision tower is saved, and a checkpoint every `STEPS_PER_CHECKPOINT` steps of the language model; a
    rerun goes on from there.
    """
    from tqdm import tqdm

    out.mkdir(parents=True, exist_ok=True)
    processor = build_processor()
    model = build_model(recipe, processor.tokenizer).train()
    tower, tower_file, checkpoint = model.model.vision_tower, out / TOWER, out / CHECKPOINT
    if not tower_file.exists():
        named = train_vision(recipe, model, processor)
        _write(tower_file, tower.state_dict(), named)
    tower_weights, named = _read(tower_file)
    tower.load_state_dict(tower_weights)
    tower.requires_grad_(False)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    first, curve = _resume(checkpoint, model, optimizer) if checkpoint.exists() else (0, [])

    total_steps = recipe.reading_steps + recipe.steps
    claims_end = total_steps + recipe.claims_steps
    binding_end = claims_end + recipe.binding_steps
    last_steps = binding_end + recipe.labelled_steps
    stages = {  # first step → number of steps, each with an optimizer and a schedule of its own
        0: total_steps,
        total_steps: recipe.claims_steps,
        claims_end: recipe.binding_steps,
        binding_end: recipe.labelled_steps,
    }

    def make(rng: random.Random, progress: float) -> list[Any]:
        step = round(progress * last_steps)
        drawn: list[tuple[Scene | None, list[Turn]]]
        if step < recipe.reading_steps:
            size = 2 * recipe.batch_size
            drawn = [(None, draw_reading(rng, recipe, step / recipe.reading_steps)) for _ in range(Pools.POOL * size)]
        elif step < total_steps:
            size, seen = recipe.batch_size, (step - recipe.reading_steps) / recipe.steps
            drawn = [draw_conversation(rng, recipe, seen) for _ in range(Pools.POOL * size)]
        elif step < claims_end:
            size, seen = recipe.batch_size, (step - total_steps) / recipe.claims_steps
            drawn = [draw_claims(rng, recipe, seen) for _ in range(Pools.POOL * size)]
        else:
            size, draw = recipe.batch_size, draw_binding if step < binding_end else draw_labelled
            drawn = [draw(rng, recipe) for _ in range(Pools.POOL * size)]
        drawn.sort(key=lambda pair: sum(len(q) + len(a) for q, a in pair[1]))  # little padding within a batch
        batches = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        rng.shuffle(batches)
        question_weight = recipe.question_weight if step < total_steps else 0.0
        return [collate(processor, batch, question_weight) for batch in batches]

    batches = _batches(Pools(make, recipe.seed, "base", last_steps, first))
    progress = tqdm(batches, total=last_steps, initial=first, desc="base model", mininterval=5)
    total = torch.zeros(())
    for step, (inputs, weights) in enumerate(progress, start=first):
        begin = max(first_step for first_step in stages if first_step <= step)
        if step == begin:
            optimizer.state.clear()
        if step == binding_end:  # as `save_base` would round them: this stage can also go on from a saved base
            for weight in trained:
                weight.data = weight.data.half().float()
        rate = recipe.learning_rate if step < total_steps else recipe.claims_learning_rate
        for group in optimizer.param_groups:
            group["lr"] = rate * _schedule(step - begin, stages[begin])
        loss = weighted_loss(model, inputs, weights)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        total += loss.detach()
        if (step + 1) % 100 == 0:
            curve.append({"step": step + 1, "loss": round(total.item() / 100, 4)})
            progress.set_postfix(loss=curve[-1]["loss"])
            total.zero_()
        if (step + 1) % STEPS_PER_CHECKPOINT == 0:
            _write(checkpoint, _state(model, optimizer), [step + 1, curve])
    save_base(model, processor, recipe, {"named_by_vision_tower": named, "loss": curve}, out)
    for file in (checkpoint, tower_file):
        file.unlink(missing_ok=True)


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Weights and the optimizer's state under flat names."""
    state = {f"model/{name}": weight for name, weight in model.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
    return state


def _resume(file: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, Any]]]:
    """Load the checkpoint; returns the number of finished steps and their loss curve."""
    state, (steps, curve) = _read(file)
    weights: dict[str, torch.Tensor] = {}
    values: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        kind, name = key.split("/", 1)
        if kind == "model":
            weights[name] = value
        else:
            index, name = name.split("/")
            values.setdefault(int(index), {})[name] = value
    model.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
    return steps, curve


def _write(file: Path, tensors: dict[str, torch.Tensor], record: Any) -> None:
    own = {name: value.clone() for name, value in tensors.items()}  # tied weights share their memory
    with replacing(file) as opened:
        opened.write(save(own, {"record": json.dumps(record)}))


def _read(file: Path) -> tuple[dict[str, torch.Tensor], Any]:
    with safe_open(file, "pt") as opened:
        record = json.loads(opened.metadata()["record"])
        return {name: opened.get_tensor(name) for name in opened.keys()}, record  # noqa: SIM118  # not a dict
