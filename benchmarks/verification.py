"""What verification leaves of V2's summaries in the demo's world: what is wrong, and how much of what is right.

    cadvi demo --config demo --out out/demo
    python benchmarks/verification.py --demo out/demo --out out/verification --thresholds 0.5 0.7 0.9

A fact is what a summary says of one image; "both images show a cat" are two. The scene graphs of the drawn pictures
say which facts are right, and which differences are none, since the other image shows the same. The summaries of the
demo's V1 model are taken from its store, so that nothing is written again; questions that the demo's verifier was not
asked are asked now.

A verifier that is unsure of actions removes right ones, too. So the summaries that a writer without errors would write
are verified as well: what is removed of them was right.

Then V1's summaries take the round trip of captions: a reader sees a summary and a caption, and says whose caption it
is. The reader counts words that the caption shares with what is said of one image alone. It gets the summaries as they
are, with the two images confused, and of another pair; guessing would keep a sixteenth.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from cadvi_hub.annotation.claim_questions import question_of, sentence_of
from cadvi_hub.annotation.preferences import confuse_images
from cadvi_hub.annotation.settings import VerifierSettings
from cadvi_hub.annotation.verify import LETTERS, Verifier
from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.cli import parse_settings
from cadvi_hub.core.files import read_json
from cadvi_hub.core.image_order import NAMED
from cadvi_hub.core.images import ImageFolders
from cadvi_hub.core.scene_graph import SceneGraph
from cadvi_hub.core.schema import CadSummary, ImagePair, summary_of
from cadvi_hub.demo.base_recipe import base_folder
from cadvi_hub.demo.run import Demo
from cadvi_hub.demo.settings import DemoSettings
from cadvi_hub.demo.variants import DrawnAnnotator
from cadvi_hub.generation.chat import ChatRequest, Failed, OnReplies, Reply
from cadvi_hub.grounding.check import check_grounding
from cadvi_hub.grounding.claims import Claim, read_claims
from cadvi_hub.grounding.picture import Verdict
from cadvi_hub.world.ground_truth import read_scenes

Facts = dict[tuple[str, int, str], Verdict]  # pair, image, question → whether it is right


def facts(settings: BuildSettings, graphs: Mapping[str, SceneGraph]) -> Facts:
    """What the summaries of a build say of each image; the build is made where it is missing."""
    found: Facts = {}
    columns = ["id", "images", "commonalities", "differences"]
    for file in sorted(build(settings).glob("*.parquet")):
        for row in pq.read_table(file, columns=columns).to_pylist():
            first, second = (graphs[Path(image["path"]).name] for image in row["images"])
            texts = [difference["text"] for difference in row["differences"]]
            for image, question, sentence in said(row["commonalities"], texts):
                (checked,) = check_grounding(CadSummary(sentence, ()), (first, second)).statements
                found[row["id"], image, question] = checked.verdict
    return found


def said(commonalities: str, differences: list[str]) -> Iterator[tuple[int, str, str]]:
    """An image, the question that what is said of it answers, and a sentence that says it of this image alone."""
    for text, common in [(commonalities, True), *((text, False) for text in differences)]:
        for claim in read_claims(text, common):
            if claim.content is not None:
                for image in claim.shown_in:
                    yield image, question_of(claim.content), sentence_of(Claim("", claim.content, (image,)))


def no_differences(folder: Path, graphs: Mapping[str, SceneGraph]) -> tuple[int, int]:
    """How many differences say something of one image that the other one shows, too; and how many there are."""
    verdicts: Counter[Verdict | None] = Counter()
    for file in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(file, columns=["images", "commonalities", "differences"]).to_pylist():
            first, second = (graphs[Path(image["path"]).name] for image in row["images"])
            verdicts.update(said.difference for said in check_grounding(summary_of(row), (first, second)).statements)
    del verdicts[None]
    return verdicts[Verdict.CONTRADICTED], verdicts.total()


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def compare(demo: Demo, out: Path, thresholds: list[float]) -> None:
    """Print a line for the summaries as they are written, and one per threshold."""
    settings = demo.v2_build(demo.out / "models/v1/merged")
    pictures = demo.world / "similar"
    graphs = read_scenes(pictures, {file.name for file in pictures.rglob("*.png")})
    unverified = replace(settings, out=out / "unverified", verifier=VerifierSettings())
    before = facts(unverified, graphs)
    print("threshold   rows   facts   wrong   no differences   right facts still said   questions a pair")
    rows = read_json(out / "unverified/v2/build.json")["rows"]
    wrong = Counter(before.values())[Verdict.CONTRADICTED]
    none = share(*no_differences(out / "unverified/v2", graphs))
    print(f"none {rows:>11} {len(before):>7} {share(wrong, len(before)):>7} {none:>16}", flush=True)
    for threshold in thresholds:
        verifier = replace(settings.verifier, threshold=threshold)
        verified = replace(settings, out=out / str(threshold), verifier=verifier)
        after = facts(verified, graphs)
        report = read_json(verified.out / "v2/build.json")
        kept = {pair for pair, _, _ in after}
        right = [fact for fact, verdict in before.items() if verdict == Verdict.SUPPORTED and fact[0] in kept]
        wrong = Counter(after.values())[Verdict.CONTRADICTED]
        line = f"{threshold:<9} {report['rows']:>6} {len(after):>7} {share(wrong, len(after)):>7}"
        line += f" {share(*no_differences(verified.out / 'v2', graphs)):>16}"
        still = share(sum(fact in after for fact in right), len(right))
        print(f"{line} {still:>24} {report['verification']['questions_per_pair']:>18}", flush=True)


def keep_what_is_right(demo: Demo, out: Path, thresholds: list[float]) -> None:
    """Print, by section, the share that is kept of summaries without an error."""
    settings = demo.v2_build(demo.out / "models/v1/merged")
    writer = DrawnAnnotator(demo.world / "similar")
    for threshold in thresholds:
        verifier = replace(settings.verifier, threshold=threshold, missing_aspects=False)
        right = replace(settings, out=out / f"right-{threshold}", verifier=verifier)
        build(right, writer)
        counts = read_json(right.out / "v2/build.json")["verification"]["statements"]
        kept = {name: share(of["kept"], sum(of.values())) for name, of in counts.items() if any(of.values())}
        print(
            f"of what is right, {threshold} keeps", ", ".join(f"{name} {of}" for name, of in kept.items()), flush=True
        )


class WordReader:
    """Gives a caption to the image whose words in the summary it shares more of; neither where that is equal."""

    name = "shared words"
    request_changes: Mapping[str, object] = {}

    def generate(
        self, requests: Iterable[ChatRequest], on_replies: OnReplies | None = None
    ) -> Iterator[Reply | Failed]:
        for request in requests:
            summary, _, rest = (request.messages[0]["content"][0]["text"] or "").partition("One of the two images has")
            caption = _words(rest.partition("Which one?")[0])
            sides: tuple[set[str], set[str]] = (set(), set())
            names = [*NAMED.finditer(summary)]
            for name, following in zip(names, [*names[1:], None], strict=True):
                end = following.start() if following else len(summary)
                sides["2" in name[0]].update(_words(summary[name.end() : end]))
            first, second = (len(caption & (sides[k] - sides[1 - k])) for k in (0, 1))
            said = "neither" if first == second else LETTERS[second > first]
            yield Reply(said, "stop", 0, 1)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower())) - {"a", "an", "the", "is", "of", "and", "in", "on", "at", "we"}


def place_captions(demo: Demo, most: int) -> None:
    """Print how many of V1's summaries the round trip of captions keeps, as they are and made wrong."""
    columns = ["id", "captions", "commonalities", "differences"]
    files = sorted((demo.data / "v1").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file, columns=columns).to_pylist()][:most]
    pairs = [ImagePair(row["id"], ("a", "b"), "drawn", captions=tuple(row["captions"])) for row in rows]
    right = list(map(summary_of, rows))
    settings = VerifierSettings(model="words", statements=False, caption_round_trip=True)
    verifier = Verifier(WordReader(), settings, min_words=1, max_words=1000)
    print("summaries                 kept")
    for name, summaries in (
        ("as they are", right),
        ("images confused", list(map(confuse_images, right))),
        ("of the next pair", [*right[1:], right[0]]),
    ):
        verified = verifier.verify(iter(zip(pairs, summaries, strict=True)), ImageFolders([]))
        kept = sum(isinstance(one.summary, CadSummary) for one in verified)
        print(f"{name:<20} {kept:>5} of {len(pairs)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True, help="a finished demo")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.5, 0.7, 0.9])
    given = parser.parse_args()
    recipe = read_json(given.demo / "recipe.json")
    words = ["--config", "demo", "--out", str(given.demo), "--seed", str(recipe["seed"])]
    settings = parse_settings("demo", words)
    assert isinstance(settings, DemoSettings)
    demo = Demo(settings, base_folder())
    place_captions(demo, 600)
    compare(demo, given.out, given.thresholds)
    keep_what_is_right(demo, given.out, given.thresholds)


if __name__ == "__main__":
    main()
