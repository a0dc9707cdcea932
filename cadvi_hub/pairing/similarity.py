"""Similarity of the images of a pair: the cosine of their CLIP embeddings (`clip_sim_score` of the published data).

The paper says neither which CLIP model it uses nor what the score is for. Ours is OpenAI's smallest model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import open_image
from cadvi_hub.core.models import NO_REMOTE_CODE, loading
from cadvi_hub.core.schema import ImagePair

if TYPE_CHECKING:
    import torch

MODEL = "openai/clip-vit-base-patch32"


class ImageSimilarity:
    """Scores pairs with a CLIP model, on the GPU if there is one; the first pair loads the model.

    Args:
        model: Hub id, or folder with a CLIP model and its image processor; weights as safetensors.
        batch_size: images per pass.

    Raises:
        InputError: `batch_size` is below 1.
    """

    def __init__(self, model: str = MODEL, batch_size: int = 32):
        if batch_size < 1:
            raise InputError("batch_size", f"{batch_size} is below 1", "Give at least 1")
        self._model_name, self._batch_size = model, batch_size
        self._loaded: tuple[Any, Any] | None = None

    def scores(self, pairs: Sequence[ImagePair], read_image: Callable[[str], bytes]) -> list[float]:
        """Cosine similarity, -1 to 1, of the two images of each pair.

        Each image is read, decoded and embedded once, even if it is in several pairs. `batch_size` pictures are in
        memory at a time. Scores have four decimals, because an embedding depends on its batch by a rounding error.

        Args:
            pairs: for instance those of a shard.
            read_image: returns the encoded bytes of an image by its name.

        Raises:
            InputError: there is no such CLIP model, or a picture does not decode.
        """
        number_of = {
            name: number for number, name in enumerate(dict.fromkeys(n for pair in pairs for n in pair.images))
        }
        if not number_of:
            return []
        import torch

        names = iter(number_of)
        batches = []
        while batch := list(islice(names, self._batch_size)):
            batches.append(self._embed([open_image(read_image(name), name) for name in batch]))
        embeddings = torch.cat(batches)
        first, second = (torch.tensor([number_of[pair.images[side]] for pair in pairs]) for side in (0, 1))
        cosines = (embeddings[first] * embeddings[second]).sum(dim=1).clamp(-1, 1)
        return [round(cosine, 4) for cosine in cosines.tolist()]

    def _embed(self, pictures: list[Any]) -> torch.Tensor:
        """Image embeddings of length 1, on the CPU: pictures × dimensions."""
        import torch

        model, processor = self._load()
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"].to(model.device, model.dtype)
        with torch.inference_mode():
            embeddings = model.get_image_features(pixel_values=pixels).pooler_output.float().cpu()
        return torch.nn.functional.normalize(embeddings)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoConfig, AutoImageProcessor, CLIPModel

            device = "cuda" if torch.cuda.is_available() else "cpu"
            hint = "Name a CLIP model on the Hub, or a folder that holds one as safetensors"
            with loading(self._model_name, "the CLIP model cannot be loaded", hint, self._model_name):
                kind = AutoConfig.from_pretrained(self._model_name, **NO_REMOTE_CODE).model_type
                if kind != "clip":
                    raise InputError(self._model_name, f"a model of type {kind!r}, not CLIP", hint)
                loaded: Any = CLIPModel.from_pretrained(
                    self._model_name, use_safetensors=True, output_loading_info=True
                )
                processor = AutoImageProcessor.from_pretrained(  # without torchvision
                    self._model_name, backend="pil", **NO_REMOTE_CODE
                )
            model, report = loaded
            if report["missing_keys"]:  # they would be random
                raise InputError(self._model_name, f"it lacks {len(report['missing_keys'])} weights of CLIP", hint)
            self._loaded = model.eval().to(device), processor
        return self._loaded
