"""Similarity of images by a CLIP model; here a tiny one of random weights."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.schema import ImagePair
from cadvi_hub.pairing.similarity import ImageSimilarity
from tests.support.tiny_clip import make_clip

torch = pytest.importorskip("torch", reason="the training extra is not installed")


def encoded(seed: int, size: tuple[int, int] = (40, 30)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pair(a: str, b: str) -> ImagePair:
    return ImagePair(f"{a}|{b}", (a, b), "test")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def pictures() -> dict[str, bytes]:
    return {f"{k}.png": encoded(k, (40 + k, 30)) for k in range(7)} | {"copy.png": encoded(0)}


def test_scores_are_the_cosines_of_the_models_own_embeddings(clip: Path, pictures: dict[str, bytes]) -> None:
    from transformers import CLIPImageProcessorPil, CLIPModel

    pairs = [pair("0.png", "1.png"), pair("2.png", "1.png")]
    scores = ImageSimilarity(str(clip)).scores(pairs, pictures.__getitem__)
    model, processor = CLIPModel.from_pretrained(clip), CLIPImageProcessorPil.from_pretrained(clip)
    with torch.inference_mode():
        shown: list[Image.Image] = [Image.open(io.BytesIO(pictures[f"{k}.png"])) for k in range(3)]
        found = model.get_image_features(**processor(images=shown, return_tensors="pt"))
        a, b, c = found.pooler_output
    expected = [torch.cosine_similarity(a, b, dim=0).item(), torch.cosine_similarity(c, b, dim=0).item()]
    assert scores == pytest.approx(expected, abs=1e-4)
    assert scores[0] != scores[1]


def test_equal_pictures_score_one_and_order_within_a_pair_does_not_matter(
    clip: Path, pictures: dict[str, bytes]
) -> None:
    pairs = [pair("0.png", "copy.png"), pair("0.png", "3.png"), pair("3.png", "0.png")]
    same, forth, back = ImageSimilarity(str(clip)).scores(pairs, pictures.__getitem__)
    assert same == 1.0
    assert forth == back < 1.0


def test_each_image_is_read_once_and_the_batch_size_changes_nothing(clip: Path, pictures: dict[str, bytes]) -> None:
    pairs = [pair(f"{k}.png", f"{(k + step) % 7}.png") for k in range(7) for step in (1, 2)]
    scores = {}
    for batch_size in (1, 3, 32):
        read: list[str] = []

        def read_image(name: str) -> bytes:
            read.append(name)  # noqa: B023
            return pictures[name]

        scores[batch_size] = ImageSimilarity(str(clip), batch_size).scores(pairs, read_image)
        assert sorted(read) == [f"{k}.png" for k in range(7)]
    assert len(scores[1]) == len(pairs)
    assert scores[1] == pytest.approx(scores[32], abs=2e-4)
    assert scores[3] == pytest.approx(scores[32], abs=2e-4)


def test_no_pairs_need_no_model() -> None:
    assert ImageSimilarity("no/such-model").scores([], dict[str, bytes]().__getitem__) == []


def test_a_picture_that_does_not_decode_is_named(clip: Path, pictures: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match=r"1.png: picture does not decode"):
        ImageSimilarity(str(clip)).scores([pair("0.png", "1.png")], (pictures | {"1.png": b"no"}).__getitem__)


def test_folders_without_a_whole_clip_model_in_safetensors_are_refused(
    clip: Path, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    def refused(folder: Path) -> str:
        with pytest.raises(InputError, match="Name a CLIP model") as caught:
            ImageSimilarity(str(folder)).scores([pair("0.png", "1.png")], pictures.__getitem__)
        return caught.value.problem

    assert "cannot be loaded" in refused(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert refused(tmp_path) == "a model of type 'bert', not CLIP"
    for file in clip.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    assert "safetensors" in refused(tmp_path)
    weights = load_file(clip / "model.safetensors")
    save_file(
        {"visual_projection.weight": weights.pop("visual_projection.weight")[:4]}, tmp_path / "model.safetensors"
    )
    assert "cannot be loaded" in refused(tmp_path)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert refused(tmp_path) == "it lacks 1 weights of CLIP"
    with pytest.raises(InputError, match="batch_size"):
        ImageSimilarity(batch_size=0)
