"""What the tests of builds share: an annotator that needs no model, two small sources, and looks into the output."""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from cadvi_hub.annotation.filters import Dropped
from cadvi_hub.core.images import ImageStore
from cadvi_hub.core.schema import Aspect, CadSummary, Difference, ImagePair, Provenance
from cadvi_hub.sources.settings import SourceSettings


class FakeAnnotator:
    """Writes a summary per pair; drops the pairs it was told to, and dies or hangs where a test wants that."""

    def __init__(
        self,
        name: str = "fake",
        drop: Collection[str] = (),
        die_after: int | None = None,
        hang_after: int | None = None,
    ):
        self.provenance = Provenance(name, "0" * 64, '{"temperature": 0.0}')
        self.drop, self.die_after, self.hang_after = drop, die_after, hang_after
        self.asked: list[str] = []

    def annotate(
        self, pairs: Sequence[ImagePair], images: ImageStore
    ) -> Iterator[tuple[ImagePair, CadSummary | Dropped]]:
        for pair in pairs:
            if len(self.asked) == self.die_after:
                raise KeyboardInterrupt
            if len(self.asked) == self.hang_after:
                time.sleep(600)
            self.asked.append(pair.pair_id)
            if pair.pair_id in self.drop:
                yield pair, Dropped("too_short", "2 words")
            else:
                difference = Difference(Aspect.ATTRIBUTES, f"One of {pair.pair_id} is darker.")
                yield pair, CadSummary("Both are plain.", (difference,))


def picture(file: Path, colour: int) -> None:
    Image.new("RGB", (12, 8), (colour, 255 - colour, 90)).save(file)


def similar_source(folder: Path) -> SourceSettings:
    """Seven similar pairs, over eight pictures, written to `folder`."""
    (folder / "images").mkdir(parents=True)
    for k in range(8):
        picture(folder / f"images/{k}.png", 30 * k)
    rows = [
        {"id": f"p{k}", "images": [f"images/{k}.png", f"images/{k + 1}.png"], "texts": [{"assistant": f"Note {k}."}]}
        for k in range(7)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SourceSettings(folder, "similar")


def captioned_source(folder: Path) -> SourceSettings:
    """Six captions, one of them empty, over six pictures, written to `folder`."""
    folder.mkdir()
    captions = ["A dog on the grass.", "A dog under a tree.", "", "A cat in a tree.", "A boat.", "A cat on the grass."]
    rows = [{"image_id": str(k), "caption": caption, "image": f"{k}.png"} for k, caption in enumerate(captions)]
    for row in rows:
        picture(folder / row["image"], 30 * int(row["image_id"]))
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SourceSettings(folder, "captioned")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def report(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "build.json").read_text())
    return read


def load(folder: Path) -> Any:
    from datasets import load_dataset

    files = str(folder / "train-*.parquet")
    return load_dataset("parquet", data_files=files, split="train", cache_dir=str(folder.parent / "cache"))
