"""The report's tables: in a terminal, in results.json and in Markdown, and what bad input is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cadvi_hub.cli import parse_settings
from cadvi_hub.core.errors import InputError
from cadvi_hub.eval.benchmarks.registry import BENCHMARKS
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.eval.intervals import wilson_interval
from cadvi_hub.eval.paper_results import paper_results
from cadvi_hub.pages.columns import tables
from cadvi_hub.pages.report import collect, named_folders, report, write_report
from cadvi_hub.pages.scores import PAPER_NOTE, format_tables
from cadvi_hub.pages.settings import ReportSettings
from tests.support.report_parts import HOSTILE, N, evaluation, judged, page_of, question, reported


@pytest.fixture
def settings(tmp_path: Path) -> ReportSettings:
    return replace(reported(tmp_path), data=None)


def block(text: str, title: str) -> list[str]:
    """The lines of the table `title`."""
    return text.split(f"\n{title}\n", 1)[1].split("\n\n")[0].split("\n")


def test_results_map_model_task_and_metric_to_value_interval_and_n(settings: ReportSettings) -> None:
    results = collect(settings)
    assert list(results) == ["base", "v2"]
    assert results["v2"]["bison"]["accuracy"] == 0.8
    assert results["v2"]["bison"]["accuracy_interval"] == pytest.approx(wilson_interval(8, 10))
    assert results["base"]["cola"]["pair_accuracy_n"] == 5
    assert json.loads((settings.out / "results.json").read_text("utf-8")) == results
    assert [file.name for file in settings.out.iterdir()] == ["results.json"]


def test_the_command_shows_the_tables_the_note_and_where_the_page_lies(settings: ReportSettings) -> None:
    shown = report(replace(settings, note="Drawn by code."))
    page = settings.out / "index.html"
    assert shown == f"{format_tables(collect(settings))}\n\nDrawn by code.\n\nPage: {page}"
    assert page.is_file()


def test_the_first_table_has_the_sets_that_results_have_with_interval_n_and_chance(settings: ReportSettings) -> None:
    lines = format_tables(collect(settings)).split("\n")
    assert max(map(len, lines)) <= 120
    assert lines[0].split() == ["bison", "svo_probes", "nlvr2", "eqben", "cola", "cad_qa", "single_image"]
    assert lines[2].split("]")[1].split("n ")[1:] == [f"{n:<12}" for n in (10, 10, 10, 5, 5, 10)] + ["10"]
    assert lines[3].split() == ["chance", "50.0", "50.0", "50.0", "25.0", "25.0", "–", "–"]
    assert lines[5].split("]")[0] == f"{'v2':<17} 80.0 [49–94"


def test_strict_and_tolerant_reading_and_unreadable_answers_have_a_table_each(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "v1", 3, wrong="(b)")  # a person reads B, which is right of 4 of the other 7
    text = format_tables(collect(ReportSettings({"v1": folder}, out=tmp_path)))
    assert text.split("\n")[4].startswith(f"{'v1':<17} 30.0 ")
    assert block(text, "Tolerant reading")[4].startswith(f"{'v1':<17} 70.0 ")
    assert block(text, "Unreadable answers")[3].startswith(f"{'v1':<17} 70.0 ")
    assert "Right in both orders" not in text
    assert "chance" not in "".join(block(text, "Unreadable answers"))


def test_both_orders_and_position_bias_are_shown_where_results_have_them(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "v1", 0, ("bison", "nlvr2"), wrong="A", both_orders=True)  # whatever is asked
    text = format_tables(collect(ReportSettings({"v1": folder}, out=tmp_path)))
    both = block(text, "Right in both orders")
    assert both[3].split() == ["chance", "25.0", "25.0"]
    assert both[4].startswith(f"{'v1':<17} 0.0 ")
    bias = block(text, "Position bias")
    assert bias[0].split() == ["bison"]  # a statement's answer names no image
    assert bias[4].startswith(f"{'v1':<17} +100 [")
    swapped = next(
        table for table in tables(collect(ReportSettings({"v1": folder}, out=tmp_path))) if "swapped" in table.title
    )
    assert [column.task for column in swapped.columns] == ["bison_swapped", "nlvr2_swapped"]


def test_categories_are_shown_by_the_metric_of_their_set(settings: ReportSettings) -> None:
    results = collect(settings)
    scores = {"accuracy_ag": 0.9, "accuracy_ag_interval": [0.8, 1.0]}
    pairs = {"pair_accuracy_ag": 0.4, "pair_accuracy_ag_interval": [0.1, 0.8], "pair_accuracy_ag_n": 5}
    results["v2"]["eqben"] |= scores | pairs
    text = format_tables(results)
    assert block(text, "svo_probes by category")[4].split() == ["base", "50.0", "[24–76]"]
    assert block(text, "eqben by category")[2:] == [
        "% [95 % interval] n 5",
        "chance            25.0",
        "base              –",
        "v2                40.0 [10–80]",
    ]


def test_more_sets_than_a_line_has_room_for_go_on_below(settings: ReportSettings) -> None:
    results = collect(settings)
    results["v2"] |= {task: {**results["v2"]["bison"]} for task in ("seed_image", "seed_video")}
    text = format_tables(results)
    assert max(map(len, text.split("\n"))) <= 120
    assert block(text, "Scores")[0].split() == ["seed_video", "single_image"]


def test_a_rating_stands_beside_its_judge_and_what_was_unreadable(settings: ReportSettings) -> None:
    judged(Path(settings.models["v2"]), "org/judge@1", [5, 4, None, 3])
    judged(Path(settings.models["v2"]), "org/other", [None, None])
    results = collect(settings)
    assert results["v2"]["cad_qa"]["rating_org/judge@1, prompt abababababab"] == pytest.approx(4)
    text = format_tables(results)
    first = text.split("\n")[1].split()
    assert first[first.index("rating") + 1] == "[1]"
    assert "4.0 [2.9–5.0]" in text
    assert "[1] rated by org/judge@1, prompt abababababab; unreadable ratings, left out: v2 cad_qa 1" in text
    assert "[2] rated by org/other, prompt abababababab; unreadable ratings, left out: v2 cad_qa 2" in text
    assert "[2]" not in text.split("\n")[1]  # of nothing readable there is no mean


def test_ratings_of_other_answers_are_refused(settings: ReportSettings) -> None:
    folder = Path(settings.models["v2"])
    judged(folder, "org/judge", [5])
    (folder / "predictions" / "cad_qa.jsonl").write_text("")
    with pytest.raises(InputError, match="other answers"):
        collect(settings)


def test_partial_sets_and_blanked_images_are_said_below_the_table(settings: ReportSettings) -> None:
    results = collect(settings)
    for model in results:
        results[model]["bison"]["questions"] = "partial: 3 missing"
    results["v2"]["cola"] |= {"images": "images blanked", "not_swapped_n": 2}
    assert format_tables(results).split("\n\n")[-1].split("\n") == [
        "bison: partial: 3 missing (base, v2)",
        "cola: images blanked (v2)",
        "cola: 2 questions were asked in one order only (v2)",
    ]


def test_the_papers_numbers_are_its_own_with_wilsons_intervals() -> None:
    paper = paper_results()
    low, high = paper["CaD-VI 13B"]["eqben"]["pair_accuracy_interval"]
    assert (round(100 * low, 1), round(100 * high, 1)) == (34.0, 51.4)
    reported = [benchmark.paper for benchmark in BENCHMARKS.values() if benchmark.paper]
    assert len(reported) == 5
    for _, n, percent in reported:  # each is a whole number of right answers
        assert len(percent) == len(paper)
        for value in percent:
            assert 100 * round(value * n / 100) / n == pytest.approx(value, abs=0.04)


def test_the_papers_numbers_stand_apart_and_only_where_asked_for(settings: ReportSettings) -> None:
    text = report(replace(settings, paper=True))
    theirs = block(text, PAPER_NOTE)
    assert theirs[0].split() == ["bison", "svo_probes", "nlvr2", "eqben", "cola"]
    assert theirs[2].split("n ")[1:] == [f"{n:<12}" for n in (150, 1500, 150, 120)] + ["210"]
    assert theirs[-1].startswith("CaD-VI 13B")
    assert "CaD-VI 13B" not in json.dumps(collect(settings))
    assert "SparklesChat" in (settings.out / "report.md").read_text("utf-8")
    assert "SparklesChat" not in report(settings)
    for name in ("report.md", "index.html"):
        assert "SparklesChat" not in (settings.out / name).read_text("utf-8")


def test_a_task_that_a_model_was_not_asked_is_a_dash(settings: ReportSettings) -> None:
    assert format_tables(collect(settings)).split("\n")[4].split()[-3] == "–"


def test_long_and_unprintable_model_names_stay_in_their_column(settings: ReportSettings) -> None:
    results = collect(settings)
    lines = format_tables({"a" * 60: results["v2"], "red\x1b[31m": results["base"]}).split("\n")
    assert max(map(len, lines)) <= 120
    assert "\x1b" not in "".join(lines)
    assert lines[4].startswith("a" * 21 + "… 80.0")


def test_different_numbers_of_questions_are_both_told(settings: ReportSettings) -> None:
    results = collect(settings)
    results["base"]["bison"]["n"] = 7
    assert "n 7–10" in format_tables(results).split("\n")[2]


def test_markdown_holds_tables_judges_and_comparisons_and_no_markup_of_others(settings: ReportSettings) -> None:
    judged(Path(settings.models["v2"]), "org/judge", [5, 4])
    settings.models[f"a|b {HOSTILE}"] = settings.models["base"]
    settings.note = f"Mind [this](https://example.org) {HOSTILE}"
    page_of(settings)
    text = (settings.out / "report.md").read_text("utf-8")
    assert "| v2 | 80.0 (49.0–94.3) |" in text
    assert "| v2 | bison accuracy | 10 | 50.0 | 80.0 | +30.0 (" in text
    assert "rated by org/judge" in text
    assert "<script" not in text
    assert "](" not in text
    for lines in text.split("\n\n"):
        rows = [line for line in lines.split("\n") if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_every_model_is_compared_with_the_baseline_on_the_sets_of_both(settings: ReportSettings) -> None:
    page_of(replace(settings, baseline="v2"))
    text = (settings.out / "report.md").read_text("utf-8")
    assert "### Compared with v2" in text
    assert "| base | bison accuracy | 10 | 80.0 | 50.0 | -30.0 (" in text
    assert "| base | cola pair_accuracy".replace("_", " ") in text
    assert "cad_qa token" not in text  # the base was not asked
    with pytest.raises(InputError, match="'v7' is not a model"):
        page_of(replace(settings, baseline="v7"))


def test_what_cannot_be_compared_is_said(settings: ReportSettings, tmp_path: Path) -> None:
    file = tmp_path / "evaluation/base/predictions/bison.jsonl"
    file.write_text("".join(file.read_text("utf-8").splitlines(keepends=True)[:7]), "utf-8")
    (tmp_path / "evaluation/base/predictions/cola.jsonl").unlink()
    page = page_of(settings)
    for text in (page.read_text("utf-8"), (settings.out / "report.md").read_text("utf-8")):
        assert "Not compared: v2, set bison: one model has 7 questions, the other 10." in text
        assert "Not compared: v2, cola: not both have predictions." in text


def test_folders_are_named_by_their_last_part_or_as_told(tmp_path: Path) -> None:
    assert named_folders(["out/v1", "mine=out/v2/"]) == {"v1": "out/v1", "mine": "out/v2/"}
    (tmp_path / "a=b").mkdir()
    assert named_folders([f"{tmp_path}/a=b"]) == {"a=b": f"{tmp_path}/a=b"}
    with pytest.raises(InputError, match="both be named 'v1'"):
        named_folders(["one/v1", "two/v1"])
    settings = parse_settings("report", ["out/v1", "mine=out/v2", "--paper", "true"])
    assert settings.models == {"v1": Path("out/v1"), "mine": Path("out/v2")}
    assert settings.paper is True


@pytest.mark.parametrize("field", ["data", "questions", "models", "trainings"])
def test_a_folder_that_does_not_exist_is_named(settings: ReportSettings, tmp_path: Path, field: str) -> None:
    absent = tmp_path / "absent"
    setattr(settings, field, absent if field in ("data", "questions") else {"v1": absent})
    with pytest.raises(InputError, match="absent: no such folder"):
        page_of(settings)


def test_no_models_are_refused(settings: ReportSettings) -> None:
    with pytest.raises(InputError, match="at least one"):
        collect(replace(settings, models={}))


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("evaluation/v2/results.json", "{torn", "not JSON"),
        ("evaluation/v2/results.json", "[1]", "JSON object"),
        ("evaluation/v2/results.json", "{}", "not results"),
        ("evaluation/v2/results.json", '{"bison": 0.5}', "not results"),
        ("evaluation/v2/results.json", '{"bison": {"n": "ten"}}', "not results"),
        (
            "evaluation/v2/results.json",
            '{"bison": {"n": 9, "accuracy": "", "accuracy_interval": [0, 1]}}',
            "not results",
        ),
        ("evaluation/v2/results.json", '{"bison": {"n": 9, "accuracy": 1, "accuracy_interval": [1]}}', "not results"),
        ("evaluation/v2/predictions/bison.jsonl", '{"index": 0}\n', "not predictions"),
        ("evaluation/v2/predictions/cad_qa.jsonl", '{"index": 0}\n', "cannot be read"),
        ("evaluation/v2/predictions/cad_qa.jsonl", "torn", "cannot be read"),
        ("training/v2/training.json", "torn", "not JSON"),
    ],
)
def test_a_broken_file_is_named(
    settings: ReportSettings, tmp_path: Path, file: str, content: str, problem: str
) -> None:
    (tmp_path / file).write_text(content, "utf-8")
    with pytest.raises(InputError, match=problem) as raised:
        page_of(settings)
    assert raised.value.where.startswith(str(tmp_path / file))


def test_an_evaluation_without_results_is_refused(settings: ReportSettings, tmp_path: Path) -> None:
    (tmp_path / "evaluation/v2/results.json").unlink()
    with pytest.raises(InputError, match="Evaluate the model first"):
        collect(settings)


def test_answers_to_other_questions_are_refused(settings: ReportSettings, tmp_path: Path) -> None:
    other = [{**question("bison", index), "id": f"other-{index}"} for index in range(N)]
    write_questions(other, tmp_path / "questions")
    with pytest.raises(InputError, match="another question"):
        page_of(settings)
    write_questions(other[:1], tmp_path / "questions")
    with pytest.raises(InputError, match="there is no row"):
        page_of(settings)


def test_an_unwritable_output_folder_is_named(settings: ReportSettings, tmp_path: Path) -> None:
    results: dict[str, dict[str, dict[str, Any]]] = collect(settings)
    settings.out = tmp_path / "file" / "out"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        collect(settings)
    with pytest.raises(InputError, match="cannot be written"):
        write_report(settings, results)
