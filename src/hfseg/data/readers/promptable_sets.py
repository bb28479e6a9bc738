# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The sets that prompted masks are compared on (Unpair-Seg, Tables 3.3 and 3.4), as masks without names.

| name | layout |
|---|---|
| `egohos` | `<split>/image/NAME.jpg`, `<split>/label/NAME.png`: a value per hand and object |
| `timberseg` | `prescaled/*coco*.json` and its images (or `original/`) |
| `streets` | `vehicleannotations/annotations/vehicle-annotations.json` (VGG's), `vehicleannotations/images/` |
| `ishape` | `{antenna,branch,fence,hanger,log,wire}/<split>/image/`, `.../instance_map/`: 16 bits, a value per object |
| `ndispark` | `<split>/*coco_annotations.json`, `<split>/imgs/` |
| `woodscape` | `rgb_images/NAME.png`, `instance_annotations/NAME.json`: polygons |
| `pidray` | `annotations/xray_test_{easy,hard,hidden}.json`, `{easy,hard,hidden}/` |
| `trashcan` | `instance_version/instances_<split>_trashcan.json`, `instance_version/<split>/` |
| `seginw` | `SET/<split>/_annotations_min1cat.coco.json` (or `_annotations.coco.json`) beside its images, 25 sets |
| `promptable-sets` | a folder of the folders above, and of `coco` and `ADEChallengeData2016`, by these names |

COCO and ADE20K are `coco_panoptic`, `coco_instance`, `ade20k_panoptic` and `ade20k_instance`: the paper takes panoptic
segments for points and instances for boxes. Masks of one set keep its name (`JoinedMasks.set_of`), so that an
evaluation reports each set apart.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from .images import read_header, read_image, read_map
from .official.layout import first_existing, photos, require
from .promptable import CocoMasks
from .samples import SPLIT_NAMES, read_json

__all__ = ["PROMPTABLE_SETS", "JoinedMasks", "LabelMapMasks", "PolygonMasks", "open_promptable_set"]

ISHAPE_SETS = ("antenna", "branch", "fence", "hanger", "log", "wire")
SEGINW_FILES = ("_annotations_min1cat.coco.json", "_annotations.coco.json")


class LabelMapMasks(torch.utils.data.Dataset):
    """Images with maps of ids, 0 for the background: every other value is a mask.

    Args:
        images: Folder of images.
        labels: Folder of PNG maps of the same names.

    Raises:
        FileNotFoundError: A folder or a map is missing.
    """

    def __init__(self, images: Path, labels: Path) -> None:
        found = photos(images)
        self.samples = [(name, path, labels / f"{name}.png") for name, path in found.items()]
        missing = [str(label) for _, _, label in self.samples if not label.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(found)} maps of {images} are missing, such as {missing[0]}."
            )

    def __len__(self) -> int:
        return len(self.samples)

    def sample_id(self, index: int) -> str:
        """Name of a sample in messages."""
        return self.samples[index][0]

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, image, label = self.samples[index]
        ids = read_map(label)
        photo = read_image(image, ids.shape, label)
        if photo.shape[:2] != ids.shape:
            raise ValueError(f"{image} has size {photo.shape[:2]} (height, width), its map {label} {ids.shape}.")
        return {"image": photo, "segmentation": ids, "segments_info": [], "image_id": name}


class PolygonMasks(torch.utils.data.Dataset):
    """Images with lists of outlines: every outline is a mask, and they may overlap.

    Args:
        samples: Name, image file, and what gives its outlines [x0, y0, x1, y1, ...] in pixels when the image is read.
    """

    def __init__(self, samples: Sequence[tuple[str, Path, Callable[[], list[list[float]]]]]) -> None:
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def sample_id(self, index: int) -> str:
        """Name of a sample in messages."""
        return self.samples[index][0]

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, image, outlines = self.samples[index]
        # Outlines are in pixels as stored: an orientation in the file's header would turn the image away from them.
        photo = read_image(image, read_header(image)[0], labeled=True)
        size = list(photo.shape[:2])
        return {"image": photo, "masks": [{"polygons": [one], "size": size} for one in outlines()], "image_id": name}


class JoinedMasks(torch.utils.data.Dataset):
    """Several sets in one, one after the other; `set_of` says whose a sample is.

    Raises:
        ValueError: There is no set.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        if not parts:
            raise ValueError("there is no set to join")
        self.parts = dict(parts)
        self.ends = list(accumulate(len(part) for part in self.parts.values()))

    def __len__(self) -> int:
        return self.ends[-1]

    def _place(self, index: int) -> tuple[str, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = bisect.bisect_right(self.ends, index)
        return list(self.parts)[number], index - (self.ends[number - 1] if number else 0)

    def set_of(self, index: int) -> str:
        """Name of the set that a sample belongs to."""
        return self._place(index)[0]

    def sample_id(self, index: int) -> str:
        """Name of a sample in messages."""
        name, place = self._place(index)
        part = self.parts[name]
        return f"{name}/{part.sample_id(place) if hasattr(part, 'sample_id') else place}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        name, place = self._place(index)
        return self.parts[name][place]


# ------------------------------------------------------------------------------------------------------------- layouts


def _folder_of_split(root: Path, split: str, what: str) -> Path:
    """Folder of a split, under any of its usual names.

    Raises:
        FileNotFoundError: There is none; names those there are.
    """
    names = next((names for names in SPLIT_NAMES.values() if split in names), (split,))
    for name in (split, *names):
        if (root / name).is_dir():
            return root / name
    inside = sorted(path.name for path in root.iterdir() if path.is_dir())
    raise FileNotFoundError(f"{root} has no folder of the split {split!r} of {what}; it holds {', '.join(inside)}.")


def _egohos(root: Path, split: str) -> Any:
    folder = _folder_of_split(root, split, "EgoHOS")
    require(folder, {"image": "images", "label": "maps"}, "EgoHOS")
    return LabelMapMasks(folder / "image", folder / "label")


def _ishape(root: Path, split: str) -> Any:
    names = [name for name in ISHAPE_SETS if (root / name).is_dir()]
    if not names:
        require(root, {" or ".join(ISHAPE_SETS): "sets"}, "iShape")
    parts = {}
    for name in names:
        folder = _folder_of_split(root / name, split, f"iShape's {name}")
        require(folder, {"image": "images", "instance_map": "maps"}, f"iShape's {name}")
        parts[name] = LabelMapMasks(folder / "image", folder / "instance_map")
    return JoinedMasks(parts)


def _streets(root: Path, split: str) -> Any:
    base = root / "vehicleannotations" if (root / "vehicleannotations").is_dir() else root
    file = base / "annotations" / "vehicle-annotations.json"
    require(base, {"annotations/vehicle-annotations.json": "outlines", "images": "images"}, "STREETS")
    content = read_json(file)
    content = content.get("_via_img_metadata", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise ValueError(f"{file} is no file of VGG's image annotator: it must be an object of objects with regions.")
    outlines = {str(e.get("filename") or key): _via_outlines(e, file, key) for key, e in content.items()}
    found = {path.name: path for path in photos(base / "images").values()}
    chosen = list(found)
    if (root / "train-val-split.json").is_file():
        chosen = _streets_split(root / "train-val-split.json", split, chosen)
    samples = [(name, found[name], outlines.get(name, [])) for name in chosen]
    return PolygonMasks([(name, path, lambda drawn=drawn: drawn) for name, path, drawn in samples if drawn])


def _streets_split(file: Path, split: str, names: list[str]) -> list[str]:
    """Names that the set's own file of splits lists.

    Raises:
        ValueError: It has no such split.
    """
    content = read_json(file)
    keys = next((keys for keys in SPLIT_NAMES.values() if split in keys), (split,))
    listed = next((content[key] for key in (split, *keys) if isinstance(content, dict) and key in content), None)
    if listed is None:
        raise ValueError(f"{file} has no split {split!r}.")
    wanted = set(map(str, listed))
    return [name for name in names if name in wanted]


def _via_outlines(entry: Mapping[str, Any], file: Path, key: str) -> list[list[float]]:
    """Outlines of polygons of three and more points; the set's own code leaves out other shapes too."""
    regions = entry.get("regions") or []
    try:
        shapes = [one["shape_attributes"] for one in (regions.values() if isinstance(regions, dict) else regions)]
        drawn = [(one["all_points_x"], one["all_points_y"]) for one in shapes if one.get("name") == "polygon"]
        return [[float(c) for point in zip(xs, ys, strict=True) for c in point] for xs, ys in drawn if len(xs) > 2]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file}: the regions of {key} are damaged: {error}") from error


def _woodscape(root: Path, split: str) -> Any:
    require(root, {"rgb_images": "images", "instance_annotations": "outlines"}, "WoodScape")
    folder = first_existing([root / "instance_annotations" / "instance_annotations", root / "instance_annotations"])
    images = first_existing([root / "rgb_images" / "rgb_images", root / "rgb_images"])
    found = [(name, path, folder / f"{name}.json") for name, path in photos(images).items()]
    samples = [
        (name, path, lambda file=file: _woodscape_outlines(file)) for name, path, file in found if file.is_file()
    ]
    if not samples:
        raise FileNotFoundError(f"{folder} holds no NAME.json of an image of {images}.")
    return PolygonMasks(samples)


def _woodscape_outlines(file: Path) -> list[list[float]]:
    content = read_json(file)
    if isinstance(content, dict) and "annotation" not in content:
        content = content.get(file.name, next(iter(content.values()), None))
    if not isinstance(content, dict) or not isinstance(content.get("annotation"), list):
        raise ValueError(f"{file} has no list 'annotation', as WoodScape's instance annotations have.")
    try:
        outlines = [[float(c) for point in one["segmentation"] for c in point] for one in content["annotation"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: an annotation has no list of points: {error}") from error
    return [outline for outline in outlines if len(outline) > 5]


def _only(files: list[Path], folder: Path, what: str) -> Path:
    """The one file of a kind.

    Raises:
        FileNotFoundError: There is none.
        ValueError: There are several, and which is meant cannot be known.
    """
    if not files:
        raise FileNotFoundError(f"{folder} holds no {what}.")
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{folder} holds {len(files)} files {what} ({names}): leave the one that is meant there.")
    return files[0]


def _timberseg(root: Path, split: str) -> Any:
    base = first_existing([root / "prescaled", root / "original", root])
    base = base if base.is_dir() else root
    file = _only(sorted(base.glob("*coco*.json")), base, "*coco*.json of TimberSeg")
    return CocoMasks(file, base / "images" if (base / "images").is_dir() else base)


def _ndispark(root: Path, split: str) -> Any:
    folder = _folder_of_split(root, split, "NDISPark")
    file = _only(sorted(folder.glob("*coco_annotations.json")), folder, "*coco_annotations.json of NDISPark")
    return CocoMasks(file, folder / "imgs")


def _pidray(root: Path, split: str) -> Any:
    parts = {}
    for name in ("easy", "hard", "hidden"):
        file = root / "annotations" / f"xray_test_{name}.json"
        if file.is_file() and split in ("test", "validation", name):
            parts[name] = CocoMasks(file, first_existing([root / name, root / "test" / name, root / "test"]))
    if split == "train":
        return CocoMasks(root / "annotations" / "xray_train.json", root / "train")
    if not parts:
        wanted = {"annotations/xray_test_easy.json or annotations/xray_test_hard.json": "masks"}
        require(root, wanted, "PIDray")
        raise ValueError(f"PIDray has no split {split!r}; must be one of train, test, easy, hard, hidden.")
    return JoinedMasks(parts)


def _trashcan(root: Path, split: str) -> Any:
    places = [root / "instance_version", root / "dataset" / "instance_version", root]
    base = next((path for path in places if path.is_dir() and list(path.glob("instances_*_trashcan.json"))), root)
    short = "val" if split == "validation" else split
    require(base, {f"instances_{short}_trashcan.json": "masks", short: "images"}, "TrashCan")
    return CocoMasks(base / f"instances_{short}_trashcan.json", base / short)


def _seginw(root: Path, split: str) -> Any:
    parts = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        places = [folder / name for name in SPLIT_NAMES.get(split, (split,)) if (folder / name).is_dir()]
        files = [place / name for place in places for name in SEGINW_FILES if (place / name).is_file()]
        if files:
            parts[folder.name] = CocoMasks(files[0], files[0].parent)
    if not parts:
        raise FileNotFoundError(f"{root} holds no SET/valid/{SEGINW_FILES[0]} of SegInW's split {split!r}.")
    return JoinedMasks(parts)


def _flat(name: str, dataset: Any) -> dict[str, Any]:
    """A set's parts under names of their own."""
    if isinstance(dataset, JoinedMasks):
        return {f"{name}/{part}": value for part, value in dataset.parts.items()}
    return {name: dataset}


def _all_sets(root: Path, split: str) -> Any:
    from .official import OFFICIAL, load_official

    parts: dict[str, Any] = {}
    for name in ("coco_panoptic", "coco_instance", "ade20k_panoptic", "ade20k_instance"):
        folder = root / OFFICIAL[name].folder
        if folder.is_dir():
            parts[name] = load_official(name, folder, "validation")
    for name, opener in PROMPTABLE_SETS.items():
        if name != "promptable-sets" and (root / name).is_dir():
            parts |= _flat(name, opener(root / name, split))
    if not parts:
        known = [OFFICIAL["coco_panoptic"].folder, OFFICIAL["ade20k_panoptic"].folder, *PROMPTABLE_SETS]
        raise FileNotFoundError(f"{root} holds none of the folders {', '.join(known[:-1])}.")
    return JoinedMasks(parts)


PROMPTABLE_SETS: dict[str, Callable[[Path, str], Any]] = {
    "egohos": _egohos,
    "timberseg": _timberseg,
    "streets": _streets,
    "ishape": _ishape,
    "ndispark": _ndispark,
    "woodscape": _woodscape,
    "pidray": _pidray,
    "trashcan": _trashcan,
    "seginw": _seginw,
    "promptable-sets": _all_sets,
}


def open_promptable_set(name: str, root: str | Path, split: str | None = None, only: str | None = None) -> Any:
    """Opens one of the sets.

    Args:
        name: A key of `PROMPTABLE_SETS`.
        root: Its folder.
        split: "validation" (the default), "train", "test" or a name of the set's own; TimberSeg and WoodScape have
            none.
        only: Parts of a set of sets, by name, between `+`: `ishape:ROOT,only=log+wire`.

    Raises:
        FileNotFoundError: Folders or files are missing.
        ValueError: A file is damaged, or there is no such split or part.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(root)!r} of {name}.")
    split = "validation" if split in (None, "val", "valid", "dev") else str(split)
    dataset = PROMPTABLE_SETS[name](folder, split)
    if only is not None:
        wanted = str(only).split("+")
        parts = dataset.parts if isinstance(dataset, JoinedMasks) else {}
        if set(wanted) - set(parts):
            raise ValueError(f"{name} has the parts {', '.join(parts) or '(none)'}; got only={only}.")
        dataset = JoinedMasks({part: parts[part] for part in wanted})
    if not len(dataset):
        raise ValueError(f"{folder} has no image with a mask in the split {split!r}.")
    return dataset
