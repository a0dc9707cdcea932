"""What the base model learns from: conversations about single scenes, and reading practice without pictures."""

from __future__ import annotations

import hashlib
import random
from functools import cache
from typing import TYPE_CHECKING, Any

from cadvi_hub.annotation.mentions import Mentions
from cadvi_hub.annotation.prompt import render_prompt
from cadvi_hub.core.summaries import render_summary
from cadvi_hub.demo.base_recipe import IMAGE_TOKENS, BaseRecipe
from cadvi_hub.world.captions import describe, make_caption
from cadvi_hub.world.instruct import (
    Turn,
    claim_turn,
    count_turn,
    image_conversation,
    kind_turn,
    property_turn,
    relation_turn,
    short_turns,
    text_conversation,
)
from cadvi_hub.world.labelled import labelled_conversation
from cadvi_hub.world.near_turns import (
    HARD_CLAIMS,
    bound_claim_turn,
    draw_near_scene,
    near_caption_turn,
    near_texts_turn,
)
from cadvi_hub.world.render import render
from cadvi_hub.world.scene import ACTIONS, ANIMATE, BOX_SIZES, COLORS, FILLS, SHAPES, THINGS, Look, Scene, draw_scene

if TYPE_CHECKING:
    import torch
    from transformers import LlavaProcessor

# Words that the method's prompts and summaries use and that no conversation about one scene contains. A real LLM knows
# them; here the tokenizer must know them, and copying practice teaches the model to read and write them.
_LEXICON = """
Image 1: Image 2: Which image suits the caption better? A. Image 1 B. Image 2 Answer with the option's letter from
the given choices directly. Commonalities: Differences: 1. Object types: 2. Attributes: 3. Counts: 4. Actions: 5.
Locations: 6. Relative positions: Both images show while only image 1 image 2 shows has have the same in both
images the first second differ different differs from Summarize compare commonalities and differences between these
two images. What do the two images have in common, and how do they differ? The difference is that changed became
moved appeared disappeared instead of was is now are no longer there it one two three four five six seven eight
nine none more fewer less than left right picture pictures neither each other whereas but not also and or True
False yes no statement Is this true of the images? Note: known about them object objects thing things color size
pattern taken Nothing is in common. There are a an of with for to by on at as its their them they this that these
those which who what where how many
"""
LEXICON = _LEXICON.split()
WORLD_WORDS = (
    *(*ANIMATE, *THINGS, *SHAPES, *COLORS, *BOX_SIZES, *FILLS, *ACTIONS),
    *("top", "bottom", "left", "right", "center"),
)


def copy_practice(rng: random.Random) -> list[Turn]:
    """Repeat a few words of the lexicon and of the world."""
    words = " ".join(rng.choices((*LEXICON, *WORLD_WORDS, *WORLD_WORDS), k=rng.randint(3, 12)))
    return [(f"Repeat: {words}", words)]


def _max_groups(progress: float, share: float) -> int:
    return min(3, 1 + int(3 * progress / share)) if share else 3


def draw_reading(rng: random.Random, recipe: BaseRecipe, progress: float) -> list[Turn]:
    """A conversation without a picture: copying, questions about a description, comparing two texts."""
    kind = rng.random()
    if kind < 0.4 - 0.25 * progress:
        return copy_practice(rng)
    if kind < 0.85:
        scene = draw_scene(rng, "train", "sketch", rng.randint(1, _max_groups(progress, recipe.curriculum_share)))
        turns = short_turns(rng, scene, rng.randint(1, 4))
        return [(f"{describe(scene).text}\n{turns[0][0]}", turns[0][1]), *turns[1:]]
    return text_conversation(rng, "train")


def draw_look(rng: random.Random, recipe: BaseRecipe) -> Look:
    """The look of a picture: `boxes` in the recipe's share."""
    return "boxes" if rng.random() < recipe.boxes_share else "sketch"


def draw_conversation(rng: random.Random, recipe: BaseRecipe, progress: float) -> tuple[Scene | None, list[Turn]]:
    """A scene (None for plain text) and a conversation; `progress` is the finished share of the training."""
    if rng.random() < recipe.text_share:
        return None, copy_practice(rng) if rng.random() < 0.25 else text_conversation(rng, "train")
    look = draw_look(rng, recipe)
    groups = _max_groups(progress, recipe.curriculum_share)
    scene = draw_scene(rng, "train", look, rng.randint(1, groups))
    # first see, then check: descriptions are half of the conversations at the start and a tenth after the curriculum
    describe_share = 0.1 + 0.4 * max(0.0, 1 - progress / recipe.curriculum_share) if recipe.curriculum_share else 0.1
    return scene, image_conversation(rng, scene, describe_share)


# Weights of the properties that claims are about, in the order of `instruct.CLAIMED`: first mostly the two that come
# after the noun, which the base does not learn before it has to; then all, the hard ones more often.
FIRST_CLAIMS = (0.3, 0.3, 0.3, 0.3, 2.5, 3, 0.2, 0.2, 0.2)
ALL_CLAIMS = (0.6, 0.6, 1, 1, 2, 2, 1, 2, 2)
CLAIMS_EACH = 5


def draw_claims(rng: random.Random, recipe: BaseRecipe, progress: float) -> tuple[Scene | None, list[Turn]]:
    """A scene (None for plain text) and claims about it, or a conversation as before, to remember the rest."""
    begins = progress < 0.16
    if rng.random() >= (0.85 if begins else 0.45 if progress < 0.7 else 0.35):
        return draw_conversation(rng, recipe, 1.0)
    groups = 1 if progress < 0.06 else 2 if progress < 0.2 else 3
    scene = draw_scene(rng, "train", "sketch", rng.randint(1, groups))
    weights = FIRST_CLAIMS if begins else ALL_CLAIMS
    turns: list[Turn] = []
    while not turns:
        drawn = [claim_turn(rng, scene, weights) for _ in range(CLAIMS_EACH)]
        turns = [turn for turn in drawn if turn is not None]
    if rng.random() < 0.12:
        return None, [(f"{describe(scene).text}\n{turns[0][0]}", turns[0][1]), *turns[1:]]
    return scene, turns


BINDING_QUESTIONS = (kind_turn, relation_turn, property_turn, count_turn)
LABELS = ("Image 1: ", "Image 2: ", "Image: ", "Picture 1: ", "Picture 2: ", "Here is a picture: ", "A: ", "B: ")


def draw_binding(rng: random.Random, recipe: BaseRecipe) -> tuple[Scene | None, list[Turn]]:
    """Questions whose wrong option is nearly right, the picture anywhere in the conversation.

    A quarter is reading practice: two near texts, and summaries of two captions. A fifth is conversations as before.
    The rest asks which of two near captions fits, about claims that borrow from another thing, about other claims, and
    what is where.
    """
    kind = rng.random()
    if kind < 0.12:
        while (turn := near_texts_turn(rng, "train")) is None:
            pass
        return None, [turn]
    if kind < 0.25:
        return None, [summary_turn(rng)]
    if kind < 0.45:
        scene, turns = draw_conversation(rng, recipe, 1.0)
    else:
        scene = draw_scene(rng, "train", "sketch", rng.choice((2, 2, 3)))
        turns = []
        while not turns:
            drawn = [near_caption_turn(rng, scene)] if rng.random() < 0.6 else []
            for _ in range(CLAIMS_EACH):
                form = rng.random()
                if form < 0.45:
                    drawn.append(bound_claim_turn(rng, scene))
                elif form < 0.75:
                    drawn.append(claim_turn(rng, scene, HARD_CLAIMS))
                else:
                    drawn.append(rng.choice(BINDING_QUESTIONS)(rng, scene))
            turns = [turn for turn in drawn if turn is not None]
            rng.shuffle(turns)
    if scene is not None and rng.random() < 0.06:
        return None, [(f"{describe(scene).text}\n{turns[0][0]}", turns[0][1]), *turns[1:]]
    return scene, turns if scene is None else place_picture(rng, turns)


LABELLED_SHARE = 0.6


def draw_labelled(rng: random.Random, recipe: BaseRecipe) -> tuple[Scene | None, list[Turn]]:
    """Questions about one of two labelled scenes, or a conversation as before, to remember the rest."""
    return labelled_conversation(rng) if rng.random() < LABELLED_SHARE else draw_binding(rng, recipe)


def summary_turn(rng: random.Random) -> Turn:
    """The summary of two captions in V1's layout, without a picture: an LLM can write one before it sees an image."""
    while True:
        first = draw_scene(rng, "train")
        second = draw_near_scene(rng, first) if rng.random() < 0.5 else draw_scene(rng, "train")
        if second is None:
            continue
        tell = rng.choice((0.6, 0.8, 1.0))
        captions = make_caption(rng, first, tell).text, make_caption(rng, second, tell).text
        summary = _mentions().summarize(captions)
        if summary.commonalities and summary.differences:
            (asked,) = render_prompt("compare_images", wording=rng.randrange(8))
            request = (asked["content"][-1]["text"] or "").strip().rsplit("\n", 1)[-1]
            texts = f"Image 1: {captions[0]}\nImage 2: {captions[1]}"
            return f"{texts}\n{request}", render_summary(summary)


@cache
def _mentions() -> Mentions:
    return Mentions()


def place_picture(rng: random.Random, turns: list[Turn]) -> list[Turn]:
    """The same conversation, its picture first, or after a label, a text or an earlier turn.

    Never after its question: a model of this size read nothing but places and numbers there, however often it saw it.
    """
    (question, answer), rest = turns[0], turns[1:]
    kind = rng.random()
    if kind < 0.2:
        return [(f"<image>\n{question}", answer), *rest]
    label = rng.choice(LABELS) if rng.random() < 0.7 else ""
    shown = f"{label}<image>\n{question}"
    if kind < 0.45:
        return [(shown, answer), *rest]
    if kind < 0.72:  # sentences about other pictures: not to be believed of this one
        others = [make_caption(rng, draw_scene(rng, "train"), 0.7).text for _ in range(rng.choice((1, 1, 2, 3)))]
        first = rng.choice(LABELS) if rng.random() < 0.4 else ""
        return [(f"{first}{' '.join(others)}\n{shown}", answer), *rest]
    earlier = [copy_practice(rng)[0] for _ in range(rng.choice((1, 2)))]
    if rng.random() < 0.4:
        other = draw_scene(rng, "train")
        (asked, answered), *_ = short_turns(rng, other, 1)
        earlier = [(f"{describe(other).text}\n{asked}", answered)]
    return [*earlier, (shown, answer), *rest]


def conversation_text(turns: list[Turn], image: bool) -> str:
    """The conversation as the chat template writes it.

    The image is where a question has `<image>`, or before the first question.
    """
    if image and not any("<image>" in question for question, _ in turns):
        turns = [(f"<image>\n{turns[0][0]}", turns[0][1]), *turns[1:]]
    text = "".join(f"<|user|>{question}<|assistant|>{answer}<|end|>" for question, answer in turns)
    return "<s>" + text.replace("<image>", "<image>" * IMAGE_TOKENS)


def world_digest(recipe: BaseRecipe) -> str:
    """SHA-256 over what the recipe's first 200 conversations say and show: other scenes, words or pixels change it."""
    rng = random.Random(recipe.seed)
    digest = hashlib.sha256()
    for index in range(200):
        scene, turns = draw_conversation(rng, recipe, index / 200)
        digest.update(conversation_text(turns, scene is not None).encode())
        if scene is not None:
            digest.update(render(scene).tobytes())
        _, turns = draw_claims(rng, recipe, index / 200)
        digest.update(conversation_text(turns, image=True).encode())
        digest.update(conversation_text(draw_reading(rng, recipe, index / 200), image=False).encode())
        for draw in (draw_binding, draw_labelled):
            scene, turns = draw(rng, recipe)
            digest.update(conversation_text(turns, scene is not None).encode())
    return digest.hexdigest()


def collate(
    processor: LlavaProcessor, drawn: list[tuple[Scene | None, list[Turn]]], question_weight: float = 0.0
) -> tuple[dict[str, Any], torch.Tensor]:
    """Model inputs for drawn conversations, padded on the right, and each token's weight in the loss.

    Answers and their end tokens weigh 1, words of questions `question_weight`, the rest 0.
    """
    import torch

    tokenizer = processor.tokenizer
    assistant, end, image = (
        tokenizer.convert_tokens_to_ids(token) for token in ("<|assistant|>", "<|end|>", "<image>")
    )
    texts = [conversation_text(turns, scene is not None) for scene, turns in drawn]
    batch = tokenizer(texts, padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt")
    ids = batch["input_ids"]
    opened = (ids == assistant).cumsum(1) - (ids == assistant).long()  # answers begun before this token
    closed = (ids == end).cumsum(1) - (ids == end).long()
    weights = torch.where(opened > closed, 1.0, question_weight)
    weights[(ids == image) | (batch["attention_mask"] == 0)] = 0.0
    inputs = {"input_ids": ids, "attention_mask": batch["attention_mask"]}
    images = [render(scene) for scene, _ in drawn if scene is not None]
    if images:
        inputs["pixel_values"] = processor.image_processor(images, return_tensors="pt")["pixel_values"]
    return inputs, weights
