"""Settings of `cadvi benchmarks build`, `cadvi evaluate` and `cadvi compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cadvi_hub.annotation.answers import Reading
from cadvi_hub.core.models import named
from cadvi_hub.core.ranges import BatchSize, Count, Ranged, Resamples, Seed, Tokens
from cadvi_hub.generation.settings import Dtype, EndpointSettings

Format = Literal["question_file", "upstream"]


@dataclass
class ChoiceSettings:
    """The columns of a set of your own (task `choices`), and how its options are shown.

    Attributes:
        question: column of the question.
        answer: column of the right answer: an option, or its letter.
        images: columns of the image files; one that holds a list counts as several.
        option_columns: columns of the options; one that holds a list counts as several. None for open questions.
        options: the options of all questions, instead of columns.
        letters: whether options are shown under the letters A, B, C …, which the model then answers with; otherwise it
            answers with the option's own words.
        id: column of the question's id; "" numbers the questions from 1.
        options_in_question: whether the question lists its options already; by default, if it has `<image>` for each
            of its images.
        category: column by which results are counted, too; "" for none.
        group: column that joins questions which depend on each other; "" for none.
        swap_words: two words of questions and options that change places when the two images do, as
            `["first", "second"]`; with them, `cadvi evaluate --both_orders true` asks in both orders.
    """

    question: str = "question"
    answer: str = "answer"
    images: Sequence[str] = ("image",)
    option_columns: Sequence[str] = ()
    options: Sequence[str] = ()
    letters: bool = True
    id: str = ""
    category: str = ""
    group: str = ""
    options_in_question: bool | None = None
    swap_words: Sequence[str] = ()


@dataclass
class BenchmarkSettings(Ranged):
    """One benchmark set to make ready for evaluation.

    Attributes:
        task: name of the set (`cadvi benchmarks list` shows all of them), or choices (choices_<name>, where there
            are several) for a set of your own.
        questions: the question file or the upstream annotations: a file, a folder as it was published, or a data set
            of the Hub (owner/name), which is downloaded; for cad_summary the folder of a built data set, as
            data/cad_qa.
        out: data set folder; the set becomes `out/<task>/`. A build that was stopped continues there.
        images: folder or folders of the pictures (seed_video: of the videos), sub-folders included; by default
            `questions`, if it is a folder. Not needed if the rows contain them.
        format: `question_file` is the JSON lines of the paper's authors, `upstream` what the benchmark's own authors
            published; by default question_file if the paper has one.
        seed: decides which of two images comes first, where the annotations leave it open. Scores of different seeds
            are over different questions.
        columns: the columns of a set of your own (`choices`), and how its options are shown.
    """

    task: str
    questions: Path
    out: Path
    images: Path | list[Path] = field(default_factory=list)
    format: Format | None = None
    seed: Seed = 0
    columns: ChoiceSettings = field(default_factory=ChoiceSettings)


@dataclass
class ReaderSettings(EndpointSettings):
    """An LLM that reads the closed answers which the tolerant reading cannot read.

    Attributes:
        model: its name at the endpoint; without an address a Hub id or folder. "" asks none.
        base_url: address of the endpoint, up to and including `/v1`; "" runs the model in this process.
        batch_size: requests per forward pass in this process.
    """

    model: str = ""
    batch_size: BatchSize = 8


@dataclass
class EvaluateSettings(Ranged):
    """What `evaluate` runs.

    Attributes:
        model: folder or Hub repo id of a model or LoRA adapter, its name at the endpoint, "demo-base" for the base
            model that comes with the package, or "constant" for the constant-answer baseline.
        data: folder of question sets (`DIR/<task>/test.parquet`) or Hub repo id, or a mapping of task to either.
        out: folder for results.json, predictions/ and lighteval's results/ and details/.
        name: the model's name in the results; "" takes the last part of `model`.
        tasks: names of the sets to evaluate; by default all that `data` has.
        batch_size: questions per forward pass of a local model.
        dtype: of a local model's weights: its own (auto), float32, bfloat16 or float16.
        max_samples: questions per set, a fixed random sample that keeps pairs whole; None takes all.
        max_tokens: longest answer to a closed question (paper: 256). In the strict reading, an answer that is longer
            than its option is wrong anyway.
        both_orders: whether to ask questions about two images again with the images swapped.
        rank_options: whether to rank the options of closed questions by their log-likelihood, too (local models).
        blank_images: whether to show grey pictures instead of all pictures: the text-only baseline.
        allow_partial: whether to score a set that lacks questions because their pictures were missing.
        results_org: user or organization on the Hub that gets lighteval's results and details, as the data set
            `<results_org>/details_<name>_private`; "" pushes nothing. Every run adds its own. (lighteval validates the
            card at huggingface.co, even if HF_ENDPOINT is set; that is the last step.)
        public: whether that data set is public; its name is then `<results_org>/details_<name>`.
        endpoint: where the model is served; without an address it runs in this process.
        retry_unreadable: ask a served model again where its stored answer is empty.
        reader: a model that reads what the tolerant reading cannot, as the last reader. Its readings are counted
            separately, as reader_accuracy; by default there is none.
    """

    model: str
    data: dict[str, str] | str
    out: Path
    name: str = ""
    tasks: Sequence[str] = ()
    batch_size: BatchSize = 32
    dtype: Dtype = "auto"
    max_samples: Count | None = None
    max_tokens: Tokens = 256
    both_orders: bool = False
    rank_options: bool = False
    blank_images: bool = False
    allow_partial: bool = False
    results_org: str = ""
    public: bool = False
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)
    retry_unreadable: bool = False
    reader: ReaderSettings = field(default_factory=ReaderSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (folder := named(self.model)) != self.model:
            self.name, self.model = self.name or self.model, folder


@dataclass
class CompareSettings(Ranged):
    """Two evaluations to compare.

    Attributes:
        first: folder that `evaluate` wrote for one model.
        second: folder for the other model; a difference above 0 means that this one is better.
        tasks: names of the sets; by default all that both folders have.
        reading: how closed answers are read: `strict` as in the paper, or `tolerant`.
        resamples: number of bootstrap samples.
        seed: of the bootstrap.
        out: JSON file for the comparisons; None writes no file.
    """

    first: Path
    second: Path
    tasks: Sequence[str] = ()
    reading: Reading = "strict"
    resamples: Resamples = 10_000
    seed: Seed = 0
    out: Path | None = None
