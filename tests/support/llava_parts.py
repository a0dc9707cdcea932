"""The parts of a LLaVA-1.5, tiny and at random, in the files and under the names that their authors published."""

import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from transformers import CLIPConfig, CLIPModel, LlamaConfig, LlamaForCausalLM

from tests.support.tiny_llava import CORPUS

TEXT_SIZE, VISION_SIZE, PATCHES = 32, 16, 4
VOCABULARY = 310


def make_vicuna(folder: Path, **changed: Any) -> Path:
    """Tiny Llama in Vicuna's files: shards of pickled tensors, rotary frequencies among them, and tokenizer.model."""
    folder.mkdir()
    model_file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((*CORPUS, "runs  of   spaces    here,  and   there") * 20),
        model_writer=model_file,
        vocab_size=VOCABULARY,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    protocol: Any = sentencepiece_model_pb2  # its classes are made when it is imported
    model = protocol.ModelProto.FromString(model_file.getvalue())
    for piece in model.pieces:
        if set(piece.piece) == {"▁"} and len(piece.piece) > 1:
            piece.score = -1e9  # Llama merges spaces last, although their pieces are among the first
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    ends = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    tokenizer = {"tokenizer_class": "LlamaTokenizer", "model_max_length": 4096, "add_bos_token": True, **ends}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    sizes = {"hidden_size": TEXT_SIZE, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=VOCABULARY, **{**sizes, **changed}, dtype="float16", pad_token_id=0)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    (folder / "generation_config.json").write_text('{"temperature": 0.9, "top_p": 0.6, "max_length": 4096}')
    torch.manual_seed(1)
    weights = {name: weight.half() * 8 for name, weight in LlamaForCausalLM(config).state_dict().items()}
    weights |= {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(8) for layer in range(2)}
    names = sorted(weights)
    shards = {f"pytorch_model-0000{part + 1}-of-00002.bin": names[part::2] for part in range(2)}
    for file, inside in shards.items():
        torch.save({name: weights[name] for name in inside}, folder / file)
    places = {name: file for file, inside in shards.items() for name in inside}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def make_clip(folder: Path) -> Path:
    """Tiny CLIP in OpenAI's files: both towers in one pickle of tensors, and sizes of pictures as single numbers."""
    folder.mkdir()
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**text, "hidden_size": VISION_SIZE, "num_hidden_layers": 3, "image_size": 28, "patch_size": 14}
    config = CLIPConfig(text_config={**text, "vocab_size": 40}, vision_config=vision, projection_dim=8)
    config.architectures = ["CLIPModel"]
    config.save_pretrained(folder)
    torch.manual_seed(2)
    weights = CLIPModel(config).state_dict()
    weights["vision_model.embeddings.position_ids"] = torch.arange(PATCHES + 1)[None]
    torch.save(weights, folder / "pytorch_model.bin")
    pixels = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    sizes = {"crop_size": 28, "size": 28, "resample": 3, "feature_extractor_type": "CLIPFeatureExtractor"}
    flags = {"do_center_crop": True, "do_normalize": True, "do_resize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps({**pixels, **sizes, **flags}))
    return folder


def projector_weights(text_size: int = TEXT_SIZE, vision_size: int = VISION_SIZE) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"0.weight": (text_size, vision_size), "0.bias": (text_size,), "2.weight": (text_size,) * 2}
    shapes["2.bias"] = (text_size,)
    return {
        f"model.mm_projector.{name}": torch.randn(shape, generator=generator).half() for name, shape in shapes.items()
    }


def read_shards(folder: Path) -> dict[str, torch.Tensor]:
    shards = [torch.load(file, weights_only=True) for file in sorted(folder.glob("*.bin"))]
    return {name: weight for shard in shards for name, weight in shard.items()}
