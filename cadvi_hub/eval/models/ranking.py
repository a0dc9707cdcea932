"""Options ranked by how likely a local model finds each: it writes no answer that could be unreadable."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from tqdm import tqdm

from cadvi_hub.eval.models.chat import asking_order, chat_request
from cadvi_hub.generation.chat import ChatRequest, Generator, OnReplies, Ranking, Reply
from cadvi_hub.generation.local import LocalGenerator


class OptionRanker:
    """A generator that ranks the `options` of a request and writes nothing."""

    def __init__(self, local: LocalGenerator):
        self._local = local

    @property
    def name(self) -> str:
        return f"{self._local.name}, ranking"

    @property
    def request_changes(self) -> dict[str, Any]:
        return self._local.request_changes

    def generate(self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None) -> Iterator[Reply]:
        for number, request in enumerate(requests):
            reply = Reply("", "stop", 0, 0, self._rank(request))
            if on_replies:
                on_replies([(number, reply)])
            yield reply

    @torch.inference_mode()
    def _rank(self, request: ChatRequest) -> Ranking:
        model, _, tokenizer = self._local.load()
        options = list(request.options)
        prompt = self._local.reuse_pictures(self._local.encode([request]), [request])
        # The prompt is read once; each option continues from a copy of its cache.
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
        return Ranking(
            logprobs=tuple(logprobs.masked_fill(~real, 0).sum(1).tolist()),
            greedy=tuple(((logits.argmax(-1) == tokens) | ~real).all(1).tolist()),
            tokens=tuple(tuple(row[kept].tolist()) for row, kept in zip(tokens, real, strict=True)),
        )


def rank_options(ranker: Generator, docs: list[Doc]) -> list[ModelResponse]:
    """Per question, the log-probability of each choice after the prompt (sum over its tokens, natural log).

    Args:
        ranker: an `OptionRanker`, perhaps one that stores its replies.
        docs: the questions; those about the same pictures are ranked one after the other.

    Raises:
        InputError: `chat_request` cannot make a request.
    """
    order = asking_order(docs)
    requests = (replace(chat_request(docs[index]), options=tuple(docs[index].choices)) for index in order)
    replies = tqdm(ranker.generate(requests), "options", len(docs), unit=" questions", leave=False, disable=None)
    responses = {
        index: ModelResponse(
            input=docs[index].query,
            logprobs=list(ranking.logprobs),
            argmax_logits_eq_gold=list(ranking.greedy),
            output_tokens=list(map(list, ranking.tokens)),
        )
        for index, reply in zip(order, replies, strict=True)
        if isinstance(reply, Reply) and (ranking := reply.ranking)
    }
    return [responses[index] for index in range(len(docs))]
