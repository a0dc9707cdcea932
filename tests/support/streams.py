"""Streams of small rows that say their numbers, for the tests of a streamed mixture."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import LlavaProcessor

from cadvi_hub.core.schema import instruct_features, message
from cadvi_hub.training.sampling import Grouping, StreamingSampler
from cadvi_hub.training.streaming import RowStream, stream_mixture
from tests.support.tunings import row, tiny_processor

Rows = list[dict[str, Any]]
Stream = Callable[..., RowStream]


def numbered(index: int, images: int | None = None, answer: int | None = None) -> dict[str, Any]:
    """A row that says its number, with an answer of so many words."""
    made = row(index % 3 if images is None else images)
    answer = index * 7 % 20 if answer is None else answer
    turns = [message("user", "<image>" * len(made["images"]) + f"{index}?"), message("assistant", "red " * answer)]
    return made | {"id": str(index), "messages": turns}


def write(folder: Path, rows: Rows, file: str = "train-00000-of-00001.parquet", group: int = 7) -> None:
    folder.mkdir(exist_ok=True)
    table = pa.Table.from_pylist(rows, instruct_features().arrow_schema)
    pq.write_table(table, folder / file, row_group_size=group)


def number(of: dict[str, Any]) -> int:
    return int(of["messages"][0]["content"][-1]["text"].rstrip("?"))


def numbers(rows: Iterable[Any]) -> list[int]:
    return [number(each) for each in rows]


def sampler(
    rows: RowStream, seed: int = 0, strategy: str = "group_by_length", whole_steps: bool = False
) -> StreamingSampler:
    return StreamingSampler(rows, Grouping(strategy, 4, 2), seed, whole_steps)


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> LlavaProcessor:
    return tiny_processor(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def stream(tmp_path: Path, processor: LlavaProcessor) -> Stream:
    def make(rows: Rows | int, max_tokens: int = 100, **source: Any) -> RowStream:
        made = [numbered(index) for index in range(rows)] if isinstance(rows, int) else rows
        write(tmp_path / "v1", made)
        settings = {"v1": {"path": str(tmp_path), "config": "v1", **source}}
        streamed: RowStream = stream_mixture(settings, processor, max_tokens, seed=0).dataset
        return streamed

    return make
