"""Rows with two images in the other order, for `swapped` sources of a mixture.

A model that prefers one position answers otherwise when the images change places (about 30 % of answers in
arXiv 2503.13792); rows in both orders show it that the position does not matter.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cadvi_hub.core.image_order import swap_order
from cadvi_hub.training.lengths import NOT_SWAPPED, WHOLE, RowCounter
from cadvi_hub.training.rendering import fault

NO_ORDER = "its images cannot be shown in the other order"  # why a row is dropped


class SwappedCounter(RowCounter):
    """Counts rows in the other order; what it returns has their texts, and says that the images are to be swapped."""

    @property
    def reasons(self) -> dict[int, str]:
        return {**super().reasons, NOT_SWAPPED: NO_ORDER}

    def __call__(self, rows: pa.Table, indices: list[int]) -> pa.Table:
        """As `RowCounter`; a row without two images, or without texts for the other order, is dropped."""
        messages, images = rows["messages"].to_pylist(), rows["images"].to_pylist()
        swapped = [
            None if fault(turns) or len(of_row or []) != 2 else swap_order(turns)
            for turns, of_row in zip(messages, images, strict=True)
        ]
        texts = [other or turns for other, turns in zip(swapped, messages, strict=True)]
        shown = [of_row[::-1] if other else of_row for other, of_row in zip(swapped, images, strict=True)]
        columns = {"messages": texts, "images": shown}
        table = pa.table({name: pa.array(of, rows.schema.field(name).type) for name, of in columns.items()})
        counted = super().__call__(table, indices)
        is_swapped = np.array([other is not None for other in swapped])
        outcomes = counted["outcome"].to_numpy()
        outcomes = np.where(~is_swapped & (outcomes == WHOLE), NOT_SWAPPED, outcomes)
        place = counted.column_names.index("outcome")
        counted = counted.set_column(place, "outcome", pa.array(outcomes, pa.int8()))
        return counted.set_column(counted.column_names.index("swapped"), "swapped", pa.array(is_swapped))
