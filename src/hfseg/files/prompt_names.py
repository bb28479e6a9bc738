# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What to ask a text encoder for, class by class: annotators' labels in plain words, with synonyms.

Datasets name classes for annotators: `sky-other-merged`, `wall-brick`, `Traffic Sign (Front)`, `tvmonitor`. A text
encoder trained on captions has read "sky", "brick wall", "traffic sign", "television". Rules take the labels apart, and
a table in our own words says what the rules cannot. They serve the classes of COCO panoptic and stuff, ADE20K (150 and
847), Pascal VOC and Context, Cityscapes, Mapillary Vistas.
"""

import re
from collections.abc import Mapping
from functools import cache

from . import label_names

__all__ = ["prompt_names"]

# Label endings that say how classes were made, not what is seen.
_MADE = re.compile(r"(?:[- ](?:other|merged|stuff))+$")
# `wall-brick` is a brick wall; so for other surfaces and their materials.
_SURFACE = re.compile(r"^(wall|floor|ceiling)[- ](\w+)$")
_KNOWN_SHARE = 0.9
_IN_BRACKETS = re.compile(r"\s*\([^)]*\)")

# Plain name -> what is asked for, where that is not the name alone.
_SYNONYMS: dict[str, list[str]] = {
    "aeroplane": ["airplane", "aeroplane"],
    "airplane": ["airplane", "plane"],
    "banner": ["banner", "flag"],
    "bedclothes": ["bed sheets", "blanket"],
    "bicyclist": ["cyclist", "person on a bicycle"],
    "building": ["building", "house"],
    "cabinet": ["cabinet", "cupboard"],
    "cctv camera": ["surveillance camera"],
    "cell phone": ["cell phone", "smartphone"],
    "couch": ["couch", "sofa"],
    "counter": ["counter", "countertop"],
    "crosswalk plain": ["crosswalk", "zebra crossing"],
    "diningtable": ["dining table"],
    "dirt": ["dirt", "soil"],
    "donut": ["donut", "doughnut"],
    "ego vehicle": ["hood of the own car"],
    "floor": ["floor"],
    "food": ["food", "meal"],
    "grass": ["grass", "lawn"],
    "ground animal": ["animal"],
    "hair drier": ["hair dryer"],
    "lane marking crosswalk": ["crosswalk marking", "zebra crossing"],
    "lane marking general": ["lane marking", "line painted on the road"],
    "light": ["lamp", "light"],
    "motorbike": ["motorbike", "motorcycle"],
    "motorcyclist": ["motorcyclist", "person on a motorcycle"],
    "mountain": ["mountain", "hill"],
    "mouse": ["computer mouse"],
    "on rails": ["train", "tram"],
    "other rider": ["rider"],
    "other vehicle": ["vehicle"],
    "pavement": ["pavement", "sidewalk"],
    "person": ["person", "man", "woman", "child"],
    "playingfield": ["playing field", "sports field"],
    "pottedplant": ["potted plant"],
    "refrigerator": ["refrigerator", "fridge"],
    "remote": ["remote control"],
    "rider": ["rider", "cyclist", "motorcyclist"],
    "road": ["road", "street"],
    "rock": ["rock", "stone"],
    "rug": ["rug", "carpet"],
    "shelf": ["shelf", "shelves"],
    "sidewalk": ["sidewalk", "pavement"],
    "signsymbol": ["traffic sign"],
    "sofa": ["sofa", "couch"],
    "solid": ["solid object"],
    "structural": ["structure"],
    "terrain": ["terrain", "grass", "soil"],
    "textile": ["textile", "fabric"],
    "tree": ["tree", "trees"],
    "tv": ["television", "tv"],
    "tvmonitor": ["tv", "computer monitor"],
    "vegetation": ["vegetation", "trees", "bushes"],
    "waterdrops": ["drops of water"],
    "wheeled slow": ["wheelchair", "stroller"],
    "window blind": ["window blind", "blinds"],
}


def _plain(name: str) -> str:
    """One label, in lower case and plain words."""
    name = _MADE.sub("", _IN_BRACKETS.sub("", name.strip()).casefold().replace(" - ", "-"))
    surface = _SURFACE.match(name)
    if surface:
        name = f"{surface[2]} {surface[1]}"
    return " ".join(re.sub(r"[-_]+", " ", name).split())


def _first(label: str) -> str:
    return label.split(",")[0].strip().casefold()


@cache
def _public() -> frozenset[str]:
    """Labels of the public sets, in lower case, the first synonym of each."""
    sets = (value for name, value in vars(label_names).items() if name.isupper() and isinstance(value, list))
    return frozenset(_first(label) for labels in sets for label in labels if isinstance(label, str))


def prompt_names(id2label: Mapping[int, str]) -> dict[str, list[str]]:
    """Gives the words to ask for, per class of a public dataset.

    Args:
        id2label: Labels by class id; commas separate synonyms, as in ADE20K.

    Returns:
        Label, as it was given, to names in plain words; never empty, without repetition. Empty if more than a tenth of
        the labels are of no public set: their owner knows better what to call them.

    >>> prompt_names({0: "sky-other-merged", 1: "wall-brick", 2: "tv"})
    {'sky-other-merged': ['sky'], 'wall-brick': ['brick wall'], 'tv': ['television', 'tv']}
    >>> prompt_names({0: "grass", 1: "my own class"})
    {}
    """
    table: dict[str, list[str]] = {}
    known = sum(_first(str(label)) in _public() for label in id2label.values())
    if known < _KNOWN_SHARE * len(id2label):
        return table
    for label in map(str, id2label.values()):
        names: list[str] = []
        for part in label.split(","):
            plain = _plain(part)
            names += _SYNONYMS.get(plain, [plain]) if plain else []
        table[label] = list(dict.fromkeys(names)) or [label]
    return table
