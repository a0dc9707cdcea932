"""A local image-text-to-text model for lighteval: the images go where the question has them.

With lighteval's own command: `lighteval custom FOLDER_OR_REPO eval/vision_model.py "bison|0" --custom-tasks
cadvi_hub.eval.tasks`. lighteval wants exactly one model class in this file.
"""

import io
import tempfile
from pathlib import Path

import torch
from lighteval.models.abstract_model import LightevalModel, ModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc
from PIL import Image
from transformers import PreTrainedTokenizerBase

from cadvi_hub.errors import InputError
from cadvi_hub.eval.sample_cache import NoSampleCache
from cadvi_hub.eval.tasks import specific
from cadvi_hub.generation import ChatRequest, Decoding, Failed, Generator, MadeAsRead
from cadvi_hub.generation.local import LocalGenerator
from cadvi_hub.generation.store import ReplyStore, StoredGenerator
from cadvi_hub.schema import message
from cadvi_hub.training.adapters import is_adapter, merge


class VisionModel(LightevalModel):
    """Greedy answers of a chat model to one question at a time, through the processor's chat template.

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
            InputError: few-shot examples are asked for, or a question is too long for the model.
        """
        order = sorted(range(len(docs)), key=lambda index: (docs[index].generation_size, -len(docs[index].query)))
        unread = iter([docs[index] for index in order])
        requests = MadeAsRead(map(chat_request, unread), unread)
        answers: dict[int, ModelResponse] = {}
        for index, outcome in zip(order, self._generator.generate(requests), strict=True):
            if isinstance(outcome, Failed):
                place = f"{docs[index].task_name}, question {specific(docs[index])['id']}"
                raise InputError(place, f"no answer ({outcome.reason})", "Use a model that takes longer prompts")
            answers[index] = ModelResponse(input=docs[index].query, text=[outcome.text])
        return [answers[index] for index in range(len(docs))]

    @torch.inference_mode()
    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        """Per question, the log-probability of each choice after the prompt (sum over its tokens, natural log)."""
        model, _, tokenizer = self._local.load()
        responses = []
        for doc in docs:
            # One row per choice: the prompts are equal, so the choices alone are padded, on the right.
            prompt = self._local.encode([chat_request(doc)] * len(doc.choices))
            choices = tokenizer(
                doc.choices, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt"
            ).to(model.device)
            joined = {key: torch.cat([prompt[key], choices[key]], dim=1) for key in ("input_ids", "attention_mask")}
            logits = model(**{**prompt, **joined}).logits[:, prompt["input_ids"].shape[1] - 1 : -1].float()
            tokens, real = choices["input_ids"], choices["attention_mask"].bool()
            logprobs = logits.log_softmax(-1).gather(2, tokens.unsqueeze(2)).squeeze(2)
            responses.append(
                ModelResponse(
                    input=doc.query,
                    logprobs=logprobs.masked_fill(~real, 0).sum(1).tolist(),
                    argmax_logits_eq_gold=((logits.argmax(-1) == tokens) | ~real).all(1).tolist(),
                    output_tokens=[row[mask].tolist() for row, mask in zip(tokens, real, strict=True)],
                )
            )
        return responses

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


def chat_request(doc: Doc) -> ChatRequest:
    """The question as one user turn, each image where its placeholder is.

    Raises:
        InputError: `doc` has few-shot examples.
    """
    if doc.fewshot_samples:
        raise InputError(f"task {doc.task_name}", "few-shot examples are not supported", "Use the task as `name|0`")
    pictures = tuple(_encode(image) for image in doc.images or [])
    return ChatRequest([message("user", doc.query)], pictures, Decoding(max_tokens=doc.generation_size or 256))


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PPM")  # the bare pixels: PNG would cost its compression
    return buffer.getvalue()
