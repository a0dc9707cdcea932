"""What a training reads: rows a second of decoding, padding and tokenizing two pictures and a summary of 150 words.

    python benchmarks/training_input.py --rows 256 --repeats 5

Pictures are JPEG files of 640 × 480 pixels, made for a model that sees 336; batches have 16 rows. One process runs

- `ours`: mixture and collator as `training/sft.py` uses them, with LLaVA-1.5's template, squares and label mask;
- `trl`: TRL's collator as its trainer makes it: the published processor's crop, a loss on every token;
- `trl, same work`: TRL's collator with our processor and the loss on answers; its batches must equal ours;
- `pillow`: decoding and resizing alone, the floor;

in turn, and the medians are compared. `ours` also runs with 4 workers. The last line is the number of rows that one
H100 would read at a model FLOP utilisation of 40 %: computed by `flops_per_row`, not measured. The tokenizer is a
real SentencePiece model of 32,000 pieces, from the package mistral-common. On a busy machine compare rows a second of
CPU.
"""

import argparse
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

BATCH, SIDE, WORKERS = 16, 336, 4
PEAK_FLOPS, UTILISATION = 989e12, 0.4  # of an H100 SXM: dense, bfloat16 (NVIDIA's data sheet); assumed
WORDS = "the a two both images show large red wooden standing beside behind man dog bicycle street several wearing"


def llava_config() -> Any:
    """The sizes of LLaVA-1.5 7B: CLIP ViT-L/14-336 and Vicuna-1.5 7B."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=SIDE,
        patch_size=14,
        projection_dim=768,
    )
    text = LlamaConfig(vocab_size=32_064, max_position_embeddings=4096, rms_norm_eps=1e-5, pad_token_id=32_001)
    config_class: Any = LlavaConfig  # it also takes the names of its own attribute map
    return config_class(
        vision_config=vision, text_config=text, image_token_id=32_000, image_seq_length=(SIDE // 14) ** 2
    )


def flops_per_row(config: Any, tokens: int, images: int, rank: int = 128) -> float:
    """Model FLOPs of one row's forward and backward pass, with LoRA of this rank and the projector trained.

    A frozen weight costs 2 FLOPs a token forward and 2 backward, a trained one 2 and 4, one of the vision tower 2.
    As in PaLM (arXiv 2204.02311, appendix B), attention counts in full, not its causal half, and what activation
    checkpointing computes again does not count.

    Args:
        config: a LLaVA's.
        tokens: length of the row, image tokens included.
        images: pictures in the row.
        rank: of LoRA.
    """
    text, vision = config.text_config, config.vision_config
    wide, inner, layers = text.hidden_size, text.intermediate_size, text.num_hidden_layers
    narrow = text.num_key_value_heads * text.head_dim
    shapes = [(wide, wide), (wide, narrow), (wide, narrow), (wide, wide), (wide, inner), (wide, inner), (inner, wide)]
    frozen = layers * sum(a * b for a, b in shapes) + wide * text.vocab_size
    trained = layers * sum(rank * (a + b) for a, b in shapes)
    language = tokens * (4 * frozen + 6 * trained) + 12 * layers * wide * tokens**2

    seen, size = (vision.image_size // vision.patch_size) ** 2, vision.hidden_size
    tower = vision.num_hidden_layers * (4 * size**2 + 2 * size * vision.intermediate_size)
    looking = (seen + 1) * 2 * tower + 4 * vision.num_hidden_layers * size * (seen + 1) ** 2
    return float(language + images * (looking + seen * 6 * (size * wide + wide**2)))


def save_processor(folder: Path, side: int = SIDE) -> Path:
    """Tokenizer and image processor of a published LLaVA-1.5, for pictures of `side` pixels; no model beside them."""
    import mistral_common
    from transformers import AutoTokenizer, CLIPImageProcessorPil, LlavaProcessor

    folder.mkdir()
    shutil.copy(str(resources.files(mistral_common) / "data" / "tokenizer.model.v1"), folder / "tokenizer.model")
    marks = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    added = {str(32_000 + i): {"content": token, **marks} for i, token in enumerate(("<image>", "<pad>"))}
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    settings = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "added_tokens_decoder": added, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    clip = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    layout = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    LlavaProcessor(clip, AutoTokenizer.from_pretrained(folder), **layout).save_pretrained(folder)
    return folder


def our_processor(folder: Path) -> Any:
    """The processor of `folder` as a training loads it, with LLaVA-1.5's template."""
    from cadvi_hub.training.models import load_processor, template_file
    from cadvi_hub.training.recipe import TuningModel

    return load_processor(TuningModel(model_name_or_path=str(folder)), template_file("llava.jinja"))


def save_rows(folder: Path, rows: int, words: int = 150) -> Path:
    """`rows` questions about two pictures of coarse noise, answered in so many words, as `folder/train.parquet`."""
    from datasets import Dataset

    from cadvi_hub.annotation.prompt import render_prompt
    from cadvi_hub.core.schema import instruct_features, message

    rng = np.random.default_rng(0)

    def picture(name: str) -> dict[str, Any]:
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        return {"bytes": file.getvalue(), "path": name}

    made = [
        {
            "id": str(number),
            "images": [picture(f"{number}-{half}.jpg") for half in "ab"],
            "messages": [
                *render_prompt("compare_images", wording=number),
                message("assistant", " ".join(rng.choice(WORDS.split(), words))),
            ],
            "source": "drawn",
        }
        for number in range(rows)
    ]
    folder.mkdir()
    Dataset.from_list(made, features=instruct_features()).to_parquet(folder / "train.parquet")
    return folder


def mixture_rows(folder: Path, processor: Any, max_tokens: int = 2048) -> Any:
    """The rows of `folder` as a training reads them; what `datasets` makes of them stays beside it."""
    import datasets

    from cadvi_hub.training.mixture import load_mixture

    datasets.config.HF_DATASETS_CACHE = folder.parent / "cache"

    return load_mixture({"rows": {"path": str(folder)}}, processor, max_tokens, seed=0).dataset


def decode_and_resize(rows: Any) -> list[np.ndarray]:
    """Pixels of the undecoded rows' pictures."""
    pictures = (picture["bytes"] for row in rows for picture in row["images"])
    return [np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE))) for data in pictures]


def measure(batches: Iterable[Any], rows: int) -> tuple[float, float]:
    """Rows a second, and rows a second of this process's CPU; what the first batch sets up is not timed."""
    next(iter(batches))
    start, cpu = time.perf_counter(), time.process_time()
    for _ in batches:
        pass
    return rows / (time.perf_counter() - start), rows / (time.process_time() - cpu)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(argv)

    import datasets
    import torch
    from torch.utils.data import DataLoader
    from transformers import AutoProcessor
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    from cadvi_hub.training.collator import Collator

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        base = save_processor(Path(name, "base"))
        ours, published = our_processor(base), AutoProcessor.from_pretrained(base)
        published.chat_template = ours.chat_template  # its own renders about as much text
        rows = mixture_rows(save_rows(Path(name, "rows"), given.rows), ours)
        encoded = rows.cast_column("images", datasets.List(datasets.Image(decode=False)))
        collators: dict[str, tuple[Any, Any]] = {
            "ours": (rows, Collator(ours, max_tokens=2048)),
            "trl": (rows, DataCollatorForVisionLanguageModeling(published)),
            "trl, same work": (rows, DataCollatorForVisionLanguageModeling(ours, assistant_only_loss=True)),
            "pillow": (encoded, decode_and_resize),
        }
        loaders = {name: DataLoader(data, BATCH, collate_fn=collate) for name, (data, collate) in collators.items()}
        first, same = (next(iter(loaders[name])) for name in ("ours", "trl, same work"))
        assert all(torch.equal(first[key], same[key]) for key in ("input_ids", "attention_mask", "labels"))
        torch.testing.assert_close(first["pixel_values"], same["pixel_values"], rtol=0, atol=1e-6)
        rounds = [
            {name: measure(loader, given.rows) for name, loader in loaders.items()} for _ in range(given.repeats)
        ]
        for name in loaders:
            rate, by_cpu = (median(values) for values in zip(*(run[name] for run in rounds), strict=True))
            print(f"{name}: {rate:.0f} rows/s, {by_cpu:.0f} a second of CPU", flush=True)
        several = DataLoader(
            rows, BATCH, collate_fn=collators["ours"][1], num_workers=WORKERS, persistent_workers=True
        )
        rate = median(measure(several, given.rows)[0] for _ in range(given.repeats))
        print(f"ours, {WORKERS} workers on {os.cpu_count()} cores: {rate:.0f} rows/s")
        tokens = round(float(np.mean(rows["length"][:])))
    flops = flops_per_row(llava_config(), tokens, images=2)
    taken = UTILISATION * PEAK_FLOPS / flops
    print(
        f"one H100 on LLaVA-1.5 7B, computed: {taken:.1f} rows/s, {UTILISATION:.0%} (assumed) of "
        f"{PEAK_FLOPS / 1e12:.0f} TFLOP/s by {flops / 1e12:.1f} TFLOP for a row of {tokens} tokens with two images"
    )


if __name__ == "__main__":
    main()
