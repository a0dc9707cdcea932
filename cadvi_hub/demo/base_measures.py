"""What the base reads in one picture: each property, by what comes before the picture, and whether it binds."""

from __future__ import annotations

import random
from typing import Any

from cadvi_hub.demo.base_data import collate
from cadvi_hub.world.captions import describe, make_caption
from cadvi_hub.world.instruct import CLAIMED, Turn, claim_turn, short_turns
from cadvi_hub.world.near_turns import BOUND, bound_claim_turn, near_caption_turn
from cadvi_hub.world.scene import Scene, draw_scene

Drawn = tuple[Scene | None, list[Turn]]
BEFORE_PICTURE = ("nothing", "label", "labelled scene", "sentence", "three sentences", "turn", "question")
BORROWED = {f"borrowed {name}": name for name in BOUND}
KINDS = (*CLAIMED, *BORROWED, "near caption")


def _moved(rng: random.Random, before: str, turn: Turn) -> list[Turn]:
    """`turn` with its picture after what `before` names."""
    question, answer = turn
    if before == "question":
        return [(f"{question}\n<image>", answer)]
    if before == "turn":
        return [("Repeat: two red cats at the top", "two red cats at the top"), (f"<image>\n{question}", answer)]
    if before == "labelled scene":
        other = describe(draw_scene(rng, "eval", max_groups=2)).text
        return [(f"Image 1: {other}\nImage 2: <image>\nAbout image 2: {question}", answer)]
    number = {"sentence": 1, "three sentences": 3}.get(before, 0)
    said = " ".join(make_caption(rng, draw_scene(rng, "eval", max_groups=2), 0.9).text for _ in range(number))
    text = {"nothing": "", "label": "Image 1: "}.get(before, f"{said}\n")
    return [(f"{text}<image>\n{question}", answer)]


def right_share(model: Any, processor: Any, drawn: list[Drawn]) -> float:
    """Share of conversations in which the model answers the last question word for word."""
    import torch

    assistant = processor.tokenizer.convert_tokens_to_ids("<|assistant|>")
    right = 0
    for start in range(0, len(drawn), 50):
        inputs, weights = collate(processor, drawn[start : start + 50])
        with torch.inference_mode():
            predicted = model(**inputs).logits[:, :-1].argmax(-1)
        begun = (inputs["input_ids"] == assistant).cumsum(1)
        answers = ((weights > 0) & (begun == begun[:, -1:]))[:, 1:]
        right += int(((predicted == inputs["input_ids"][:, 1:]) | ~answers).all(1).sum())
    return round(right / len(drawn), 4)


def answers_right(model: Any, processor: Any, number: int) -> float:
    """Share of `number` short questions about evaluation scenes that the model answers word for word."""
    rng = random.Random("probe")
    drawn: list[Drawn] = []
    while len(drawn) < number:
        scene = draw_scene(rng, "eval")
        drawn += [(scene, [turn]) for turn in short_turns(rng, scene, 1)]
    return right_share(model, processor, drawn)


def read_where(model: Any, processor: Any, number: int) -> dict[str, dict[str, float]]:
    """Share of right answers about evaluation scenes, by what comes before the picture and by what is asked.

    The kinds are the properties of `CLAIMED` (is a claim about one property true?), `borrowed color` and so on (the
    same, the false property belongs to another item of the picture) and `near caption` (which of two captions, one
    edit apart?). Chance is one half.

    Args:
        number: questions of each kind at each place.
    """
    questions = {kind: _draw(kind, number) for kind in KINDS}

    def placed(kind: str, before: str) -> list[Drawn]:
        words = random.Random(f"probe {before}")
        return [(scene, _moved(words, before, turn)) for scene, turn in questions[kind]]

    return {
        before: {kind: right_share(model, processor, placed(kind, before)) for kind in KINDS}
        for before in BEFORE_PICTURE
    }


def _draw(kind: str, number: int) -> list[tuple[Scene, Turn]]:
    """`number` scenes, each with a question of a kind of `KINDS`."""
    rng = random.Random(f"probe {kind}")
    weights = [float(name == kind) for name in CLAIMED]
    drawn: list[tuple[Scene, Turn]] = []
    while len(drawn) < number:
        scene = draw_scene(rng, "eval", max_groups=2)
        if kind in BORROWED:
            turn = bound_claim_turn(rng, scene, BORROWED[kind])
        elif kind == "near caption":
            turn = near_caption_turn(rng, scene)
        else:
            turn = claim_turn(rng, scene, weights)
        if turn is not None:
            drawn.append((scene, turn))
    return drawn
