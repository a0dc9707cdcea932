"""A local image-text-to-text model for lighteval: the images go where the question has them.

With lighteval's own command: `lighteval custom FOLDER_OR_REPO eval/vision_model.py "bison|0" --custom-tasks
cadvi_hub.eval.tasks`. lighteval wants exactly one model class in this file.
"""

import tempfile
from pathlib import Path

import torch
from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from cadvi_hub.errors import InputError
from cadvi_hub.eval.chat import asking_order, chat_request, greedy_answers
from cadvi_hub.eval.sample_cache import NoSampleCache
from cadvi_hub.generation import Generator
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from cadvi_hub.training.adapters import is_adapter, merge


class VisionModel(LightevalModel):
    """Greedy answers of a chat model, through the processor's chat template; each question is a chat of its own.

    Args:
        config: `model_name` is the name in the results; without a `local` model also its folder or Hub repo id. A
            folder with a LoRA adapter is merged onto its base first.
        local: the model.
        replies: keeps each answer under the digest of weights and request, so that a run that was stopped goes on
            where it was.
    """

    def __init__(self, config: ModelConfig, local: LocalGenerator | None = None, replies: ReplyStore | None = None):
        self.config = config
        self._local = local or local_model(config.model_name)
        self._generator: Generator = self._local if replies is None else StoredGenerator(self._local, replies)
        self._cache = NoSampleCache()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._local.load()[2]

    @property
    def add_special_tokens(self) -> bool:
        return False  # the chat template writes them

    @property
    def max_length(self) -> int:
        """Positions of the language model, in tokens."""
        return self._local.load()[0].config.get_text_config().max_position_embeddings

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        """One answer per question, at most its `generation_size` tokens long.

        Raises:
            InputError: a question cannot be asked, or is too long for the model.
        """
        return greedy_answers(self._generator, docs, "PPM")

    @torch.inference_mode()
    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        """Per question, the log-probability of each choice after the prompt (sum over its tokens, natural log)."""
        order = tqdm(asking_order(docs), desc="options", unit=" questions", leave=False, disable=None)
        responses = {index: self._rank(docs[index]) for index in order}
        return [responses[index] for index in range(len(docs))]

    def _rank(self, doc: Doc) -> ModelResponse:
        model, _, tokenizer = self._local.load()
        request = chat_request(doc)
        prompt = self._local.reuse_pictures(self._local.encode([request]), [request])
        # The prompt once; each choice goes on from a copy of its cache.
        read = model(**prompt, use_cache=True, logits_to_keep=1)
        read.past_key_values.batch_repeat_interleave(len(doc.choices))
        choices = tokenizer(
            doc.choices, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt"
        ).to(model.device)
        tokens, real = choices["input_ids"], choices["attention_mask"].bool()
        mask = torch.cat([prompt["attention_mask"].expand(len(tokens), -1), choices["attention_mask"]], dim=1)
        written = model(input_ids=tokens, attention_mask=mask, past_key_values=read.past_key_values).logits[:, :-1]
        logits = torch.cat([read.logits[:, -1:].expand(len(tokens), -1, -1), written], dim=1).float()
        logprobs = logits.log_softmax(-1).gather(2, tokens.unsqueeze(2)).squeeze(2)
        return ModelResponse(
            input=doc.query,
            logprobs=logprobs.masked_fill(~real, 0).sum(1).tolist(),
            argmax_logits_eq_gold=((logits.argmax(-1) == tokens) | ~real).all(1).tolist(),
            output_tokens=[row[mask].tolist() for row, mask in zip(tokens, real, strict=True)],
        )

    def loglikelihood_rolling(self, docs: list[Doc]) -> list[ModelResponse]:
        fault = "a chat model over images has no perplexity of a bare text"
        raise InputError(self.config.model_name, fault, "Use tasks that ask for an answer or rank choices")


def local_model(model: str, batch_size: int = 16) -> LocalGenerator:
    """The model of a folder or Hub repo id; an adapter is merged, proven and loaded from a passing folder."""
    if not is_adapter(model):
        return LocalGenerator(model, batch_size=batch_size)
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder, *Path(model).resolve().parts[-2:])  # the model goes by these names
        merge(Path(model), merged)
        generator = LocalGenerator(str(merged), batch_size=batch_size)
        generator.load()
    return generator
