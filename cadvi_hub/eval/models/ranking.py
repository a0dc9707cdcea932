"""Options ranked by how likely a local model holds each of them: no words of its own, so none that cannot be read."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from tqdm import tqdm

from cadvi_hub.eval.models.chat import asking_order, chat_request
from cadvi_hub.generation.chat import ChatRequest, Generator, OnReplies, Reply
from cadvi_hub.generation.local import LocalGenerator


class OptionRanker:
    """A generator whose reply to a request is how likely each string in the `enum` of its `json_schema` is.

    The reply is JSON, the fields of lighteval's ModelResponse: it is stored as any other reply is.
    """

    def __init__(self, local: LocalGenerator):
        self._local = local

    @property
    def name(self) -> str:
        return f"{self._local.name}, ranking"

    def generate(self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None) -> Iterator[Reply]:
        for number, request in enumerate(requests):
            reply = Reply(json.dumps(self._rank(request)), "stop", 0, 0)
            if on_replies:
                on_replies([(number, reply)])
            yield reply

    @torch.inference_mode()
    def _rank(self, request: ChatRequest) -> dict[str, Any]:
        assert request.json_schema is not None  # noqa: S101  (`rank_options` sets it)
        model, _, tokenizer = self._local.load()
        options, request = request.json_schema["enum"], replace(request, json_schema=None)
        prompt = self._local.reuse_pictures(self._local.encode([request]), [request])
        # The prompt once; each option goes on from a copy of its cache.
        read = model(**prompt, use_cache=True, logits_to_keep=1)
        read.past_key_values.batch_repeat_interleave(len(options))
        written = tokenizer(
            options, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt"
        ).to(model.device)
        tokens, real = written["input_ids"], written["attention_mask"].bool()
        mask = torch.cat([prompt["attention_mask"].expand(len(tokens), -1), written["attention_mask"]], dim=1)
        rest = model(input_ids=tokens, attention_mask=mask, past_key_values=read.past_key_values).logits[:, :-1]
        logits = torch.cat([read.logits[:, -1:].expand(len(tokens), -1, -1), rest], dim=1).float()
        logprobs = logits.log_softmax(-1).gather(2, tokens.unsqueeze(2)).squeeze(2)
        return {
            "logprobs": logprobs.masked_fill(~real, 0).sum(1).tolist(),
            "argmax_logits_eq_gold": ((logits.argmax(-1) == tokens) | ~real).all(1).tolist(),
            "output_tokens": [row[kept].tolist() for row, kept in zip(tokens, real, strict=True)],
        }


def rank_options(ranker: Generator, docs: list[Doc]) -> list[ModelResponse]:
    """Per question, the log-probability of each choice after the prompt (sum over its tokens, natural log).

    Args:
        ranker: an `OptionRanker`, or one whose replies are stored.
        docs: the questions; those about the same pictures are ranked one after the other.

    Raises:
        InputError: see `chat_request`.
    """
    order = asking_order(docs)
    requests = (replace(chat_request(docs[index]), json_schema={"enum": list(docs[index].choices)}) for index in order)
    replies = tqdm(ranker.generate(requests), "options", len(docs), unit=" questions", leave=False, disable=None)
    responses = {
        index: ModelResponse(input=docs[index].query, **json.loads(reply.text))
        for index, reply in zip(order, replies, strict=True)
        if isinstance(reply, Reply)
    }
    return [responses[index] for index in range(len(docs))]
