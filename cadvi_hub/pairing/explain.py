"""How many captions and pairs of a built data set each rule removed (`cadvi pairs explain`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.files import Json, read_json
from cadvi_hub.pairing.settings import ExplainSettings

BAR = 40  # characters of the longest bar

# Per step: the name of its start, its rules with the setting of each, and the name of what is left. All names except
# those of `ENDS_WITHOUT_COUNT` are keys of `pair_counts` (pairing/pairs.py).
STEPS = (
    (
        "captions",
        {
            "captions without nouns": "",
            "captions with fewer nouns than a pair must share": "min_shared",
            "captions left out by posting_cap": "posting_cap",
        },
        "captions searched",
    ),
    (
        "caption pairs found",
        {"caption pairs of one image": "", "caption pairs not among the best of either caption": ""},
        "candidates",
    ),
    (
        "candidates",
        {
            "candidates with too few shared nouns": "min_shared",
            "candidates with the same caption twice": "",
            "candidates with captions that say the same": "",
            "candidates with the same two images": "",
            "candidates of images used up": "max_uses_per_image",
            "candidates left when max_pairs was reached": "max_pairs",
        },
        "pairs",
    ),
)
IMAGES = ("images", {"images without a pair": "min_shared"}, "images in pairs")
OTHER_LANGUAGE = "caption in another language"
ENDS_WITHOUT_COUNT = {"captions searched", "images in pairs"}


def explain(settings: ExplainSettings) -> str:
    """A table of what each rule removed, and a histogram of the nouns that pairs share.

    Raises:
        InputError: the folder does not hold a finished build, or its pairs were not mined from captions.
    """
    file = settings.folder / "build.json"
    report = _report(file)
    try:
        counts, chosen = report["pair_counts"], report["recipe"]["pairs"]
        sections = [_source(report)]
        sections += [_step(start, rules, end, counts, chosen) for start, rules, end in STEPS]
        sections += [_rows(report), _step(*IMAGES, counts, chosen)]
        sections += [_drops(report["drops"]), _histogram(report["statistics"].get("rows_with_shared_nouns", {}))]
        sections.append(advise(counts, report["drops"], chosen))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problem = f"the report lacks a count ({error!r})"
        raise InputError(str(file), problem, "Build the data set again with this version") from error
    return "\n\n".join(filter(None, sections))


def explain_mined(counted: Json, chosen: Json, shared: Iterable[int]) -> str:
    """The same for pairs before a build.

    Args:
        counted: the counts of the mining.
        chosen: the settings of pairs.
        shared: number of shared nouns of each pair.
    """
    sections = [_step(*step, counted["pair_counts"], chosen) for step in (*STEPS, IMAGES)]
    histogram = {str(number): count for number, count in Counter(shared).items()}
    advice = advise(counted["pair_counts"], counted["drops"], chosen)
    return "\n\n".join(filter(None, [*sections, _drops(counted["drops"]), _histogram(histogram), advice]))


def advise(counts: Json, drops: Json, chosen: Json) -> str:
    """What would give more pairs, if most images have none; otherwise "".

    Args:
        counts: the counts of the mining.
        drops: what was dropped when the captions were read.
        chosen: the settings of pairs.
    """
    foreign = sum(entry["count"] for reason, entry in drops.items() if reason.startswith(OTHER_LANGUAGE))
    if 2 * counts["images without a pair"] <= counts["images"] + foreign or counts["pairs"] == chosen["max_pairs"]:
        few = ""
    else:
        few = f"{counts['images without a pair']} of {counts['images']} images have no pair"
    hints = []
    if few and chosen["min_shared"] > 1:
        fewer = chosen["min_shared"] - 1
        hints.append(f"--pairs.min_shared {fewer} also pairs captions that share {_nouns(fewer)}")
    if few and (left_out := counts["captions left out by posting_cap"]):
        hints.append(f"a higher --pairs.posting_cap than {chosen['posting_cap']} searches {left_out} more captions")
    if few and counts["candidates of images used up"]:
        hints.append(f"a higher --pairs.max_uses_per_image than {chosen['max_uses_per_image']} uses images more often")
    if foreign and foreign > counts["captions"]:
        problem = f"{foreign} captions are in another language than the model {chosen['spacy_model']}"
        few = f"{few}, and {problem}" if few else problem
        hints.append("--pairs.spacy_model names a model of spaCy for your language")
    return "; ".join([few, *hints]) if few else ""


def _nouns(number: int) -> str:
    return "1 noun" if number == 1 else f"{number} nouns"


def _report(file: Path) -> Json:
    if not file.is_file():
        unfinished = (file.parent / "_work").is_dir()
        problem = "the build is not finished" if unfinished else "the folder holds no build"
        raise InputError(str(file.parent), problem, "Run its command again" if unfinished else "Name a built data set")
    report = read_json(file, "Build the data set again")
    if not report.get("pair_counts"):
        raise InputError(str(file), "no pairs were mined from captions for it", "Name a data set built from captions")
    return report


def _records(report: Json) -> int:
    """Number of pairs that went into the build; each of them became a row or was dropped."""
    pairs, most = int(report["pair_counts"]["pairs"]), report["recipe"]["max_rows"]
    return pairs if most is None else min(pairs, int(most))


def _source(report: Json) -> str:
    dropped = sum(entry["count"] for entry in report["drops"].values())
    unread = dropped - (_records(report) - report["rows"])
    return _table("records of the source", report["records_read"] + unread, {"dropped when read": unread}, "captions")


def _step(start: str, rules: dict[str, str], end: str, counts: dict[str, int], chosen: Json) -> str:
    removed = {f"{rule} ({key} {chosen[key]})" if key else rule: counts[rule] for rule, key in rules.items()}
    return _table(start, counts[start], removed, end, counts.get(end))


def _rows(report: Json) -> str:
    pairs, records = report["pair_counts"]["pairs"], _records(report)
    most = report["recipe"]["max_rows"]
    beyond = {} if most is None else {f"beyond max_rows ({most})": pairs - records}
    removed = {**beyond, "dropped after pairing": records - report["rows"]}
    return _table("pairs", pairs, removed, "rows", report["rows"])


def _table(start: str, count: int, removed: dict[str, int], end: str, left: int | None = None) -> str:
    """Lines that add up: `count`, minus what each rule removed, equals what is left.

    Raises:
        ValueError: the result differs from `left`.
    """
    remainder = count - sum(removed.values())
    if left not in (None, remainder):
        raise ValueError(f"{remainder} {end} should be left, and {left} are counted")
    lines = [f"  {count:>13,}  {start}"]
    lines += [f"− {number:>13,}  {rule}" for rule, number in removed.items()]
    return "\n".join([*lines, f"= {remainder:>13,}  {end}"])


def _drops(drops: Json) -> str:
    if not drops:
        return ""
    most_first = sorted(drops.items(), key=lambda item: (-item[1]["count"], item[0]))
    return "\n".join(["dropped, by reason", *(f"  {entry['count']:>13,}  {reason}" for reason, entry in most_first)])


def _histogram(rows: dict[str, int]) -> str:
    """A bar per number of shared nouns: how many rows share that many."""
    if not rows:
        return ""
    count_of = {int(shared): count for shared, count in rows.items()}
    longest = max(count_of.values())
    lines = ["pairs by shared nouns"]
    for shared in range(min(count_of), max(count_of) + 1):
        count = count_of.get(shared, 0)
        bar = "█" * round(BAR * count / longest) or "▏" * bool(count)
        lines.append(f"  {shared:>13}  {count:>9,}  {bar}".rstrip())
    return "\n".join(lines)
