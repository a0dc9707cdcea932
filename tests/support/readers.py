"""What the tests of readers share: small pictures, files of rows, and a reader run to its end."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from cadvi_hub.core.drops import Drops
from cadvi_hub.core.images import ImageFolders, ImageStore
from cadvi_hub.sources.settings import SourceSettings


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(buffer, "PNG")
    return buffer.getvalue()


def draw(folder: Path, *names: str) -> None:
    """Stand-in pictures under `names`."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png())


def write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def write_lines(file: Path, rows: Iterable[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(reader: Any, settings: SourceSettings, images: ImageStore | None = None) -> tuple[list[Any], dict[str, Any]]:
    """All records, and what was dropped; pictures are searched for in `settings.images`."""
    drops = Drops()
    store = images or ImageFolders(settings.images or [settings.path], search=bool(settings.images))
    return list(reader(settings, store, drops)), drops.as_dict()


def parquet_source(folder: Path, pictures: str = "image", **columns: list[Any]) -> SourceSettings:
    """A data set of `columns`, of which `pictures` holds pictures or lists of them."""
    import pyarrow.parquet as pq
    from datasets import Dataset, Features, Image, List

    rest = {name: values for name, values in columns.items() if name != pictures}
    features = dict(Dataset.from_dict(rest).features)
    features[pictures] = List(Image()) if any(isinstance(value, list) for value in columns[pictures]) else Image()
    table = Dataset.from_dict(columns, features=Features(features)).data.table
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "train-00000-of-00001.parquet")  # `to_parquet` would look for the files
    return SourceSettings(folder, "test")
