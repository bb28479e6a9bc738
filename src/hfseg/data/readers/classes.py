# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Classes of label maps: `classes.json`, values that occur, masks of 0 and 255, and what is said of empty classes."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .images import open_label, read_map, to_id_map
from .samples import Classes, Sample, check_unique, listing, read_json
from .schema import DEFAULT_IGNORE_INDEX, compact_ids, white_of

__all__ = [
    "SemanticReader",
    "read_classes",
    "read_semantic_map",
    "say_what_is_empty",
    "scan_classes",
    "settle_binary",
]

logger = logging.getLogger(__name__)

# Of a 16-bit label map.
_LARGEST_VALUE = 65535
_WANTED = 'a list of names, {"0": name, ...} or {"names": [...], "ignore_index": number}'
# Labels that are looked at when a dataset is opened, evenly spread, for classes without a pixel.
_LOOKED_AT = 200


def read_classes(path: Path) -> Classes | None:
    """`classes.json` of a folder, None if there is none.

    A void class that is one of the names is left out; if that opens a gap, the classes after it move down by one.
    """
    file = path / "classes.json"
    if not file.is_file():
        return None
    content = read_json(file, unique_keys=True)
    fields = content if isinstance(content, dict) and "names" in content else {"names": content}
    by_value = _names_by_value(fields["names"], file)
    ignore = _ignore_index(fields.get("ignore_index"), file)
    check_unique(by_value.values(), "class name", file)
    kept = [value for value in by_value if value != ignore]
    if not kept:
        raise ValueError(f"{file} names no class besides the ignore index {ignore}; give {_WANTED}")
    void = ignore if ignore >= len(kept) else DEFAULT_IGNORE_INDEX
    value_to_class = {value: class_id for class_id, value in enumerate(kept)} | {ignore: void}
    colors, palette = None, fields.get("palette_rgb")
    if palette is not None:
        _check_palette(palette, file)
        colors = {
            (int(red), int(green), int(blue)): value
            for value, (red, green, blue) in enumerate(palette)
            if value in value_to_class
        }
    stated = isinstance(content, dict) and content.get("ignore_index") is not None
    return Classes({k: by_value[value] for k, value in enumerate(kept)}, void, value_to_class, colors, stated)


def _names_by_value(names: Any, file: Path) -> dict[int, str]:
    """Names of label values, from a list, or an object whose keys are the values."""
    if isinstance(names, dict) and all(str(key).isdigit() for key in names):
        check_unique([int(key) for key in names], "value", file)
        by_value = {int(key): name for key, name in sorted(names.items(), key=lambda item: int(item[0]))}
    elif isinstance(names, list):
        by_value = dict(enumerate(names))
    else:
        raise ValueError(f"{file} is not understood; give {_WANTED}")
    if max(by_value, default=0) > _LARGEST_VALUE:
        raise ValueError(f"{file} names the value {max(by_value)}; label maps hold 0 to {_LARGEST_VALUE}")
    if not all(isinstance(name, str) for name in by_value.values()):
        raise ValueError(f"{file}: names must be text; give {_WANTED}")
    return by_value


def _ignore_index(ignore: Any, file: Path) -> int:
    """The value that has no class; 255 unless something is stated."""
    if ignore is None:
        return DEFAULT_IGNORE_INDEX
    if not isinstance(ignore, int):
        raise ValueError(f"{file}: ignore_index must be a whole number; give {_WANTED}")
    if isinstance(ignore, bool) or ignore > _LARGEST_VALUE:
        raise ValueError(f"{file}: ignore_index is {ignore}; label maps hold 0 to {_LARGEST_VALUE}")
    return ignore


def read_semantic_map(path: Path, colors: dict[tuple[int, int, int], int] | None) -> np.ndarray:
    """Label values of a map; one in colors, or in a palette of them, is read through the palette of `classes.json`.

    Shape:
        (H, W), int32.
    """
    if colors is None:
        return read_map(path)
    image = open_label(path)
    if image.mode not in ("P", "PA") and len(image.getbands()) < 3:  # one number per pixel and no color
        values = to_id_map(image, str(path))
        present = np.unique(values).tolist()
        if not all((value, value, value) in colors for value in present):
            return values
        of_gray = {value: colors[value, value, value] for value in present}
        if any(value >= len(colors) for value in present):  # no class ids
            return np.vectorize(of_gray.get, otypes=[np.int32])(values)
        if any(value != class_id for value, class_id in of_gray.items()):
            raise ValueError(
                f"{path} is gray, and its values are both class ids and colors of palette_rgb, which say different "
                "things; leave palette_rgb out, or save the label in color"
            )
        return values
    pixels = np.asarray(image.convert("RGB"), dtype=np.int32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]  # (H, W)
    unique, index_map = compact_ids(codes)
    by_color: list[int] = []
    for code in unique.tolist():
        color = (code >> 16, code >> 8 & 255, code & 255)
        if color not in colors:
            raise ValueError(
                f"{path} holds the color {color}, which is not in palette_rgb of classes.json; correct the label or "
                "the palette"
            )
        by_color.append(colors[color])
    return np.array(by_color, dtype=np.int32)[index_map]


@dataclasses.dataclass(frozen=True)
class SemanticReader:
    """Class map of a label file; values that are no class are an error."""

    classes: Classes
    read_values: Callable[[Path], np.ndarray] | None = None  # of a label file; None: a PNG, maybe in palette colors

    def __call__(self, sample: Sample) -> dict[str, Any]:
        if self.read_values is not None:
            values = self.read_values(sample.label)
        else:
            values = read_semantic_map(sample.label, self.classes.colors)
        table = self._table
        if values.min() >= 0 and values.max() < len(table):
            classes = table.take(values)
            if classes.min() >= 0:
                return {"segmentation_map": classes}
        wrong = [value for value in np.unique(values).tolist() if value not in self.classes.value_to_class]
        raise ValueError(
            f"{sample.label} holds the label value(s) {wrong[:8]}; must be one of the "
            f"{len(self.classes.id2label)} classes ({listing(sorted(self.classes.value_to_class), 12)}, void "
            "included); correct the label"
            + ("" if self.read_values is not None else ", name the class in classes.json, or set its ignore_index")
        )

    @functools.cached_property
    def _table(self) -> np.ndarray:
        """Class of every label value, -1 for values that are none; a file cannot hold negative ones."""
        of_value = {value: class_id for value, class_id in self.classes.value_to_class.items() if value >= 0}
        table = np.full(max(of_value) + 1, -1, dtype=np.int32)
        table[list(of_value)] = list(of_value.values())
        return table


def scan_classes(samples: Sequence[Sample]) -> Classes:
    """Classes of labels without `classes.json`: the values that occur, 255 void."""
    values: set[int] = set()
    for sample in samples:
        values.update(compact_ids(read_map(sample.label))[0].tolist())
    white = white_of(values)
    if white is not None and 0 in values:
        logger.warning("The labels hold 0 and %d only; they are read as class 0 and class 1, no pixel is void.", white)
        return Classes({0: "class_0", 1: "class_1"}, DEFAULT_IGNORE_INDEX, {0: 0, white: 1})
    classes = sorted(values - {DEFAULT_IGNORE_INDEX})
    if not classes:
        raise ValueError(f"the {len(samples)} labels hold nothing but void ({DEFAULT_IGNORE_INDEX}); check the labels")
    if classes[0] < 0 or classes[-1] >= 1000:
        raise ValueError(
            f"the labels hold values from {classes[0]} to {classes[-1]}, which do not look like class ids; add "
            "classes.json, or put object ids into instances/ instead of labels/"
        )
    highest = classes[-1]
    void = DEFAULT_IGNORE_INDEX
    id2label = {value: f"class_{value}" for value in range(highest + 1) if value != void}
    if highest > void:
        raise ValueError(
            f"the labels hold values above {void} (up to {highest}); add classes.json to say which is void"
        )
    return Classes(id2label, void, {value: value for value in id2label} | {void: void})


def _check_palette(palette: Any, file: Path) -> None:
    """Checks that a palette is a list of different colors."""
    if not isinstance(palette, list) or not all(
        isinstance(color, list) and len(color) == 3 and all(isinstance(c, int) and 0 <= c < 256 for c in color)
        for color in palette
    ):
        raise ValueError(f"{file}: palette_rgb must be a list of [red, green, blue], each 0 to 255, one per name")
    repeated = [color for color in palette if palette.count(color) > 1] if len(palette) < 1000 else []
    if repeated:
        raise ValueError(f"{file}: palette_rgb gives the color {repeated[0]} to more than one class")


def settle_binary(classes: Classes, samples: Sequence[Sample]) -> Classes:
    """Two classes whose labels are black and white: white is the second class, unless `classes.json` says it is void.

    The commonest form of masks (0 and 255, or 0 and 65535 of 16 bits); read otherwise, one class would have no pixel
    and every score would be perfect.
    """
    if len(classes.id2label) > 2 or classes.ignore_stated or classes.colors is not None:
        return classes
    last = len(classes.id2label) - 1
    if classes.ignore_index != DEFAULT_IGNORE_INDEX or classes.value_to_class.get(last) != last:
        return classes
    seen: set[int] = set()
    for sample in _spread(samples):
        seen.update(np.unique(_values(sample, classes)).tolist())
        if seen - {0} and white_of(seen) is None:
            return classes
    white = white_of(seen)
    if white is None:
        return classes
    if len(classes.id2label) == 1:
        raise ValueError(
            f"the labels hold 0 and {white} only, and {classes.id2label[0]!r} is the only class, so that every pixel "
            'that counts would be of it: name what 0 is too, as {"names": ["background", "'
            + classes.id2label[0]
            + '"]}'
        )
    logger.warning(
        "The labels hold 0 and %d only, and there are two classes: %d is read as %r. If %d means void, say so with "
        '"ignore_index": %d in classes.json.',
        *(white, white, classes.id2label[1], white, white),
    )
    return dataclasses.replace(classes, value_to_class={0: 0, 1: 1, white: 1})


def _spread(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[:: max(len(samples) // _LOOKED_AT, 1)]


def _values(sample: Sample, classes: Classes) -> np.ndarray:
    """Values of a label; a damaged one holds none, and fails when it is read."""
    try:
        return read_semantic_map(sample.label, classes.colors)
    except (OSError, ValueError):
        return np.zeros(0, dtype=np.int32)


def say_what_is_empty(samples: Sequence[Sample], classes: Classes, training: bool, where: str) -> None:
    """Says loudly which classes have no pixel in the training labels.

    Raises:
        ValueError: All labels are void.
    """
    looked_at = _spread(samples)
    present: set[int] = set()
    readable = 0
    for sample in looked_at:
        values = np.unique(_values(sample, classes)).tolist()
        readable += bool(values)
        present.update(classes.value_to_class.get(value, -1) for value in values)
        if present >= set(classes.id2label):
            return
    everything = len(looked_at) == len(samples)
    how_many = f"the {len(samples)} labels" if everything else f"{len(looked_at)} of the {len(samples)} labels"
    if readable and present <= {classes.ignore_index}:
        message = f"{how_many} of {where} hold nothing but void ({classes.ignore_index}); check labels and ignore_index"
        if everything and readable == len(samples):
            raise ValueError(message)
        logger.warning("%s", message)
        return
    missing = [name for class_id, name in classes.id2label.items() if class_id not in present]
    if training and missing:
        logger.warning(
            "%d of %d classes have no pixel in %s of %s: %s. A model cannot learn them, and means leave them out; "
            "check classes.json and the values of the labels.",
            len(missing),
            len(classes.id2label),
            how_many,
            where,
            listing(missing),
        )
