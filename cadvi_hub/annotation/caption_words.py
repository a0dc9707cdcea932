"""Closed lists of English words that decide what of a caption is certain enough for a summary."""

from __future__ import annotations

from cadvi_hub.grounding.words import CLASSES, EMPTY
from cadvi_hub.pairing.nouns import UNINFORMATIVE


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words for how a thing looks, whatever the tagger takes them for.
LOOKS = frozenset.union(*map(frozenset, CLASSES)) | _words("hollow large little tiny huge gray dotted round square")
# Adjectives that do not say how a thing looks.
VAGUE = frozenset(EMPTY) | _words(
    """other another different same own such certain main important more most less first last next few new free
    available able favorite favourite famous popular common real actual due full called named known"""
)
# Nouns that name no thing in a picture, beyond those that do not help to pair captions.
ABSTRACT = UNINFORMATIVE | _words(
    """air attempt bit body case celebration chance course design direction display distance effort event example fact
    flight foot form fun game half hour job kind life line look love match mid minute moment month motion name night
    one other others pattern position process purpose rest ride sale season second sense service shape size stand
    state step stop style surface surroundings system task term thing time tour trick trip turn type use version week
    wild will word work world year century holiday history daytime nighttime afternoon morning evening today something
    someone anything everything nothing somebody anyone everyone end beginning amount idea"""
)
# With these before it, a noun names something else: a sea lion is no lion.
OTHERWISE = _words(
    "sea hot guinea prairie teddy toy model stuffed koala jelly star lady dragon fake candy toilet dog doll"
)
# "In a suit" is no place.
CLOTHES = _words(
    """suit dress shirt jacket coat hat cap uniform outfit shorts jeans pants costume helmet tie sweater gear clothes
    clothing attire robe apron vest wetsuit glasses goggles boot boots shoes gown hoodie skirt blazer leash black
    white"""
)
# Where one thing is, not the whole scene: "On a table there is a vase".
SURFACES = _words("table plate counter desk bed couch chair bowl tray shelf wall sofa cup glass platter stove")
# Nouns that are often uncounted and bare.
MASS = _words(
    """grass water snow sand food fruit bread dirt ice mud hay rice cheese meat broccoli wine coffee tea milk juice
    beer pasta spaghetti soup salad chicken beef bacon butter chocolate lettuce cilantro produce furniture luggage
    traffic equipment silverware fur hair art graffiti wood metal foliage vegetation greenery brush scenery jewelry
    soap fog trash"""
)
BUNCHES = _words(
    """group bunch couple pair herd flock crowd lot lots number variety stack pile row collection set cluster head loaf
    dozen dozens hundreds thousands plenty"""
)
# What is before "of" where the noun after it is what the picture shows.
GROUPS = UNINFORMATIVE | _words(
    """lots herd flock crowd stack pile cluster head loaf slice bowl plate glass cup basket bag vase bottle box field
    team dozen dozens hundreds thousands plenty"""
)
NOUNS_IN_ING = _words(
    """building ceiling railing wedding painting clothing king ring string swing wing evening morning crossing awning
    siding bedding dressing frosting icing covering topping opening landing lighting setting drawing writing carving
    thing something nothing everything anything spring earring housing parking stuffing seating meeting pudding sling
    sibling duckling dumpling offspring wiring lining flooring fencing bing"""
)
# Verbs that name no action that one could see, or that need more words.
STATES = _words(
    """be have do show feature contain include display depict see look seem appear become can may must need want use
    make get go come let keep begin start try help cause mean call name know represent belong consist fill cover
    surround say take put give set place park pack load decorate learn like prepare ready attach remain stay"""
)
# Verbs that say nothing without an object.
WITH_OBJECT = _words("wear hold carry throw hit catch kick push pull cut feed watch wash cook touch hang face")
# "Taking a nap" is with no nap that one could see, and "covered in snow" is no place.
LIGHT = _words("take give make do")
COVERED = _words("cover dress fill wrap coat drench bathe soak")
WITH_PREPOSITION = {"look": "at", "point": "at", "stare": "at", "lean": "against", "talk": "on"}
# Sentences with one of these do not say what the image shows.
UNREAL = _words(
    """if would could should might can may must will not n't never no you i was were had did became
    used sometimes often usually"""
)
PLACE_PREPOSITIONS = _words("at on in under near behind beside inside by along above below beneath outside")
FAR_PREPOSITIONS = ("next to", "in front of", "on top of", "close to")
POSITIONS = _words("above below behind beside under beneath") | {"next to", "in front of", "on top of"}
SHOWN_AFTER = PLACE_PREPOSITIONS | _words("with into around through over across down up from of to against")
INDEFINITE = _words("a an another one")
