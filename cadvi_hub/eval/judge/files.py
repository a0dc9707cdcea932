"""The files of a judge: ratings and scores, each there whole or not at all."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cadvi_hub.core.errors import InputError

Row = dict[str, Any]


def predictions_file(results: Path, task: str) -> Path:
    """Where `evaluate` stored the answers to set `task`."""
    return Path(results) / "predictions" / f"{task}.jsonl"


def file_digest(file: Path) -> str:
    """SHA-256 of a file of predictions, in hexadecimal; InputError if it cannot be read."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise InputError(str(file), f"cannot be read ({error})", "Evaluate the model on this set") from error


def read_judged(file: Path, needed: str) -> Row:
    """A judge's results, whose sets all have the key `needed`; nothing if the file is not there.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    hint = "Remove it and run the judge again"
    if not file.exists():
        return {}
    try:
        content: Row = json.loads(file.read_bytes())
        known = isinstance(content["endpoint"], dict) and isinstance(content["judge"], str)
        known = known and all(needed in scores for scores in content["tasks"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(str(file), f"cannot be read ({error!r})", hint) from error
    if not known:
        raise InputError(str(file), "these are no results of a judge", hint)
    return content


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """One JSON object per line; the file is there whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_json(path: Path, content: Row) -> None:
    """`content`, indented; errors as of `write_rows`."""
    _write(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(text.encode("utf-8", "replace"))
        part.replace(path)
    except OSError as error:
        raise InputError(str(path), f"cannot be written ({error})", "Make room or choose another folder") from error
