"""Chat requests to a transformers model in this process: an image-text-to-text model, or a text-only one."""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import open_image
from cadvi_hub.core.models import NO_REMOTE_CODE, loading
from cadvi_hub.core.schema import Message
from cadvi_hub.generation.chat import ChatRequest, Failed, OnReplies, Reply, public_name, without_system_role
from cadvi_hub.generation.processors import load_pillow_processor, resize_each_once
from cadvi_hub.generation.ranking import PLAIN_INPUTS, rank
from cadvi_hub.generation.reuse import PictureReuse
from cadvi_hub.generation.usage import Usage

if TYPE_CHECKING:
    import torch

_NOT_LOADED = "it is not there, or cannot be loaded"
_HINT = "Name a model on the Hub, or a folder that holds one as safetensors"
LOOK_AHEAD = 8  # batches that are sorted by length together, for little padding; this many wait in memory


class LocalGenerator:
    """Answers with a model in this process, in batches of similar length, on the device that is available.

    Requests with options get a `Ranking` of them. Requests about the same pictures come into one batch, which encodes
    and reads the pictures once (`PictureReuse`): ask them near each other. The chat template is the model's own and
    decides where images go. A request whose prompt and reply exceed the model's positions is `Failed`.

    Args:
        model: Hub id, or folder with a model and its processor (or tokenizer).
        revision: branch, tag or commit on the Hub.
        batch_size: requests per batch.
        dtype: of the weights, such as "bfloat16"; "auto" is the model's own.

    Raises:
        InputError: there is no such model; from `generate`: a JSON schema is asked for, which this engine cannot
            enforce, a picture does not decode, or the model takes no pictures or fewer.
    """

    def __init__(self, model: str, revision: str = "main", batch_size: int = 8, dtype: str = "auto"):
        self._model_name, self._revision, self._batch_size, self._dtype = model, revision, batch_size, dtype
        self.name = _name(model, revision) + ("" if dtype == "auto" else f" ({dtype})")
        self.request_changes: dict[str, Any] = {}
        self._loaded: tuple[Any, Any, Any] | None = None
        self._reuse: PictureReuse | None = None

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        remaining = iter(requests)
        is_counted = operator.length_hint(remaining) > 0
        usage, first = Usage(), 0  # number of the first request of a window
        with tqdm(desc=self.name, unit=" replies", leave=False, disable=None) as progress:
            while window := list(itertools.islice(remaining, LOOK_AHEAD * self._batch_size)):
                if is_counted:
                    progress.total = first + len(window) + operator.length_hint(remaining)
                outcomes: dict[int, Reply | Failed] = {}
                for indices in self._batches(window):
                    answers = zip(indices, self._answer([window[index] for index in indices]), strict=True)
                    batch = {first + index: outcome for index, outcome in answers}
                    if on_replies:
                        on_replies([(number, reply) for number, reply in batch.items() if isinstance(reply, Reply)])
                    for outcome in batch.values():
                        usage.count(outcome)
                    outcomes |= batch
                    progress.set_postfix_str(usage.speed(), refresh=False)
                    progress.update(len(batch))
                yield from (outcomes[number] for number in sorted(outcomes))
                first += len(window)

    def _batches(self, window: list[ChatRequest]) -> Iterator[list[int]]:
        """Positions in `window` by batch, longest prompts first.

        A batch shares decoding, having images or not, and having options or not.

        Requests about the same pictures follow each other, first those that have them in the same order.
        """

        def alike(index: int) -> tuple[bool, bool, str]:
            request = window[index]
            return bool(request.options), bool(request.images), repr(request.decoding)

        def length(index: int) -> int:
            return len(str(window[index].messages))

        about: defaultdict[Any, list[int]] = defaultdict(list)  # the pictures, in their order and in any → requests
        for index, request in enumerate(window):
            about[request.images].append(index)
            about[frozenset(request.images)].append(index)

        def place(index: int) -> tuple[Any, ...]:
            images = window[index].images
            same = about[frozenset(images)] if images else [index]
            return alike(index), -max(map(length, same)), same[0], about[images][0] if images else 0, -length(index)

        order = sorted(range(len(window)), key=place)
        for _, group in itertools.groupby(order, alike):
            members = list(group)
            for start in range(0, len(members), self._batch_size):
                yield members[start : start + self._batch_size]

    def _answer(self, requests: list[ChatRequest]) -> list[Reply | Failed]:
        """One result per request; all of them or none have images, and all share one decoding."""
        import torch

        model, _, tokenizer = self.load()
        inputs = self.encode(requests)
        if requests[0].options:
            return self._ranked(inputs, requests)
        prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        decoding = requests[0].decoding
        most = model.config.get_text_config().max_position_embeddings
        if decoding.max_tokens >= most:
            problem = f"it has room for {most} tokens, and max_tokens is {decoding.max_tokens}"
            raise InputError(f"model {self.name}", problem, "Lower max_tokens, so that prompts fit as well")
        fits = [tokens + decoding.max_tokens <= most for tokens in prompt_tokens]
        if not all(fits):
            fitting = list(itertools.compress(requests, fits))
            answers = iter(self._answer(fitting) if fitting else [])
            failed = Failed(f"prompt and longest reply exceed the model's {most} tokens")
            return [next(answers) if fit else failed for fit in fits]
        sampling = {"temperature": decoding.temperature, "top_p": decoding.top_p} if decoding.temperature else {}
        stopping = {"stop_strings": list(decoding.stop), "tokenizer": tokenizer} if decoding.stop else {}
        torch.manual_seed(decoding.seed)
        with torch.inference_mode():
            inputs = self.reuse_pictures(inputs, requests)
            output = model.generate(
                **inputs,
                max_new_tokens=decoding.max_tokens,
                do_sample=bool(sampling),
                num_beams=1,
                **{"temperature": None, "top_p": None, "top_k": None, **sampling},  # not the model's own defaults
                **stopping,
            )
        written = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [
            self._reply(tokens, count, decoding.stop) for tokens, count in zip(written, prompt_tokens, strict=True)
        ]

    def _ranked(self, inputs: dict[str, torch.Tensor], requests: list[ChatRequest]) -> list[Reply | Failed]:
        """A reply with a `ranking` and no text per request; `inputs` are the encoded requests."""
        import torch

        if len(requests) > 1 and not set(inputs) <= PLAIN_INPUTS:
            return [reply for request in requests for reply in self._answer([request])]
        model, _, tokenizer = self.load()
        counts = inputs["attention_mask"].sum(dim=1).tolist()
        with torch.inference_mode():
            prompts = self.reuse_pictures(inputs, requests)
            rankings = rank(model, tokenizer, prompts, [request.options for request in requests])
        return [Reply("", "stop", count, 0, ranking) for count, ranking in zip(counts, rankings, strict=True)]

    def encode(self, requests: list[ChatRequest]) -> dict[str, torch.Tensor]:
        """What the model reads: prompts padded on the left, and all their pictures in order, on the model's device."""
        model, processor, tokenizer = self.load()
        # Many requests are about the same pictures.
        pictures = dict.fromkeys(data for request in requests for data in request.images)
        opened = {data: open_image(data, "picture of a request") for data in pictures}
        images = [[opened[data] for data in request.images] for request in requests]
        if any(images) and getattr(processor, "image_processor", None) is None:
            raise self._takes_no_pictures("it reads text only")
        prompts = []
        for request in requests:
            if request.json_schema:
                raise InputError(self.name, "a local model cannot be held to a JSON schema", "Ask a server for that")
            messages = request.messages
            if processor is tokenizer:  # templates of text-only models take plain strings
                messages = [
                    {"role": turn["role"], "content": "".join(part["text"] for part in turn["content"])}
                    for turn in request.messages
                ]
            with loading(f"model {self.name}", "its chat template fails", "Correct the template", self._model_name):
                prompts.append(_prompt(processor, messages))
        begins = bool(tokenizer.bos_token) and prompts[0].startswith(tokenizer.bos_token)
        try:
            inputs = processor(
                text=prompts,
                **({"images": images} if any(images) else {}),
                padding=True,
                return_tensors="pt",
                add_special_tokens=not begins,  # some templates write the first token, others leave it to us
            )
        except ValueError as error:
            if not any(images):
                raise
            most = max(map(len, images))
            raise self._takes_no_pictures(f"its processor refuses {most} pictures in a prompt ({error})") from error
        return {
            name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
            if name != "labels"  # PaliGemma's processor makes some
        }

    def reuse_pictures(self, inputs: dict[str, torch.Tensor], requests: list[ChatRequest]) -> dict[str, Any]:
        """What the model still has to read of encoded `requests`, see `PictureReuse.prepare`; in inference mode."""
        if self._reuse is None or "pixel_values" not in inputs:
            return inputs
        return self._reuse.prepare(inputs, [request.images for request in requests])

    def _takes_no_pictures(self, problem: str) -> InputError:
        return InputError(
            f"model {self.name}", problem, "Name an image-text-to-text model that takes several pictures"
        )

    def _reply(self, tokens: list[int], prompt_tokens: int, stop: tuple[str, ...]) -> Reply:
        model, processor, _ = self.load()
        ends = model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        length = next((place for place, token in enumerate(tokens, start=1) if token in ends), None)
        text = processor.decode(tokens[:length], skip_special_tokens=True)
        stops = [text.index(string) for string in stop if string in text]
        return Reply(
            text=text[: min(stops)] if stops else text,
            finish_reason="length" if length is None and not stops else "stop",
            prompt_tokens=prompt_tokens,
            completion_tokens=length or len(tokens),
        )

    def load(self) -> tuple[Any, Any, Any]:
        """The model, its processor and its tokenizer (one object, where the model is text-only); loaded once.

        Raises:
            InputError: weights that are not safetensors, or a model that transformers cannot load.
        """
        if self._loaded is None:
            from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
            from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

            name = self._model_name
            where = {"pretrained_model_name_or_path": name, "revision": self._revision, **NO_REMOTE_CODE}
            with loading(f"model {name!r}", _NOT_LOADED, _HINT, name, self._revision):
                sees = AutoConfig.from_pretrained(**where).model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
                model_class = AutoModelForImageTextToText if sees else AutoModelForCausalLM
                model = model_class.from_pretrained(
                    **where, dtype=self._dtype, device_map="auto", use_safetensors=True
                ).eval()
                processor = load_pillow_processor(name, self._revision)
            tokenizer = getattr(processor, "tokenizer", processor)
            if not getattr(processor, "chat_template", None) and not tokenizer.chat_template:
                raise InputError(f"model {name!r}", "it has no chat template", "Put a chat_template.jinja beside it")
            tokenizer.padding_side = "left"
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
            self._loaded = model, processor, tokenizer
            if sees:
                resize_each_once(getattr(processor, "image_processor", None))
                self._reuse = PictureReuse(model, tokenizer.pad_token_id)
        return self._loaded


def _prompt(processor: Any, messages: list[Message]) -> str:
    """The chat in the model's own form; where its template refuses a system role, the first user turn holds that."""
    from jinja2 import TemplateError

    write = partial(processor.apply_chat_template, tokenize=False, add_generation_prompt=True)
    try:
        return str(write(messages))
    except TemplateError:
        if not any(turn["role"] == "system" for turn in messages):
            raise
        return str(write(without_system_role(messages)))


def _name(model: str, revision: str) -> str:
    """`model@revision`; a folder has no revision, so a digest of its weights and settings takes its place.

    A folder goes by its last two names, such as `v1/merged`, so that rows of a data set do not show where it was. The
    digest also separates the stored replies of one training from those of the next one in the same folder.
    """
    folder = Path(model)
    if not folder.is_dir():
        from transformers import AutoConfig

        with loading(f"model {model!r}", _NOT_LOADED, _HINT, model, revision):
            config = AutoConfig.from_pretrained(model, revision=revision, **NO_REMOTE_CODE)
        return f"{model}@{getattr(config, '_commit_hash', None) or revision}"
    for needed in ("config.json", "*.safetensors"):
        if not any(folder.glob(needed)):
            hint = "Name a folder that save_pretrained wrote; an adapter has to be merged first"
            raise InputError(str(folder), f"the folder holds no model, for it has no {needed}", hint)
    weights, configs = ("*.safetensors",), ("config.json", "generation_config.json", "*processor_config.json")
    patterns = (*weights, *configs, "tokenizer*", "*.jinja")
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"{public_name(str(folder.resolve()))}@{digest.hexdigest()[:12]}"
