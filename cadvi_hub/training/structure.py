"""The parts of a vision-language model and which of them train, found by structure instead of by the model's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from cadvi_hub.core.errors import InputError


def _name_of(model: PreTrainedModel, wanted: torch.nn.Module) -> str:
    modules: Iterator[tuple[str, torch.nn.Module]] = model.named_modules()
    return next(name for name, module in modules if module is wanted)


def _mergers(model: PreTrainedModel) -> list[str]:
    """Names of the vision tower's patch mergers; for one that trains, the name of PEFT's wrapper around it."""
    tower = _name_of(model, model.get_encoder("image"))
    return [
        name.removesuffix(".original_module")
        for name, module in model.named_modules()
        if name.startswith(f"{tower}.")
        and type(module).__name__.endswith("PatchMerger")
        and ".modules_to_save." not in name
    ]


def projector_names(model: PreTrainedModel) -> list[str]:
    """Names of the modules that map the vision tower's output to embeddings of the language model.

    Most families have one module between the two: the child of the multimodal body that has weights and is neither
    (`multi_modal_projector` in LLaVA, `connector` in Idefics3 and SmolVLM). Qwen-VL has none: its vision tower ends in
    a patch merger, and some layers of Qwen3-VL's tower have their own. They are found by the name of their class.

    Raises:
        InputError: the model has no such module, or several between the two.
    """
    towers = (model.get_decoder(), model.get_encoder("image"))
    between = [
        _name_of(model, child)
        for child in model.base_model.children()
        if child not in towers and next(child.parameters(), None) is not None
    ]
    projectors = between or _mergers(model)
    if model in towers or not projectors or len(between) > 1:
        raise InputError(
            f"model {model.name_or_path!r} ({type(model).__name__})",
            f"it needs one projector between vision tower and language model, but has {between or 'none'}",
            "Start from a vision-language model that has one, such as LLaVA",
        )
    return projectors


def lora_targets(model: PreTrainedModel) -> str:
    """Regular expression that matches every linear layer of the language model, and no layer of the vision tower."""
    decoder = model.get_decoder()
    leaves = {
        name.rpartition(".")[2] for name, module in decoder.named_modules() if isinstance(module, torch.nn.Linear)
    }
    return rf"{re.escape(_name_of(model, decoder))}\..*\.({'|'.join(sorted(leaves))})"


def outside_decoder(model: PreTrainedModel) -> list[str]:
    """Names of the modules that are never quantized: vision tower, projector and output layer."""
    parts = (model.get_encoder("image"), model.get_output_embeddings())
    return [*(_name_of(model, part) for part in parts), *projector_names(model)]


def check_trainable(model: PeftModel) -> None:
    """Check that an adapter trains LoRA on the language model, the whole projector, and nothing else.

    Raises:
        InputError: weights of the vision tower would train, or the projector would not.
    """
    base: PreTrainedModel = cast(Any, model).get_base_model()
    decoder, projectors = _name_of(base, base.get_decoder()), projector_names(base)
    trainable = {name for name, weight in base.named_parameters() if weight.requires_grad}
    lora = {name for name in trainable if name.startswith(f"{decoder}.") and ".lora_" in name}
    trained = {
        name: {weight for weight in trainable if weight.startswith(f"{name}.modules_to_save.")} for name in projectors
    }
    place = f"adapter on {base.name_or_path!r}"
    hint = "Leave lora_target_modules and lora_modules_to_save unset"
    if stray := sorted(trainable - lora - set().union(*trained.values())):
        raise InputError(place, f"{len(stray)} weights would train that must not, among them {stray[0]!r}", hint)
    if not lora:
        raise InputError(place, "the language model would not train", hint)
    if frozen := [name for name, weights in trained.items() if not weights]:
        raise InputError(place, f"the projector {frozen[0]!r} would not train", hint)


def run_frozen_tower_without_gradient(model: PeftModel) -> None:
    """Let the parts of the vision tower that do not train run without gradient.

    With activation checkpointing, the inputs of the tower require a gradient, and the backward pass would go through
    all of it for nothing.
    """
    base: PreTrainedModel = cast(Any, model).get_base_model()
    waiting: list[torch.nn.Module] = [base.get_encoder("image")]
    while waiting:
        part = waiting.pop()
        trains = [weight.requires_grad for weight in part.parameters()]
        if isinstance(part, torch.nn.ModuleList) or any(trains):
            waiting += part.children()
        elif trains:  # a part without weights may belong to one that trains
            part.forward = torch.no_grad()(part.forward)
