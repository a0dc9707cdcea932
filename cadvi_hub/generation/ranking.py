"""Options ranked by how likely a local model finds each: it writes no answer that could be unreadable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cadvi_hub.generation.chat import Ranking

# Inputs of a causal model like LLaVA. Others (grids of pictures, token types) may depend on the whole prompt.
PLAIN_INPUTS = {"input_ids", "attention_mask", "pixel_values"}


def rank(model: Any, tokenizer: Any, prompts: dict[str, Any], options: Sequence[Sequence[str]]) -> list[Ranking]:
    """One ranking per prompt; in inference mode.

    Args:
        model: a causal model, ready to run.
        tokenizer: of the model.
        prompts: what the model reads, padded on the left; perhaps with the cache of how they begin
            (`PictureReuse.prepare`). Several prompts at once need a model with `PLAIN_INPUTS`.
        options: of each prompt.
    """
    import torch

    of_prompt = torch.tensor([row for row, some in enumerate(options) for _ in some])
    mask = prompts["attention_mask"]
    begun = prompts["past_key_values"].get_seq_length() if "past_key_values" in prompts else 0
    inputs = {**prompts, "input_ids": prompts["input_ids"][:, begun:]}
    if len(options) > 1:  # padding differs between the prompts
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, begun:]
    # The prompt is read once; each option continues from a copy of its cache.
    read = model(**inputs, use_cache=True, logits_to_keep=1)
    read.past_key_values.batch_select_indices(of_prompt.to(mask.device))
    written = tokenizer(
        [option for some in options for option in some],
        add_special_tokens=False,
        padding=True,
        padding_side="right",
        return_tensors="pt",
    ).to(model.device)
    tokens, real = written["input_ids"], written["attention_mask"].bool()
    first = read.logits[:, -1:][of_prompt.to(read.logits.device)]
    if tokens.shape[1] > 1:
        whole = torch.cat([mask[of_prompt.to(mask.device)], written["attention_mask"]], dim=1)
        places = {"position_ids": (whole.cumsum(1) - 1)[:, mask.shape[1] :]} if len(options) > 1 else {}
        rest = model(input_ids=tokens, attention_mask=whole, past_key_values=read.past_key_values, **places)
        logits = torch.cat([first, rest.logits[:, :-1]], dim=1).float()
    else:
        logits = first.float()
    logprobs = logits.log_softmax(-1).gather(2, tokens.unsqueeze(2)).squeeze(2)
    sums = logprobs.masked_fill(~real, 0).sum(1).tolist()
    greedy = ((logits.argmax(-1) == tokens) | ~real).all(1).tolist()
    ids = [tuple(row[kept].tolist()) for row, kept in zip(tokens, real, strict=True)]
    rankings, start = [], 0
    for some in options:
        here = slice(start, start + len(some))
        rankings.append(Ranking(tuple(sums[here]), tuple(greedy[here]), tuple(ids[here])))
        start += len(some)
    return rankings
