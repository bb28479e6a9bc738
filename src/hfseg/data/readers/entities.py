# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Entities: the things and regions that a caption names, as short noun phrases, and images that come with them.

Four extractors: `list` splits the answer of a model that was asked for a list; `rules` cuts a sentence at stop words,
frequent verbs and punctuation, and needs nothing; `spacy` and `nltk` find noun phrases with these packages. All end in
the same normal form: lower case, without determiners, numbers and possessives, without words about the image itself,
one to four words, each once (by its singular), at most 32.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_cdt

from ...files.images import FORMATS, convert_to_rgb
from ..synthetic.shapes import Scene, ShapesDataset, render_scene
from .promptable import CLIP_MEAN, CLIP_STD, PromptableCollator
from .schema import segments_from_map

__all__ = ["EXTRACTORS", "EntityCollator", "EntityDataset", "ShapesCaptions", "extract_entities"]

MOST_WORDS = 4
DETERMINERS = set(
    (
        "a an the this that these those some any each every another other several many few both all no one "
        "two three four five six seven eight nine ten dozen lot lots pair couple various multiple numerous "
        "his her its their our my your he she it they we there here also "
    ).split()
)
META = set(
    (
        "image images photo photos photograph image images scene view background foreground side left "
        "right top bottom middle center center corner front back group groups part parts piece pieces kind "
        "type variety front-left "
    ).split()
)
# Words that separate noun phrases in a caption: prepositions, conjunctions, frequent verbs and adverbs of place.
SEPARATORS = set(
    (
        "and or but with without of in on at by from to into onto over under above below behind beside "
        "between near next around through across along against inside outside within toward towards during "
        "while as than for about is are was were be been being has have had having does do did which who "
        "where when that's there's sitting standing walking running riding holding wearing carrying playing "
        "eating drinking looking watching parked lying laying flying hanging placed located surrounded "
        "covered filled made shows show showing shown depicts depict features contains includes including "
        "appears seems stands sits lies holds wears rides walks runs can could may might will would very "
        "quite together visible up down off out away just then so "
    ).split()
)


def singular(word: str) -> str:
    """Guesses the singular of a noun, well enough to recognize repetitions."""
    irregular = {"people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot"}
    if word in irregular:
        return irregular[word]
    for ending, instead in (("ies", "y"), ("ves", "f"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def normal_forms(phrases: Iterable[str], most: int = 32) -> list[str]:
    """Brings phrases to the normal form of entities; see the module."""
    found: dict[str, str] = {}
    for phrase in phrases:
        words = re.findall(r"[^\W_]+(?:-[^\W_]+)*(?:'s)?", phrase.lower())
        words = [word for word in words if word not in DETERMINERS and not word.isdigit() and not word.endswith("'s")]
        while words and words[-1] in META:
            words.pop()
        words = [word for word in words if word not in META]
        if not 1 <= len(words) <= MOST_WORDS:
            continue
        key = " ".join([*words[:-1], singular(words[-1])])
        found.setdefault(key, " ".join(words))
        if len(found) == most:
            break
    return list(found.values())


def from_list(text: str) -> list[str]:
    """Splits the answer of a model that was asked for a list: commas, semicolons, line breaks, bullets and numbers."""
    return [re.sub(r"^\s*(?:[-*\u2022]|\d+[.)])\s*", "", part) for part in re.split(r"[,;\n]", text)]


def from_rules(text: str) -> list[str]:
    """Cuts sentences at punctuation and at words that no noun phrase contains."""
    phrases: list[list[str]] = [[]]
    for token in re.findall(r"[^\W_]+(?:[-'][^\W_]+)*|[^\w\s]", text):
        lowered = token.lower()
        if not token[0].isalnum() or lowered in SEPARATORS or (lowered in DETERMINERS and phrases[-1]):
            phrases.append([])
        else:
            phrases[-1].append(token)
    return [" ".join(words) for words in phrases if words]


def from_spacy(text: str) -> list[str]:
    """Noun chunks of spaCy's small English model.

    Raises:
        ImportError: Without spaCy or its model.
    """
    import spacy

    try:
        nlp = spacy.load("en_core_web_sm")
    except OSError as error:
        raise ImportError("spaCy lacks its English model: python -m spacy download en_core_web_sm") from error
    return [chunk.text for chunk in nlp(text).noun_chunks]


def from_nltk(text: str) -> list[str]:
    """Adjectives and nouns that end in a noun, by NLTK's tagger.

    Raises:
        ImportError: Without NLTK or its models.
    """
    import nltk

    try:
        tagged = nltk.pos_tag(nltk.word_tokenize(text))
    except LookupError as error:
        raise ImportError("NLTK lacks its models: download punkt_tab and averaged_perceptron_tagger_eng") from error
    tree = nltk.RegexpParser("NP: {<JJ.*>*<NN.*>+}").parse(tagged)
    return [" ".join(word for word, _ in part.leaves()) for part in tree.subtrees() if part.label() == "NP"]


EXTRACTORS: dict[str, Callable[[str], list[str]]] = {
    "list": from_list,
    "rules": from_rules,
    "spacy": from_spacy,
    "nltk": from_nltk,
}


def extract_entities(text: str, extractor: str = "rules", most: int = 32) -> list[str]:
    """Extracts entities from a caption, or from a model's list.

    Raises:
        ValueError: For an unknown extractor.
        ImportError: If the extractor's package is missing.

    Example:
        >>> extract_entities("A brown dog and two cats sitting on the wooden bench in the background.")
        ['brown dog', 'cats', 'wooden bench']
    """
    if extractor not in EXTRACTORS:
        raise ValueError(f"entity extractor {extractor!r} is not known: choose one of {', '.join(EXTRACTORS)}")
    return normal_forms(EXTRACTORS[extractor](text), most)


class EntityDataset(torch.utils.data.Dataset):
    """Images with entities, as `hfseg caption` writes them: JSON lines `{"image", "caption", "entities"}`.

    Images without entities are left out.

    Args:
        file: The JSON lines file, or a parquet file of the same columns.
        root: Folder that relative image paths start from; default: that of the file.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If a line is damaged, or no image has an entity.
    """

    def __init__(self, file: str | Path, root: str | Path | None = None) -> None:
        self.file = Path(file)
        if not self.file.is_file():
            raise FileNotFoundError(f"there is no file of entities {self.file}")
        self.root = Path(root) if root is not None else self.file.parent
        if self.file.suffix == ".parquet":
            from datasets import load_dataset

            rows: list[Any] = list(load_dataset("parquet", data_files=str(self.file), split="train"))
        else:
            rows = []
            for number, line in enumerate(self.file.read_text(encoding="utf-8").splitlines(), 1):
                if line.strip():
                    try:
                        rows.append(json.loads(line))
                    except json.JSONDecodeError as error:
                        raise ValueError(f"{self.file}, line {number}: {error}") from error
        self.rows = [row for row in rows if row.get("entities")]
        if not self.rows:
            raise ValueError(f"{self.file} has {len(rows)} image(s), none with an entity")

    def __len__(self) -> int:
        return len(self.rows)

    def sample_id(self, index: int) -> str:
        """Name of a sample in messages."""
        return str(self.rows[index]["image"])

    def all_entities(self) -> list[list[str]]:
        """Lists the entities of every image."""
        return [list(row["entities"]) for row in self.rows]

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        with Image.open(self.root / row["image"], formats=FORMATS) as image:
            photo = convert_to_rgb(image)
        return {"image": photo, "text": row.get("caption", ""), "entities": list(row["entities"])}


class ShapesCaptions(ShapesDataset):
    """`shapes` with a caption instead of masks: what is in the image, in random order, not where.

    An item is `{"image", "text", "entities"}`; things are named with or without their color.

    Args:
        colors: Whether entities name the main color of things too.
        mention: Of which entities the text speaks: `"all"`, or `"some"`, one at least, as captions do.
        labeled: Whether items have segments too, to measure with.
        closeups: Share of the images that frame one thing, enlarged to the same size; the text names that thing
            alone, and what fills less than a fiftieth of the frame is no entity.
        stuff_closeups: Share of the images that frame a part of the background and name only that; the two shares
            together are at most 1.
        zoom: Smallest and largest side of such a frame, relative to the thing's larger side.
        in_memory: Whether items are kept once they are drawn, in every worker.
    """

    def __init__(
        self,
        *args: Any,
        colors: bool = False,
        mention: str = "all",
        labeled: bool = False,
        closeups: float = 0.0,
        stuff_closeups: float = 0.0,
        zoom: Sequence[float] = (1.05, 1.8),
        in_memory: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if mention not in ("all", "some"):
            raise ValueError(f"mention is {mention!r}; it must be 'all' or 'some'")
        for name, share in (("closeups", closeups), ("stuff_closeups", stuff_closeups)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}; it is a share between 0 and 1")
        if closeups + stuff_closeups > 1:
            raise ValueError(f"closeups={closeups} and stuff_closeups={stuff_closeups}: at most 1 together")
        if len(zoom) != 2 or not 1 <= zoom[0] <= zoom[1]:
            raise ValueError(f"zoom is {zoom}; it must be two factors of 1 or more, the smaller first")
        self.colors, self.mention, self.labeled = colors, mention, labeled
        self.closeups, self.stuff_closeups = closeups, stuff_closeups
        self.zoom, self.in_memory = (float(zoom[0]), float(zoom[1])), in_memory
        self._drawn: dict[int, dict[str, Any]] = {}

    def all_entities(self) -> list[list[str]]:
        """Lists every entity that any scene may name, once."""
        if not self.colors:
            return [[self.id2label[index] for index in self.id2label]]
        from ..synthetic.shapes import COLORS, STUFF_NAMES, THING_NAMES

        return [[*STUFF_NAMES, *(f"{color} {name}" for color in COLORS for name in THING_NAMES)]]

    def __getitem__(self, index: int) -> dict[str, Any]:
        number = index % self.num_scenes
        if not self.in_memory:
            return self._draw(number)
        if number not in self._drawn:
            self._drawn[number] = self._draw(number)
        return dict(self._drawn[number])

    def _draw(self, index: int) -> dict[str, Any]:
        main, scene = None, render_scene(index, image_size=self.image_size, seed=self.seed, split=self.split)
        place = hash_of(index, "frame") % 1000
        if place < 1000 * self.closeups:
            main, scene = closeup(scene, index, self.zoom)
        elif place < 1000 * (self.closeups + self.stuff_closeups):
            main, scene = stuff_closeup(scene, index, self.zoom)
        categories = {s["id"]: s["category_id"] for s in scene.segments_info}
        names = {thing.segment_id: f"{thing.color} {thing.shape}" for thing in scene.objects} if self.colors else {}
        listed = [names.get(s["id"], self.id2label[s["category_id"]]) for s in scene.segments_info]
        # Front to back would tell the order of depth.
        entities = sorted(set(listed), key=lambda name: hash_of(index, name))
        count = len(entities) if self.mention == "all" else 1 + hash_of(index, "count") % len(entities)
        named = entities[:count]
        if main is not None:
            named = [names.get(main, self.id2label[categories[main]])]
        item = {"image": scene.image, "text": f"An image of {', '.join(named)}.", "entities": entities}
        labels = {"segmentation": scene.segmentation, "segments_info": scene.segments_info} if self.labeled else {}
        return item | labels


def closeup(scene: Scene, index: int, zoom: tuple[float, float]) -> tuple[int | None, Scene]:
    """Frames one thing of a scene, enlarged to the scene's size: the id of its segment, and what is in sight.

    No thing and the scene itself where it has none.
    """
    sizes = np.bincount(scene.segmentation.ravel(), minlength=len(scene.segments_info) + 1)
    things = [thing.segment_id for thing in scene.objects if sizes[thing.segment_id] > 0]
    if not things:
        return None, scene
    height, width = scene.segmentation.shape
    main = things[hash_of(index, "thing") % len(things)]
    rows, columns = np.nonzero(scene.segmentation == main)
    side = min(enlargement(index, zoom) * max(np.ptp(rows) + 1, np.ptp(columns) + 1) / min(height, width), 1.0)
    frame_height, frame_width = max(1, round(side * height)), max(1, round(side * width))

    def start(places: np.ndarray, frame: int, length: int, name: str) -> int:
        # Anywhere such that the thing stays inside, as far as the scene reaches.
        first, last = max(0, int(places.max()) + 1 - frame), min(int(places.min()), length - frame)
        return min(max(first + hash_of(index, name) % (abs(last - first) + 1), 0), length - frame)

    top, left = start(rows, frame_height, height, "top"), start(columns, frame_width, width, "left")
    return main, framed(scene, slice(top, top + frame_height), slice(left, left + frame_width))


def stuff_closeup(scene: Scene, index: int, zoom: tuple[float, float]) -> tuple[int | None, Scene]:
    """Frames a part of the background where one stuff class is widest, with little else in sight; see `closeup`."""
    inside_of = {thing.segment_id for thing in scene.objects}
    present = set(np.unique(scene.segmentation).tolist())
    stuff = [s["id"] for s in scene.segments_info if s["id"] in present - inside_of]
    if not stuff:
        return None, scene
    main = stuff[hash_of(index, "stuff") % len(stuff)]
    # Half the side of the largest square around each pixel with nothing else in it.
    depth = distance_transform_cdt(np.pad(scene.segmentation == main, 1), metric="chessboard")[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= 0.8 * depth.max())
    middle = hash_of(index, "middle") % len(rows)
    frame = max(8, min(round(2.5 * depth.max() * enlargement(index, zoom) / zoom[1]), *depth.shape))
    top, left = (
        min(max(int(places[middle]) - frame // 2, 0), length - frame)
        for places, length in zip((rows, columns), depth.shape)
    )
    return main, framed(scene, slice(top, top + frame), slice(left, left + frame))


def enlargement(index: int, zoom: tuple[float, float]) -> float:
    """Draws the side of a frame, relative to what it frames."""
    return zoom[0] + (zoom[1] - zoom[0]) * (hash_of(index, "zoom") % 1000) / 1000


def framed(scene: Scene, rows: slice, columns: slice) -> Scene:
    """Enlarges a part of a scene to the scene's size; what fills less than a fiftieth of it is left out."""
    height, width = scene.segmentation.shape
    image = Image.fromarray(scene.image[rows, columns]).resize((width, height), Image.Resampling.BICUBIC)
    ids = Image.fromarray(scene.segmentation[rows, columns]).resize((width, height), Image.Resampling.NEAREST)
    segmentation = np.asarray(ids, dtype=scene.segmentation.dtype)
    shares = np.bincount(segmentation.ravel(), minlength=len(scene.segments_info) + 1) / segmentation.size
    category_of_id = {s["id"]: s["category_id"] for s in scene.segments_info if shares[s["id"]] >= 0.02}
    segmentation = np.where(np.isin(segmentation, list(category_of_id)), segmentation, 0)
    objects = tuple(thing for thing in scene.objects if thing.segment_id in category_of_id)  # at their old places
    return Scene(np.asarray(image), segmentation, segments_from_map(segmentation, category_of_id), objects)


def hash_of(index: int, name: str) -> int:
    """Mixes an index with a name, the same in every process."""
    value = index + 1
    for character in name:
        value = (value * 1_000_003 ^ ord(character)) & 0xFFFFFFFF
    return value


class EntityCollator:
    """Batch of stage 2: images, and the embeddings of the entities that their captions name.

    Args:
        embeddings: Embedding by entity; others are left out.
        size: Side of the square.
        templates: Sentences around entities when they were embedded; for the task, not used here.
        training: Whether images are flipped and scaled at random.
        image_mean, image_std: Per channel, for images in [0, 1].
        region_sizes: Sides at which CLIP describes masks; see `PromptableCollator`.
        transforms: Augmentation by `data.transforms`.

    Shape:
        pixel_values (B, 3, S, S); original_sizes (B, 2); entity_labels: list of (E, D); region_pixel_values: a
        batch per size.

    Raises:
        ValueError: If a column is missing.
    """

    def __init__(
        self,
        embeddings: Mapping[str, torch.Tensor],
        size: int = 1024,
        templates: str | Sequence[str] = "vild",
        training: bool = True,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
        region_sizes: Sequence[int] = (),
        transforms: Any = None,
    ) -> None:
        self.embeddings = embeddings
        self.images = PromptableCollator(
            size,
            box_step_ratio=0.0,
            training=training,
            transforms=transforms,
            image_mean=image_mean,
            image_std=image_std,
            region_sizes=region_sizes,
        )
        self.width = len(next(iter(embeddings.values())))

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        missing = [position for position, example in enumerate(examples) if "entities" not in example]
        if missing:
            raise ValueError(f"example {missing[0]} has no 'entities', only the columns {sorted(examples[missing[0]])}")
        batch = self.images([{"image": example["image"], "masks": []} for example in examples])
        del batch["mask_labels"]
        batch["entity_labels"] = []
        for example in examples:
            known = [self.embeddings[name] for name in example["entities"] if name in self.embeddings]
            batch["entity_labels"].append(torch.stack(known) if known else torch.zeros(0, self.width))
        return batch
