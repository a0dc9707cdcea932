"""The small base model: a real LLaVA that has learned from single images and plain text alone.

It stands where LLaVA-1.5 stands in the paper: able on one image, never shown two. The shipped weights lie in
`cadvi_hub/base/`; `train_base` makes them again from the recipe and its seed.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadvi_hub.scenes.graph import Scene, draw_scene
from cadvi_hub.scenes.instruct import Turn, image_conversation, short_turns, text_conversation
from cadvi_hub.scenes.render import render

if TYPE_CHECKING:
    import torch
    from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<pad>", "<s>", "<unk>", "<image>", "<|user|>", "<|assistant|>", "<|end|>")
IMAGE_PIXELS, PATCH_PIXELS = 96, 32
IMAGE_TOKENS = (IMAGE_PIXELS // PATCH_PIXELS) ** 2

# Words that the prompts and summaries of the method use and that no conversation about one scene holds. A real LLM
# knows them; here the tokenizer must, and the copying practice below makes the model able to read and write them.
LEXICON = """
Image 1: Image 2: Which image suits the caption better? A. Image 1 B. Image 2 Answer with the option's letter from the given choices
directly. Commonalities: Differences: 1. Object types: 2. Attributes: 3. Counts: 4. Actions: 5. Locations: 6. Relative positions:
Both images show while only image 1 image 2 shows has have the same in both images the first second differ different differs from
Summarize compare commonalities and differences between these two images. What do the two images have in common, and how do they
differ? The difference is that changed became moved appeared disappeared instead of was is now are no longer there it one two three
four five six seven eight nine none more fewer less than left right picture pictures neither each other whereas but not also and or
True False yes no statement Is this true of the images? Note: known about them object objects thing things color size pattern taken
Nothing is in common. There are a an of with for to by on at as its their them they this that these those which who what where how many
""".split()


@dataclass
class BaseRecipe:
    """What makes the base model.

    Attributes:
        seed: Of weights, scenes and conversations.
        vision_steps: Optimizer steps of the vision tower alone, 128 images each; it is frozen afterwards.
        steps: Optimizer steps of projector and language model.
        batch_size: Conversations a step.
        learning_rate: Peak of AdamW's rate; linear warm-up over 200 steps, then cosine to a twentieth.
        question_weight: Weight of a question's tokens in the loss; an answer's have 1. An LLM has learned to read before
            it sees images: predicting questions, half of which are true of the image, is where this one learns to.
        curriculum_share: Share of the steps over which scenes grow from one group of items to three.
        text_share: Share of conversations without a picture.
        boxes_share: Share of pictures in the look of NLVR's boxes.
        hidden_size: Width of the vision tower and the language model.
        vision_layers: Depth of the vision tower.
        text_layers: Depth of the language model.
        vocab_size: Of the byte-level BPE tokenizer.
    """

    seed: int = 0
    vision_steps: int = 2_000
    steps: int = 7_000
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    question_weight: float = 0.3
    curriculum_share: float = 0.3
    text_share: float = 0.15
    boxes_share: float = 0.08
    hidden_size: int = 160
    vision_layers: int = 3
    text_layers: int = 5
    vocab_size: int = 1024


def base_folder() -> Path:
    """Folder of the shipped base model."""
    return Path(str(resources.files("cadvi_hub") / "base"))


def copy_practice(rng: random.Random) -> list[Turn]:
    """Repeat a few words of the lexicon."""
    words = " ".join(rng.choices(LEXICON, k=rng.randint(4, 12)))
    return [(f"Repeat: {words}", words)]


def draw_conversation(rng: random.Random, recipe: BaseRecipe, progress: float) -> tuple[Scene | None, list[Turn]]:
    """A scene (None for plain text) and a conversation about it; `progress` is the share of the training that is done."""
    if rng.random() < recipe.text_share:
        return None, copy_practice(rng) if rng.random() < 0.25 else text_conversation(rng, "train")
    look = "boxes" if rng.random() < recipe.boxes_share else "sketch"
    groups = min(3, 1 + int(3 * progress / recipe.curriculum_share)) if recipe.curriculum_share else 3
    scene = draw_scene(rng, "train", "boxes" if look == "boxes" else "sketch", rng.randint(1, groups))
    # first see, then check: descriptions are half of the conversations at the start and a tenth after the curriculum
    describe_share = 0.1 + 0.4 * max(0.0, 1 - progress / recipe.curriculum_share) if recipe.curriculum_share else 0.1
    return scene, image_conversation(rng, scene, describe_share)


def conversation_text(turns: list[Turn], image: bool) -> str:
    """The conversation as the chat template writes it (a test holds that they agree), the image before the first question."""
    text = "<s>"
    for index, (question, answer) in enumerate(turns):
        picture = "<image>" * IMAGE_TOKENS + "\n" if image and index == 0 else ""
        text += f"<|user|>{picture}{question}<|assistant|>{answer}<|end|>"
    return text


def world_digest(recipe: BaseRecipe) -> str:
    """SHA-256 over what the recipe's first 200 conversations say and show: other scenes, words or pixels change it."""
    rng = random.Random(recipe.seed)
    digest = hashlib.sha256()
    for index in range(200):
        scene, turns = draw_conversation(rng, recipe, index / 200)
        digest.update(conversation_text(turns, scene is not None).encode())
        if scene is not None:
            digest.update(render(scene).tobytes())
    return digest.hexdigest()


def build_tokenizer(recipe: BaseRecipe) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the world's words; any text can be written with it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(recipe.seed)

    def corpus() -> Iterator[str]:
        for _ in range(4000):
            _, turns = draw_conversation(rng, recipe, 1.0)
            yield from (part for turn in turns for part in turn)
        for _ in range(50):  # often enough that each word of the lexicon becomes one token
            yield " ".join(LEXICON)

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<s>",
        eos_token="<|end|>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>", "<|user|>", "<|assistant|>"],
        model_max_length=1024,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def build_processor(recipe: BaseRecipe) -> LlavaProcessor:
    """Tokenizer, image processor (squares of 96 pixels) and our chat template."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    template = (resources.files("cadvi_hub.training") / "chat_templates" / "cadvi.jinja").read_text("utf-8")
    tokenizer = build_tokenizer(recipe)
    tokenizer.chat_template = template
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_PIXELS},
        crop_size={"height": IMAGE_PIXELS, "width": IMAGE_PIXELS},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH_PIXELS,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
        image_token="<image>",
    )


def build_model(recipe: BaseRecipe, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """The untrained model: CLIP vision tower, MLP projector, Llama."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    width, heads = recipe.hidden_size, recipe.hidden_size // 32
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=recipe.vision_layers,
            num_attention_heads=heads,
            image_size=IMAGE_PIXELS,
            patch_size=PATCH_PIXELS,
            projection_dim=width,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=8 * width // 3,
            num_hidden_layers=recipe.text_layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,  # LLaVA-1.5 takes -2, since CLIP's last layer serves its contrastive loss; here there is none
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    torch.manual_seed(recipe.seed)
    return LlavaForConditionalGeneration(config)


def collate(
    processor: LlavaProcessor, drawn: list[tuple[Scene | None, list[Turn]]], question_weight: float = 0.0
) -> tuple[dict[str, Any], torch.Tensor]:
    """Model inputs for drawn conversations, padded on the right, and each token's weight in the loss.

    Answers and their end tokens weigh 1, words of questions `question_weight`, the rest 0.
    """
    import torch

    tokenizer = processor.tokenizer
    assistant, end, image = (tokenizer.convert_tokens_to_ids(token) for token in ("<|assistant|>", "<|end|>", "<image>"))
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


def save_base(model: Any, processor: Any, recipe: BaseRecipe, training: dict[str, Any], out: Path) -> None:
    """Save weights in half precision, the processor, and `recipe.json`, which ties both to the recipe and its world.

    Args:
        training: What was measured in training: loss curve, share of picture parts named by the vision tower.
    """
    import torch

    model.to(torch.float16).save_pretrained(out)
    processor.save_pretrained(out)
    for file in (out / "model.safetensors", out / "tokenizer.json"):
        file.chmod(0o644)
    record = {
        "recipe": asdict(recipe),
        "world": world_digest(recipe),
        "weights": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
        "answers_right": answers_right(model.float(), processor, PROBE_QUESTIONS),
        "training": training,
    }
    (out / "recipe.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


PROBE_QUESTIONS = 300


def answers_right(model: Any, processor: Any, number: int) -> float:
    """Share of `number` short questions about evaluation scenes that the model answers word for word."""
    import torch

    rng = random.Random("probe")
    drawn: list[tuple[Scene | None, list[Turn]]] = []
    while len(drawn) < number:
        scene = draw_scene(rng, "eval")
        drawn += [(scene, [turn]) for turn in short_turns(rng, scene, 1)]
    right = 0
    for start in range(0, number, 50):
        inputs, weights = collate(processor, drawn[start : start + 50])
        with torch.inference_mode():
            predicted = model(**inputs).logits[:, :-1].argmax(-1)
        answers = weights[:, 1:] > 0
        right += int(((predicted == inputs["input_ids"][:, 1:]) | ~answers).all(1).sum())
    return round(right / number, 4)
