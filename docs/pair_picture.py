"""Draw the README's picture: a pair of a built data set, with its summary.

python docs/pair_picture.py --data out/data/v1 --row 10 --out docs/images/pair.png
"""

from __future__ import annotations

import argparse
import textwrap
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from cadvi_hub.core.files import replacing
from cadvi_hub.core.images import encode_png, open_image
from cadvi_hub.core.parquet import read_rows

SIDE, GAP, WORDS, LINE = 288, 16, 76, 24  # pixels of a picture and between them, letters of a line, pixels of a line


def draw(row: dict[str, Any]) -> Image.Image:
    """Both pictures of `row`, a row of CaD-Inst, with the summary below."""
    lines = [f"In common: {row['commonalities']}"]
    lines += [f"{difference['aspect']}: {difference['text']}" for difference in row["differences"]]
    wrapped = [part for line in lines for part in textwrap.wrap(line, WORDS, subsequent_indent="    ")]
    drawn = Image.new("RGB", (2 * SIDE + 3 * GAP, SIDE + 3 * GAP + LINE * len(wrapped)), "white")
    for place, image in enumerate(row["images"]):
        picture = open_image(image["bytes"], str(image["path"])).convert("RGB").resize((SIDE, SIDE))
        drawn.paste(picture, (GAP + place * (SIDE + GAP), GAP))
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(16)
    for number, line in enumerate(wrapped):
        pen.text((GAP, SIDE + 2 * GAP + number * LINE), line, fill="black", font=font)
    return drawn


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Draw a pair of a built data set with its summary.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the config, such as out/data/v1")
    parser.add_argument("--row", type=int, default=0, help="which row of the first file, from 0")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    given = parser.parse_args()
    rows = read_rows(min(given.data.glob("*.parquet")), ["images", "commonalities", "differences"], batch_size=100)
    with replacing(given.out) as file:
        file.write(encode_png(draw(next(islice(rows, given.row, None)))))


if __name__ == "__main__":
    main()
