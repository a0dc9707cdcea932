"""Requests about the same pictures share work: the pictures' features, and the prompt up to the last picture.

COLA and EQBEN ask two questions about two pictures: encoded once and read once, they cost about half.
"""

from __future__ import annotations

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cadvi_hub.generation.ranking import cache_name

if TYPE_CHECKING:
    from torch import Tensor

KEPT_PICTURES = 64  # features that stay in memory (LLaVA-1.5 7B, half precision: 4.7 MB a picture)
AT_ONCE = 16  # pictures that the vision tower sees at once, which bounds its memory


class PictureReuse:
    """Reduces the inputs of a batch to what `generate` still has to compute.

    A picture is encoded once while it is among the last ones used; the features go to `generate` in the order of the
    prompts. Where prompts of a batch are equal up to their last picture, that part is computed once and its cache is
    copied to each of them; `generate` reads only the rest. Answers equal those to the whole prompts, up to rounding.

    This needs a causal model like LLaVA: it reads only text and pixels, a picture is one row of pixels, and every
    position stays in the cache. Other inputs (token types, sizes or grids of pictures, tiles, sliding windows) may
    depend on the whole prompt; such a model gets its inputs unchanged, or only with the features.

    Args:
        model: the model, ready to run.
        pad_token_id: fills the shorter prompts.
    """

    def __init__(self, model: Any, pad_token_id: int):
        self._model, self._pad = model, pad_token_id
        self._cache_name = cache_name(model)
        self._image_token = getattr(model.config, "image_token_id", None)
        takes_features = "mm_encoder_outputs" in inspect.signature(model.forward).parameters
        self._reuses_features = takes_features and self._image_token is not None
        self._continues = True  # until its cache turns out to drop positions
        self._features: OrderedDict[bytes, Tensor] = OrderedDict()
        self._join: Callable[[list[Tensor]], Any] = list

    def prepare(self, inputs: dict[str, Tensor], images: Sequence[tuple[bytes, ...]]) -> dict[str, Any]:
        """Arguments of `generate` for the batch; its output begins with their `input_ids`.

        Args:
            inputs: the processor's output; prompts padded on the left.
            images: the encoded pictures of each prompt, in order.
        """
        if set(inputs) != {"input_ids", "attention_mask", "pixel_values"} or not self._reuses_features:
            return inputs
        names = [[hashlib.blake2b(image).digest() for image in pictures] for pictures in images]
        if not self._encode(inputs["pixel_values"], [name for pictures in names for name in pictures]):
            return inputs
        shared = self._shared(inputs, names) if self._continues else None
        if shared is None:
            texts = {key: inputs[key] for key in ("input_ids", "attention_mask")}
            shared = {**texts, "mm_encoder_outputs": self._encoded(names)}
        while len(self._features) > KEPT_PICTURES:
            self._features.popitem(last=False)
        return shared

    def _encode(self, pixels: Tensor, names: list[bytes]) -> bool:
        """Have the features of all pictures ready; False where a picture is not one row of pixels and of features."""
        import torch

        if len(pixels) != len(names):
            self._reuses_features = False
            return False
        rows = {name: row for row, name in enumerate(names) if name not in self._features}
        unseen = list(rows)
        for start in range(0, len(unseen), AT_ONCE):
            some = unseen[start : start + AT_ONCE]
            pictures = pixels[[rows[name] for name in some]]
            features = self._model.base_model.get_image_features(pixel_values=pictures, return_dict=True).pooler_output
            if len(features) != len(some):
                self._reuses_features = False
                return False
            self._join = torch.stack if isinstance(features, torch.Tensor) else list
            self._features.update(zip(some, features, strict=True))
        for name in names:
            self._features.move_to_end(name)
        return True

    def _encoded(self, names: list[list[bytes]]) -> dict[str, Any]:
        """The features of the pictures, as a model's forward pass takes them."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        features = self._join([self._features[name] for pictures in names for name in pictures])
        return {"image": BaseModelOutputWithPooling(pooler_output=features)}

    def _shared(self, inputs: dict[str, Tensor], names: list[list[bytes]]) -> dict[str, Any] | None:
        """The batch, computed up to the last picture of each prompt; None where no two prompts share that part."""
        import torch
        from transformers.cache_utils import DynamicLayer

        prompts = zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True)
        rows = [ids[mask].tolist() for ids, mask in prompts]
        ends = [len(row) - row[::-1].index(self._image_token) for row in rows]
        keys = [(tuple(row[:end]), tuple(pictures)) for row, end, pictures in zip(rows, ends, names, strict=True)]
        unique = list(dict.fromkeys(keys))
        if len(unique) == len(keys) or any(end == len(row) for row, end in zip(rows, ends, strict=True)):
            return None
        starts, starts_mask = self._padded([list(tokens) for tokens, _ in unique])
        begun = self._model.generate(
            input_ids=starts,
            attention_mask=starts_mask,
            mm_encoder_outputs=self._encoded([list(pictures) for _, pictures in unique]),
            max_new_tokens=1,  # the minimum; the token is thrown away and is not in the cache
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            return_dict_in_generate=True,
        )
        cache = getattr(begun, self._cache_name)
        if not all(type(layer) is DynamicLayer for layer in getattr(cache, "layers", [None])):
            self._continues = False
            return None
        number = {key: index for index, key in enumerate(unique)}
        of_row = torch.tensor([number[key] for key in keys])  # on the CPU: layers may be on several devices
        cache.batch_select_indices(of_row)
        rests, rests_mask = self._padded([row[end:] for row, end in zip(rows, ends, strict=True)])
        return {
            "input_ids": torch.cat([starts[of_row], rests], dim=1),
            "attention_mask": torch.cat([starts_mask[of_row], rests_mask], dim=1),
            self._cache_name: cache,
        }

    def _padded(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """`rows` filled up on the left, and the mask of what is theirs; both [rows, longest], int64."""
        import torch

        longest = max(map(len, rows))
        ids = [[self._pad] * (longest - len(row)) + row for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self._model.device), torch.tensor(mask, device=self._model.device)
