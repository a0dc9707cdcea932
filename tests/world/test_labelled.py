"""Questions about one of two labelled scenes: the scene that is named answers, and one picture at most is shown."""

import random
import re

from cadvi_hub.world.captions import SETTINGS, describe
from cadvi_hub.world.instruct import DESCRIBE
from cadvi_hub.world.labelled import labelled_conversation, told_apart_turn
from cadvi_hub.world.scene import Item, make_scene

TOLD = re.compile(r"Image 1: (.+)\nImage 2: (.+)\nAbout image [12]: ")
ABOUT = re.compile(r"(?:^|\n)About image ([12]): ([\s\S]+)\Z")


def test_a_claim_is_true_of_the_scene_that_it_describes_and_of_no_other() -> None:
    cat = make_scene([Item(0.2, 0.5, "cat", "red", "small")], "grass")
    dog = make_scene([Item(0.8, 0.5, "dog", "blue", "big")], "street")
    rng, answers = random.Random(0), []
    for _ in range(300):
        which = rng.randrange(2)
        turn = told_apart_turn(rng, (cat, dog), which)
        assert turn
        words = set(re.findall("cat|red|small|left|dog|blue|big|right", turn[0]))
        about = 0 if words <= {"cat", "red", "small", "left"} else 1
        assert words <= ({"cat", "red", "small", "left"}, {"dog", "blue", "big", "right"})[about], turn
        assert turn[1] in (("yes", "True") if about == which else ("no", "False")), turn
        answers.append(about == which)
    assert 0.4 < sum(answers) / len(answers) < 0.6


def test_two_equal_scenes_cannot_be_told_apart() -> None:
    scene = make_scene([Item(0.2, 0.5, "cat", "red", "small")], "grass")
    assert {told_apart_turn(random.Random(seed), (scene, scene), 0) for seed in range(20)} == {None}


def test_one_scene_at_most_is_shown_and_each_question_names_its_own() -> None:
    rng = random.Random(1)
    shown, named, checked = [], [], 0
    for _ in range(600):
        scene, turns = labelled_conversation(rng)
        found = TOLD.match(turns[0][0])
        assert found
        texts = list(found.groups())
        assert texts.count("<image>") == (scene is not None)
        shown.append(texts.index("<image>") if scene else None)
        for question, answer in turns:
            about = ABOUT.search(question)
            assert about
            which, asked = int(about[1]) - 1, about[2]
            named.append(which)
            text = describe(scene).text if scene and texts[which] == "<image>" else texts[which]
            if asked in DESCRIBE:
                assert answer == text
                checked += 1
            elif asked == "Where is all this?":
                assert answer in SETTINGS.values()
                assert answer in text
                checked += 1
    assert checked > 150
    assert 0.4 < sum(named) / len(named) < 0.6
    for place, share in ((0, 3 / 7), (1, 3 / 7), (None, 1 / 7)):
        assert abs(shown.count(place) / len(shown) - share) < 0.07
