"""Options ranked by how likely a local model finds each: it writes no answer that could be unreadable."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from cadvi_hub.generation.chat import Ranking

# Inputs of a causal model like LLaVA. Others (grids of pictures, token types) may depend on the whole prompt.
PLAIN_INPUTS = {"input_ids", "attention_mask", "pixel_values"}


def cache_name(model: Any) -> str:
    """The model's name for the cache of a prompt: transformers 5.24 calls it `cache`, and warns of the older name."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def rank(model: Any, tokenizer: Any, prompts: dict[str, Any], options: Sequence[Sequence[str]]) -> list[Ranking]:
    """One ranking per prompt; in inference mode.

    Args:
        model: a causal model, ready to run.
        tokenizer: of the model.
        prompts: what the model reads, padded on the left; perhaps with the cache of how they begin
            (`PictureReuse.prepare`). Several prompts at once need a model with `PLAIN_INPUTS`; other models read the
            whole prompt again for each option.
        options: of each prompt.
    """
    import torch

    name = cache_name(model)
    if not set(prompts) <= {*PLAIN_INPUTS, name, "mm_encoder_outputs"}:
        return [_rank_whole(model, tokenizer, prompts, options[0])]
    # On the CPU: layers, and with them the parts of a cache, may be on several devices.
    of_prompt = torch.tensor([row for row, some in enumerate(options) for _ in some])
    mask = prompts["attention_mask"]
    begun = prompts[name].get_seq_length() if name in prompts else 0
    inputs = {**prompts, "input_ids": prompts["input_ids"][:, begun:]}
    if len(options) > 1:  # padding differs between the prompts
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, begun:]
    read = model(**inputs, use_cache=True, logits_to_keep=1)
    written = tokenizer(
        [option for some in options for option in some],
        add_special_tokens=False,
        padding=True,
        padding_side="right",
        return_tensors="pt",
    ).to(read.logits.device)
    tokens, real = written["input_ids"], written["attention_mask"].bool()
    first = read.logits[:, -1].float()[of_prompt]
    logprobs, best = torch.zeros(tokens.shape, device=tokens.device), tokens.clone()
    logprobs[:, 0] = first.log_softmax(-1).gather(1, tokens[:, :1])[:, 0]
    best[:, 0] = first.argmax(-1)
    if tokens.shape[1] > 1:
        # The prompt was read once; options of several tokens, and no others, continue from a copy of its cache.
        longer = real[:, 1].nonzero()[:, 0].cpu()
        begins, follows = tokens[longer, :-1], tokens[longer, 1:]
        whole = torch.cat([mask[of_prompt[longer]], real[longer, :-1].to(mask)], dim=1)
        cache = getattr(read, name)
        cache.batch_select_indices(of_prompt[longer])
        places = {"position_ids": (whole.cumsum(1) - 1)[:, mask.shape[1] :]} if len(options) > 1 else {}
        rest = model(input_ids=begins, attention_mask=whole, **{name: cache}, **places).logits.float()
        logprobs[longer, 1:] = rest.log_softmax(-1).gather(2, follows.unsqueeze(2)).squeeze(2)
        best[longer, 1:] = rest.argmax(-1)
    sums = logprobs.masked_fill(~real, 0).sum(1).tolist()
    greedy = ((best == tokens) | ~real).all(1).tolist()
    ids = [tuple(row[kept].tolist()) for row, kept in zip(tokens, real, strict=True)]
    rankings, start = [], 0
    for some in options:
        here = slice(start, start + len(some))
        rankings.append(Ranking(tuple(sums[here]), tuple(greedy[here]), tuple(ids[here])))
        start += len(some)
    return rankings


def _rank_whole(model: Any, tokenizer: Any, prompt: dict[str, Any], options: Sequence[str]) -> Ranking:
    """The ranking of one prompt. Options of one token share a pass, other options have one each."""
    import torch

    begun = prompt["input_ids"].shape[1]
    written = [tokenizer(option, add_special_tokens=False)["input_ids"] for option in options]
    first = _logits(model, prompt, [], begun)
    sums, greedy = [], []
    for tokens in written:
        logits = first if len(tokens) == 1 else _logits(model, prompt, tokens, begun)[: len(tokens)]
        ids = torch.tensor(tokens, device=logits.device)
        sums.append(float(logits.log_softmax(-1).gather(1, ids[:, None]).sum()))
        greedy.append(bool((logits.argmax(-1) == ids).all()))
    return Ranking(tuple(sums), tuple(greedy), tuple(map(tuple, written)))


def _logits(model: Any, prompt: dict[str, Any], tokens: list[int], begun: int) -> Any:
    """Logits before each of the `tokens` that follow the prompt, and after the last one, in float32."""
    import torch

    more = torch.tensor([tokens], dtype=torch.long, device=prompt["input_ids"].device)
    appended = {"input_ids": more, "attention_mask": torch.ones_like(more)}
    if model.config.model_type == "paligemma":  # the kind of what follows the prompt, as in its `generate`
        appended["token_type_ids"] = torch.ones_like(more)
    inputs = dict(prompt)
    for name, values in prompt.items():
        if tuple(values.shape) == (1, begun):
            new = appended.get(name, torch.zeros_like(more))
            inputs[name] = torch.cat([values, new.to(values.dtype)], dim=1)
        elif name == "cross_attention_mask":  # of Llama 3.2 Vision: new tokens see what the last one sees
            inputs[name] = torch.cat([values, values[:, -1:].expand(-1, len(tokens), -1, -1)], dim=1)
    return model(**inputs, use_cache=False, logits_to_keep=len(tokens) + 1).logits[0].float()
