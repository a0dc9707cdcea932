"""The parts of a vision-language model and which of them train, found by structure instead of by the model's name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal, NamedTuple, cast

import torch
from peft import PeftModel
from peft.utils.constants import DUMMY_TARGET_MODULES
from transformers import PreTrainedModel

from cadvi_hub.core.errors import InputError

Tuned = Literal["frozen", "lora", "full"]


class TunedParts(NamedTuple):
    """How each part trains; as in the paper if nothing is given.

    A part that trains in full is a copy beside the frozen original, which the adapter holds.
    """

    language_model: Tuned = "lora"
    projector: Literal["frozen", "full"] = "full"
    vision_tower: Tuned = "frozen"


THE_PAPERS = TunedParts()


def _name_of(model: PreTrainedModel, wanted: torch.nn.Module) -> str:
    """The name of a module; for PEFT's copy of one that trains in full, the name of what it was copied from."""
    modules: Iterator[tuple[str, torch.nn.Module]] = model.named_modules()
    return next(name for name, module in modules if module is wanted).partition(".modules_to_save.")[0]


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


def _has_weights(module: torch.nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def lora_targets(model: PreTrainedModel, parts: TunedParts = THE_PAPERS) -> str:
    """Regular expression that matches every linear layer of the parts that get LoRA, and of no other part."""
    wanted = {"language_model": model.get_decoder(), "vision_tower": model.get_encoder("image")}
    patterns = []
    for part, module in wanted.items():
        if getattr(parts, part) == "lora":
            layers = (name for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear))
            leaves = "|".join(sorted({name.rpartition(".")[2] for name in layers}))
            patterns.append(rf"{re.escape(_name_of(model, module))}\..*\.({leaves})")
    if parts.vision_tower == "lora":  # the patch mergers of some towers are the projector
        patterns[-1] = rf"(?!({'|'.join(map(re.escape, projector_names(model)))})\.){patterns[-1]}"
    return "|".join(patterns) or DUMMY_TARGET_MODULES


def modules_to_save(model: PreTrainedModel, parts: TunedParts = THE_PAPERS) -> list[str]:
    """Names of the modules that train in full.

    Of the language model, the output layer trains, too. Where it shares its weights with the embeddings, both stay as
    they are: PEFT's copy would not be shared.
    """
    projectors = projector_names(model)
    names = projectors if parts.projector == "full" else []
    if parts.vision_tower == "full":
        names = [
            *names,
            *_whole(model, model.get_encoder("image"), [model.get_submodule(name) for name in projectors]),
        ]
    if parts.language_model == "full":
        output, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
        is_tied = output is None or output.weight is embeddings.weight or model.config.tie_word_embeddings
        names = [*names, *_whole(model, model.get_decoder(), [embeddings] if is_tied else [])]
        names += [] if is_tied else [_name_of(model, output)]
    return names


def _whole(model: PreTrainedModel, part: torch.nn.Module, left_out: Collection[torch.nn.Module]) -> list[str]:
    """Names of the largest modules of a part that have weights and hold none of those to leave out."""
    if part in left_out or not _has_weights(part):
        return []
    if not isinstance(part, torch.nn.ModuleList) and not any(module in left_out for module in part.modules()):
        return [_name_of(model, part)]
    return [name for child in part.children() for name in _whole(model, child, left_out)]


def outside_decoder(model: PreTrainedModel) -> list[str]:
    """Names of the modules that are never quantized: vision tower, projector and output layer."""
    parts = (model.get_encoder("image"), model.get_output_embeddings())
    return [*(_name_of(model, part) for part in parts), *projector_names(model)]


def parts_of(model: PreTrainedModel, weights: Iterable[str]) -> dict[str, str]:
    """The part, a field of `TunedParts`, that each weight of these names belongs to."""
    tower = _name_of(model, model.get_encoder("image"))
    inside = {"projector": projector_names(model), "vision_tower": [tower]}  # a tower may hold projectors

    def part(weight: str) -> str:
        found = (of for of, names in inside.items() if any(f".{name}." in f".{weight}" for name in names))
        return next(found, "language_model")

    return {weight: part(weight) for weight in weights}


def _trained(model: PreTrainedModel) -> dict[str, str]:
    """The part of each weight that trains."""
    return parts_of(model, [name for name, weight in model.named_parameters() if weight.requires_grad])


def check_trainable(model: PeftModel, parts: TunedParts = THE_PAPERS) -> None:
    """Check that an adapter trains each part as it is to be trained, and nothing else.

    Raises:
        InputError: weights of a frozen part would train, or a part would not.
    """
    base: PreTrainedModel = cast(Any, model).get_base_model()
    marks = {"lora": ".lora_", "full": ".modules_to_save."}
    tuned = {part: marks.get(kind, " ") for part, kind in parts._asdict().items()}  # no name has a space
    trainable = _trained(base)
    decoder, output = _name_of(base, base.get_decoder()), base.get_output_embeddings()
    in_language_model = [decoder, *([_name_of(base, output)] if parts.language_model == "full" and output else [])]
    place = f"adapter on {base.name_or_path!r}"
    hint = "Leave lora_target_modules and lora_modules_to_save unset"
    stray = [
        name
        for name, part in trainable.items()
        if tuned[part] not in name or (part == "language_model" and not name.startswith(tuple(in_language_model)))
    ]
    if stray:
        problem = f"{len(stray)} weights would train that must not, among them {min(stray)!r}"
        raise InputError(place, problem, hint)
    for name in projector_names(base) if parts.projector == "full" else []:
        if not any(weight.startswith(f"{name}.") for weight in trainable):
            raise InputError(place, f"the projector {name!r} would not train", hint)
    for part, kind in parts._asdict().items():
        if kind != "frozen" and part not in trainable.values():
            raise InputError(place, f"the {part.replace('_', ' ')} would not train", hint)


def run_frozen_tower_without_gradient(model: PeftModel) -> None:
    """Let a frozen vision tower run without gradient, but for patch mergers in it that train.

    With activation checkpointing, the inputs of the tower require a gradient, and the backward pass would go through
    all of it for nothing.
    """
    base: PreTrainedModel = cast(Any, model).get_base_model()
    if "vision_tower" in _trained(base).values():
        return
    waiting: list[torch.nn.Module] = [base.get_encoder("image")]
    while waiting:
        part = waiting.pop()
        trains = [weight.requires_grad for weight in part.parameters()]
        if isinstance(part, torch.nn.ModuleList) or any(trains):
            waiting += part.children()
        elif trains:  # a part without weights may belong to one that trains
            part.forward = torch.no_grad()(part.forward)
