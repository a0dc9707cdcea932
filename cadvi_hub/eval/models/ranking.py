"""Closed questions by how likely a local model finds each option: it writes no answer that could be unreadable."""

from dataclasses import replace

from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

from cadvi_hub.eval.models.chat import asking_order, chat_request
from cadvi_hub.generation.chat import Generator, Reply, ask


def rank_options(ranker: Generator, docs: list[Doc]) -> list[ModelResponse]:
    """Per question, the log-probability of each choice after the prompt (sum over its tokens, natural log).

    Args:
        ranker: a local model, perhaps with stored replies.
        docs: the questions; those about the same pictures are ranked one after the other.

    Raises:
        InputError: `chat_request` cannot make a request.
    """
    order = asking_order(docs)
    replies = ask(ranker, order, lambda index: replace(chat_request(docs[index]), options=tuple(docs[index].choices)))
    responses = {
        index: ModelResponse(
            input=docs[index].query,
            logprobs=list(ranking.logprobs),
            argmax_logits_eq_gold=list(ranking.greedy),
            output_tokens=list(map(list, ranking.tokens)),
        )
        for index, reply in replies
        if isinstance(reply, Reply) and (ranking := reply.ranking)
    }
    return [responses[index] for index in range(len(docs))]
