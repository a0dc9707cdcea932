"""The recipe of the small base model, and where its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

IMAGE_PIXELS, PATCH_PIXELS = 96, 32
IMAGE_TOKENS = (IMAGE_PIXELS // PATCH_PIXELS) ** 2


@dataclass
class BaseRecipe:
    """What makes the base model.

    Attributes:
        seed: Of weights, scenes and conversations.
        vision_steps: Optimizer steps of the vision tower alone, 128 images each; it is frozen afterwards.
        reading_steps: Optimizer steps of the language model on plain text: copying, looking up, checking, comparing.
            An LLM knows this before it sees its first image.
        steps: Optimizer steps of projector and language model on single images and text.
        claims_steps: Optimizer steps of both on claims, each about one property: without them the base accepts any
            wrong action, place and number, and a model tuned on it cannot use them to tell two images apart.
        binding_steps: Optimizer steps of both on questions whose wrong option is nearly right, the picture anywhere in
            the conversation: without them the base finds a "red cat" wherever something is red and there is a cat, and
            reads no places in a picture that comes after other words.
        labelled_steps: Optimizer steps of both on questions about one of two labelled scenes, of which one at most is
            a picture: without them the base answers about whichever scene fits the question.
        batch_size: Conversations per step; twice as many while reading, where they are short.
        learning_rate: Peak of AdamW's rate; linear warm-up over 200 steps, then cosine to a twentieth.
        claims_learning_rate: The same for the claims and what follows; each stage starts with a new optimizer.
        question_weight: Weight of a question's tokens in the loss; an answer's have 1. Half of the questions' claims
            are true of the image, so predicting them teaches looking, too. 0 from the claims on.
        curriculum_share: Share of the steps (of each kind) over which scenes grow from one group of items to three.
        text_share: Share of conversations without a picture.
        boxes_share: Share of pictures in the look of NLVR's boxes.
        hidden_size: Width of the vision tower and the language model.
        vision_layers: Depth of the vision tower.
        text_layers: Depth of the language model.
    """

    seed: int = 0
    vision_steps: int = 2_000
    reading_steps: int = 2_000
    steps: int = 4_500
    claims_steps: int = 3_000
    binding_steps: int = 4_000
    labelled_steps: int = 1_200
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    claims_learning_rate: float = 1e-3
    question_weight: float = 0.3
    curriculum_share: float = 0.3
    text_share: float = 0.15
    boxes_share: float = 0.08
    hidden_size: int = 160
    vision_layers: int = 3
    text_layers: int = 5


def base_folder() -> Path:
    """Folder of the shipped base model."""
    return Path(str(resources.files(__package__) / "base_model"))
