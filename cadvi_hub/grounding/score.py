"""`cadvi ground`: how many of a built data set's statements its images' scene graphs support, and contradict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from cadvi_hub.core.drops import FIRST_PLACES, Drops
from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import read_json, write_text
from cadvi_hub.core.locks import locked_alone
from cadvi_hub.core.output import LOCK, open_result
from cadvi_hub.core.parquet import read_rows
from cadvi_hub.core.schema import Aspect, summary_of
from cadvi_hub.grounding.check import COMMONALITIES, check_grounding
from cadvi_hub.grounding.picture import Verdict
from cadvi_hub.grounding.settings import GroundSettings
from cadvi_hub.grounding.store import GraphStore, write_graphs

RECORD = "grounding.json"
NO_GRAPH = "no scene graph of an image"
SECTIONS = (COMMONALITIES, *map(str, Aspect))
LIMITS = (0.0, 0.1, 0.25, 0.5)  # of the contradicted share, by which a filter may drop rows

_IMAGE_NAMES = "images.list.element.path"
_NEEDED = ("commonalities", "differences", "source")
_COLUMNS = ["id", _IMAGE_NAMES, "commonalities", "differences"]
Row = dict[str, Any]


def ground(settings: GroundSettings) -> str:
    """Check every row whose images both have a graph; write `grounding.json` and return the table per section.

    About 50 summaries per second on one core; the tagger takes nearly all of the time.

    Raises:
        InputError: a folder without summaries or graphs or with another process that writes there, a bad graph, or no
            row whose images both have graphs.
    """
    folder = settings.folder
    files = _parquet_files(folder)
    with (
        locked_alone(folder / LOCK, folder, "another process is writing to this folder"),
        open_result(folder / RECORD, ["build", "source", "statements"]),
    ):
        return _ground(settings, files)


def _ground(settings: GroundSettings, files: list[Path]) -> str:
    from tqdm import tqdm

    drops = Drops()
    wanted = {name for row in _rows(files, settings.source, [_IMAGE_NAMES]) for name in _names(row)}
    counts: dict[str, Counter[str]] = {section: Counter() for section in SECTIONS}
    first: dict[str, list[str]] = {}
    shares: list[float] = []
    differences: Counter[str] = Counter()
    with TemporaryDirectory() as work:
        file = Path(work) / "graphs.sqlite"
        number = write_graphs(file, settings.graphs, wanted, settings.bad_rows, drops)
        graphs = GraphStore(file)
        for row in tqdm(_rows(files, settings.source, _COLUMNS), desc="ground", unit="row", disable=None):
            found = [graphs.get(name) for name in _names(row)]
            if len(found) != 2 or found[0] is None or found[1] is None:
                drops.add(NO_GRAPH, row["id"])
                continue
            grounding = check_grounding(summary_of(row), (found[0], found[1]))
            shares.append(grounding.share(Verdict.CONTRADICTED))
            for section, verdicts in grounding.counts.items():
                counts[section].update(verdicts)
            differences.update(s.difference for s in grounding.statements if s.difference)
            for statement in grounding.statements:
                places = first.setdefault(statement.section, [])
                if statement.verdict == Verdict.CONTRADICTED and len(places) < FIRST_PLACES:
                    places.append(f"{row['id']}: {statement.text}")
    if not shares:
        problem = f"no row has a scene graph of both images ({len(wanted)} images, {number} graphs)"
        raise InputError(str(settings.folder), problem, f"Check graphs ({settings.graphs}) and source")
    record = {
        "build": _build_digest(settings.folder),
        "source": settings.source,
        "rows": len(shares),
        "statements": {section: {str(v): counts[section][v] for v in Verdict} for section in SECTIONS},
        "differences": {str(v): differences[v] for v in Verdict},
        "rows_above_contradicted_share": {str(limit): sum(share > limit for share in shares) for limit in LIMITS},
        "first_contradicted": {section: first[section] for section in SECTIONS if first.get(section)},
        "drops": drops.as_dict(),
    }
    write_text(settings.folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return _table(record)


def _parquet_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.parquet"))
    if not files or (folder / "_work").exists():
        raise InputError(str(folder), "it holds no finished build", "Name the folder of one, such as data/v1")
    return files


def _rows(files: list[Path], source: str | None, columns: list[str]) -> Iterator[Row]:
    """The rows of `source`, without their pictures."""
    for path in files:
        for row in read_rows(
            path, [*columns, "source"], _NEEDED, "Name a data set with summaries (v1 or v2), or build it again"
        ):
            if source in (None, row["source"]):
                yield row


def _names(row: Row) -> list[str]:
    return [PurePosixPath(image["path"] or "").name for image in row["images"]]


def _build_digest(folder: Path) -> str | None:
    """Which build the figures belong to: a rebuild leaves an older record where it is."""
    file = folder / "build.json"
    return read_json(file).get("digest") if file.is_file() else None


def _table(record: Row) -> str:
    lines = [f"{'':<20}{'statements':>11}" + "".join(f"{verdict + ' %':>16}" for verdict in Verdict)]
    statements = record["statements"]
    total = {str(verdict): sum(counts[verdict] for counts in statements.values()) for verdict in Verdict}
    for section, counts in {**statements, "all": total}.items():
        number = sum(counts.values())
        shares = [f"{100 * counts[verdict] / number:.1f}" if number else "–" for verdict in Verdict]
        lines.append(f"{section:<20}{number:>11}" + "".join(f"{share:>16}" for share in shares))
    skipped = sum(entry["count"] for entry in record["drops"].values())
    above = ", ".join(f"{rows} above {limit}" for limit, rows in record["rows_above_contradicted_share"].items())
    both, of_one = record["differences"][Verdict.CONTRADICTED], sum(record["differences"].values())
    return "\n".join(
        [
            *lines,
            "",
            f"{record['rows']} rows checked, {skipped} left out; contradicted share: {above}",
            f"of {of_one} differences that say what one image shows, the other one shows {both}, too",
        ]
    )
