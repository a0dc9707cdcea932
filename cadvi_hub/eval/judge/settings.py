"""Who rates open answers, what is rated, and how a judge is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cadvi_hub.core.ranges import BatchSize, Count, CountOrZero, Ranged, Seed, Tokens
from cadvi_hub.generation.settings import EndpointSettings


@dataclass
class JudgeModelSettings(EndpointSettings):
    """The judge, and how it is asked; always greedily.

    Attributes:
        model: its name at the endpoint; without an address a Hub id or folder.
        revision: of its weights, where the endpoint does not tell; it is recorded with every score, and replies of
            one revision are not taken for those of another.
        base_url: address of the endpoint, up to and including `/v1`, or a list of endpoints that serve the same model;
            "" runs the judge in this process.
        json_schema: whether the endpoint holds replies to a JSON schema; without it, replies are read tolerantly.
        max_tokens: longest reply; the 400 characters that the schema allows for a reason fit even as one token each.
        max_chars: the judge sees this many characters of an answer; longer answers are cut and counted.
        batch_size: requests per forward pass in this process.
        retry_unreadable: ask again for stored replies that are empty or have no rating that can be read.
    """

    model: str = "mistralai/Mixtral-8x7B-Instruct-v0.1"  # paper: Mixtral 8×7B Instruct
    revision: str = ""
    base_url: str | list[str] = "http://127.0.0.1:8000/v1"
    json_schema: bool = True
    max_tokens: Tokens = 512
    max_chars: Tokens = 4000
    batch_size: BatchSize = 8
    retry_unreadable: bool = False


@dataclass
class JudgeSettings(Ranged):
    """What is rated, and by whom.

    Attributes:
        results: folder that `evaluate` wrote (predictions/); ratings go to its `judged/<judge>/`.
        data: the question sets that the model was asked: a folder or Hub repo id, or a mapping of task to either.
        tasks: names of sets with open answers, such as cad_qa; by default, those of them that have predictions.
        judge: the model that rates.
    """

    results: Path
    data: dict[str, str] | str
    tasks: Sequence[str] = ()
    judge: JudgeModelSettings = field(default_factory=JudgeModelSettings)


@dataclass
class JudgeCheckSettings(Ranged):
    """How a judge is checked.

    Attributes:
        data: question sets: a folder or Hub repo id, or a mapping of task to either.
        out: folder for `<judge>/check.json`, the single replies, and the store of replies.
        tasks: names of sets with open answers, such as cad_qa; by default, those of them that `data` has.
        questions: how many of each set are drawn; five answers to each are rated.
        seed: of what is drawn.
        judge: the model that is checked.
    """

    data: dict[str, str] | str
    out: Path
    tasks: Sequence[str] = ()
    questions: Count = 50
    seed: Seed = 0
    judge: JudgeModelSettings = field(default_factory=JudgeModelSettings)


@dataclass
class DifferencesSettings(Ranged):
    """Whose differences are compared with the references, and by whom.

    Attributes:
        results: folder that `evaluate` wrote (predictions/); the lists go to its `judged/differences/<judge>/`. With
            `made`, only the latter is written.
        data: the question sets that the model was asked: a folder or Hub repo id, or a mapping of task to either.
        tasks: names of sets with open answers; by default, those of them that have predictions (with `made`, all).
        made: check the judge instead, on this many answers of each set whose truth is known; 0 rates a model.
        seed: of the answers that are made.
        judge: the model that compares.
    """

    results: Path
    data: dict[str, str] | str
    tasks: Sequence[str] = ()
    made: CountOrZero = 0
    seed: Seed = 0
    judge: JudgeModelSettings = field(default_factory=JudgeModelSettings)
