"""The page's first row, paging and search, beside `load_dataset(..., streaming=True)`.

    python benchmarks/view.py --rows 50000

Rows have two JPEG pictures of 320 × 240 pixels. Each side runs in a process of its own, so that its peak memory is its
own; libraries are imported before the clock starts, and files are in the system's cache.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

FIRST = """
import sys, time
{imports}
start = time.perf_counter()
{body}
print(time.perf_counter() - start)
"""
OURS = (
    "from cadvi_hub.pages.rows import open_sets\n"
    "from cadvi_hub.pages.pictures import data_url, shown\n"
    "from cadvi_hub.pages.rendering import pair_html\n"
    "import pyarrow.parquet, huggingface_hub, jinja2",
    "row = open_sets(sys.argv[1])['v1'].row({row})\n"
    "assert pair_html(row, [shown(image, data_url) for image in row['images']], '?row=x')",
)
PEER = (
    "from datasets import load_dataset",
    "rows = load_dataset('parquet', data_files=sys.argv[1] + '/v1/*.parquet', split='train', streaming=True)\n"
    "assert next(iter(rows.skip({row})))['images'][0].size",
)


def write_rows(folder: Path, number: int, per_file: int = 1000, per_group: int = 100) -> None:
    """A data set as `cadvi build` lays it out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from cadvi_hub.core.schema import message, v1_features

    schema, rng = v1_features().arrow_schema, np.random.default_rng(0)
    pictures = []
    for _ in range(per_file):
        buffer = io.BytesIO()
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        coarse.resize((320, 240)).save(buffer, "JPEG", quality=80)
        pictures.append(buffer.getvalue())
    folder.mkdir(parents=True)
    for file, start in enumerate(range(0, number, per_file)):
        rows = [
            {
                "id": f"pair-{index}",
                "images": [{"bytes": pictures[(index + k) % per_file], "path": f"{index}_{k}.jpg"} for k in range(2)],
                "messages": [message("user", "<image><image>Compare."), message("assistant", "Commonalities: …")],
                "source": "noise",
                "captions": [f"Noise {index} over a beach.", "Other noise over a beach."],
                "commonalities": "Both images show coloured noise.",
                "differences": [{"aspect": "Attributes", "text": f"Image 1 has other colours, {index} of them."}],
                "shared_nouns": ["noise", "beach"],
            }
            for index in range(start, min(start + per_file, number))
        ]
        table = pa.Table.from_pylist(rows, schema)
        pq.write_table(table, folder / f"train-{file:05d}.parquet", row_group_size=per_group)
    (folder / "build.json").write_text(json.dumps({"rows": number, "drops": {}}))


def seconds(parts: tuple[str, str], data: Path, row: int) -> float:
    script = FIRST.format(imports=parts[0], body=parts[1].format(row=row))
    done = subprocess.run([sys.executable, "-c", script, str(data)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def page_through(data: Path, number: int) -> None:
    """Time of a step and memory over `number` rows, then a search through all rows."""
    from cadvi_hub.pages.pictures import data_url, shown
    from cadvi_hub.pages.rendering import pair_html
    from cadvi_hub.pages.rows import RowFilter, open_sets

    rows = open_sets(str(data))["v1"]
    started, resident = time.perf_counter(), []
    for index in range(number):
        row = rows.row(index)
        assert row
        pair_html(row, [shown(image, data_url) for image in row["images"]], "?row=x")
        if index in (number // 10, number - 1):
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6)
    step = (time.perf_counter() - started) / number
    print(
        f"paging through {number:,} rows: {1000 * step:.1f} ms a row; memory after a tenth {resident[0]:.0f} MB, "
        f"at the end {resident[1]:.0f} MB"
    )
    started = time.perf_counter()
    assert rows.find(RowFilter(text="no such text")) is None
    print(f"search through all {rows.total:,} rows: {time.perf_counter() - started:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--paged", type=int, default=1_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        write_rows(data / "v1", chosen.rows)
        for row in (0, chosen.rows // 2):
            ours, peer = seconds(OURS, data, row), seconds(PEER, data, row)
            print(f"row {row:,} of {chosen.rows:,}: ours {ours:.2f} s, load_dataset streaming {peer:.2f} s")
        page_through(data, min(chosen.paged, chosen.rows))


if __name__ == "__main__":
    main()
