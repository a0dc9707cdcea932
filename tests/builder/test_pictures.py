"""Pairs of a picture with itself, in every disguise."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import look_of
from cadvi_hub.pairing.settings import PairSettings
from cadvi_hub.sources.settings import SourceSettings
from tests.support.builds import FakeAnnotator, load, report


def scene(x: int, size: int = 256) -> Image.Image:
    """A disc and a bar on a sky that grows darker."""
    image = Image.linear_gradient("L").resize((size, size)).convert("RGB")
    draw = ImageDraw.Draw(image)
    scale = size / 256
    draw.ellipse([x * scale, 60 * scale, (x + 70) * scale, 130 * scale], fill="orange")
    draw.rectangle([20 * scale, 180 * scale, 200 * scale, 200 * scale], fill="navy")
    return image


def jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> BuildSettings:
    """a.png, its copy, a smaller JPEG of it, and another picture; captions name them in several ways."""
    source = tmp_path / "source"
    source.mkdir()
    scene(30).save(source / "a.png")
    (source / "copy.png").write_bytes((source / "a.png").read_bytes())
    (source / "small.jpg").write_bytes(jpeg(scene(30, 120), 80))
    scene(150).save(source / "other.png")
    captions = {
        "a.png": "A brown dog near a lake with a boat.",
        "./a.png": "A dog at the lake.",
        str(source / "a.png"): "A dog runs around the lake.",
        "copy.png": "A white dog at the lake and a tree.",
        "small.jpg": "A lake with a black dog and a bird.",
        "other.png": "A dog sleeps beside the lake.",
    }
    rows = [{"image": image, "caption": caption} for image, caption in captions.items()]
    (source / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return BuildSettings("v1", SourceSettings(source, "test"), tmp_path / "out", PairSettings(max_uses_per_image=9))


def test_a_picture_is_paired_neither_with_itself_nor_with_its_copy(settings: BuildSettings) -> None:
    folder = build(settings, FakeAnnotator())
    rows = load(folder)
    pairs = {frozenset(row_id.split("|")) for row_id in rows["id"]}
    assert pairs == {
        frozenset(pair)
        for pair in (
            ("a.png", "small.jpg"),
            ("a.png", "other.png"),
            ("copy.png", "small.jpg"),
            ("copy.png", "other.png"),
            ("small.jpg", "other.png"),
        )
    }
    assert report(folder)["drops"]["pictures are the same file"]["count"] == 1


def test_no_row_shows_where_its_pictures_were(settings: BuildSettings) -> None:
    folder = build(settings, FakeAnnotator())
    for file in folder.iterdir():
        assert str(settings.source.path).encode() not in file.read_bytes()


def test_pictures_that_look_the_same_are_dropped_where_the_user_wants_it(settings: BuildSettings) -> None:
    pairs = replace(settings.pairs, same_look=10)
    folder = build(replace(settings, pairs=pairs), FakeAnnotator())
    assert {name for row_id in load(folder)["id"] for name in row_id.split("|")} >= {"other.png"}
    assert all("other.png" in row_id for row_id in load(folder)["id"])
    assert report(folder)["drops"]["pictures look the same"]["count"] == 2
    with pytest.raises(InputError, match=r"same_look: it is 256. Give a number, 0 to 255"):
        build(replace(settings, out=settings.out / "2", pairs=replace(pairs, same_look=256)), FakeAnnotator())


def test_the_look_survives_scaling_and_compression_and_differs_between_pictures() -> None:
    look = look_of(scene(30))
    assert (look ^ look_of(scene(30, 90))).bit_count() <= 10
    assert (look ^ look_of(scene(150))).bit_count() > 10


def test_captions_in_another_language_are_dropped_and_the_message_says_what_to_set(settings: BuildSettings) -> None:
    captions = [
        "Der Junge und der Hund spielen auf der Wiese.",
        "Die Frau sitzt auf der Bank und liest die Zeitung.",
        "Auf der Straße und auf dem Platz parken Autos.",
    ]
    rows = [
        {"image": name, "caption": text}
        for name, text in zip(("a.png", "copy.png", "other.png"), captions, strict=True)
    ]
    (settings.source.path / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"3 × caption in another language \(de\).*--pairs.spacy_model names a model"):
        build(settings, FakeAnnotator())


def test_captions_that_share_too_little_lead_to_the_setting(settings: BuildSettings) -> None:
    rows = [
        {"image": name, "caption": text}
        for name, text in (("a.png", "A dog and a ball."), ("other.png", "A dog and a car."))
    ]
    (settings.source.path / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"2 of 2 images have no pair; --pairs.min_shared 1 also pairs"):
        build(settings, FakeAnnotator())
