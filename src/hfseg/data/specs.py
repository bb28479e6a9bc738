# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The one way to name a dataset, for every command and every task.

A specification is a path, or `NAME[:PATH][,key=value,...]`:

| specification | what it opens |
|---|---|
| `FOLDER` | images with label maps, object maps or COCO annotations; a medical layout; `save_to_disk` tables |
| `FILE.json` | COCO annotations; referring expressions where the task is referring |
| `FILE.jsonl`, `FILE.lmdb` | referring expressions |
| `FILE.parquet`, `table:PATH` | a table of `datasets`, also from the Hub |
| `shapes[:num_scenes=64,image_size=96x128,seed=0]` | embedded scenes, with what the task needs |
| `coco_panoptic[:ROOT]`, ... | an official layout (`hfseg.data.official_names()`) |
| `refcoco[/PARTITION]:ROOT`, `refcoco+:ROOT`, `refcocog:ROOT` | REFER's layout |
| `segment-anything:ROOT` | SA-1B's layout: masks without names |
| `egohos:ROOT`, `seginw:ROOT`, ..., `promptable-sets:ROOT` | masks without names of public sets, or of many at once |
| `decathlon:ROOT`, `pairs:ROOT`, `amos:ROOT`, ... | a medical layout, with `modality=`, `input_mode=`, ... |
| `images:ROOT`, `labeled:ROOT,depth_folder=DIR`, `nyuv2:ROOT`, `pascal-5i:ROOT,fold=0`, ... | in-context tasks |

Values are YAML. Nothing is downloaded, but for a table of the Hub.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["DatasetSpec", "dataset_names", "is_medical", "open_dataset", "parse_spec"]

KINDS = ("segmentation", "referring", "medical", "in-context", "images")
SPLIT_NAMES = {"val": "validation", "dev": "validation", "valid": "validation"}
REFERRING_SUFFIXES = (".jsonl", ".lmdb")
SHAPES_SETTINGS = "settings are num_scenes=64, image_size=96 or 96x128 (height x width) and seed=0, between commas"
# Names that were used before, and what they are called now.
RENAMED = {"pictures": "images", "labelled": "labeled"}  # spelled as given


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A specification, taken apart.

    Attributes:
        text: As it was given.
        name: In front of the colon, or "" for a path.
        path: Behind it, or the path itself; None if there is none.
        settings: The `key=value` parts.
    """

    text: str
    name: str
    path: str | None
    settings: Mapping[str, Any]


def parse_spec(text: str) -> DatasetSpec:
    """Takes a specification apart; an existing path is one, whatever its name looks like."""
    if Path(text).exists():
        return DatasetSpec(text, "", text, {})
    name, separator, rest = text.partition(":")
    if not separator:
        name, separator, rest = text.partition(",")
        separator = ":" if not separator else separator
    settings: dict[str, Any] = {}
    paths = []
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            paths.append(part)
            continue
        settings[key.strip()] = _value(value)
    return DatasetSpec(text, name, ",".join(paths) or None, settings)


def _value(text: str) -> Any:
    import yaml

    sides = text.split("x")
    if len(sides) == 2 and all(side.isdigit() for side in sides):
        return (int(sides[0]), int(sides[1]))
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def is_medical(text: str) -> bool:
    """Whether a specification names volumes or slices in a medical layout."""
    from .readers.medical_layouts import LAYOUTS

    spec = parse_spec(text)
    if spec.name:
        return spec.name in LAYOUTS
    return medical_layout(Path(str(spec.path))) is not None


def medical_layout(folder: Path) -> str | None:
    """The medical layout of a folder, or None. X-ray images look like any others and have to be named."""
    from ..files.listing import list_files

    if not folder.is_dir():
        return None
    names = {path.name for path in folder.iterdir()}
    if {"imagesTr", "labelsTr"} <= names:
        images = [path.name.lower() for path in (folder / "imagesTr").iterdir()]
        if images and all(name.endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")) for name in images):
            return None  # a 2-D nnU-Net folder
        if "dataset.json" not in names:
            return "amos"
        return "nnunet" if any("_0000." in name for name in images) else "decathlon"
    if {"img", "label"} <= names:
        return "btcv"
    if any(name.lower().endswith("_segmentation.mhd") for name in names):
        return "promise12"
    for other, layout in (("labels", "pairs"), ("masks", "luna16")):
        if {"images", other} <= names and any(".nii" in path.name.lower() for path in list_files(folder / other)):
            return "dicom" if list_files(folder / "images", (".dcm",)) else layout
    return None


def open_dataset(specification: str, split: str | None = None, *, kind: str = "segmentation", **settings: Any) -> Any:
    """Opens a dataset by its specification, as a map-style reader; `hfseg.load_dataset` gives tables.

    Args:
        specification: See the module, `hfseg.data.specs`.
        split: Name of the split; None for the validation split, or all of a single file.
        kind: What its samples are for: "segmentation", "referring", "medical", "in-context" or "images"
            (`hfseg.tasks`, field `reader`). A specification that says it itself (`refcoco:...`) needs none.
        **settings: Further arguments of the reader; those in the specification come first.

    Returns:
        A map-style dataset with the columns of its schema.

    Raises:
        FileNotFoundError: There is no such folder or file, or files of the layout are missing.
        ValueError: A name, split or setting that there is not; damaged files.

    Example:
        >>> from hfseg.data.specs import open_dataset
        >>> len(open_dataset("shapes:num_scenes=3", "val"))
        3
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    spec = parse_spec(str(specification))
    if spec.name in RENAMED:
        new = specification.replace(spec.name, RENAMED[spec.name], 1)
        raise ValueError(f"The dataset {spec.name!r} is called {RENAMED[spec.name]!r} now: give {new!r}.")
    given = {**settings, **spec.settings}
    if not spec.name:
        return _open_path(Path(str(spec.path)), split, kind, given, spec)
    if spec.name in ("shapes", "referring-shapes"):
        return _open_shapes(spec, split, "referring" if spec.name != "shapes" else kind, settings)
    opener = _named().get(spec.name.partition("/")[0])
    if opener is not None:
        try:
            return opener(spec, split, kind, given)
        except TypeError as error:
            raise ValueError(f"The dataset {spec.text!r} cannot be opened: {error}.") from error
    _unknown(spec)


def dataset_names() -> list[str]:
    """Names that a specification may begin with."""
    return sorted({"shapes", *_named()})


def _unknown(spec: DatasetSpec) -> None:
    names = dataset_names()
    near = difflib.get_close_matches(spec.name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise FileNotFoundError(
        f"The dataset {spec.text!r} is not known: there is no such folder or file, and the name must be one of "
        f"{', '.join(names)}, as NAME[:PATH][,key=value].{hint}"
    )


def _open_path(path: Path, split: str | None, kind: str, settings: dict[str, Any], spec: DatasetSpec) -> Any:
    if kind == "referring" or path.suffix in REFERRING_SUFFIXES:
        return _open_referring_file(path, split)
    if kind == "medical":
        layout = medical_layout(path)
        if layout is None:
            raise ValueError(
                f"The folder {path} has no medical layout that is recognized; name it, as pairs:{path}, "
                f"decathlon:{path} or xray:{path}."
            )
        return _open_medical(layout, path, split, settings)
    if kind in ("in-context", "images"):
        return _open_in_context("images", path, split, settings)
    from .readers.folders import is_table, load_folder

    if is_table(path) and (path.is_file() or settings):
        return _open_table(path, split, settings)
    return load_folder(path, split if path.is_file() else split or "validation", **settings)


def _open_referring_file(path: Path, split: str | None) -> Any:
    from .readers.refer import ReferLmdbDataset, load_refer_json

    if path.suffix in (".json", ".jsonl"):
        return load_refer_json(path, split)
    if path.suffix == ".lmdb":
        return ReferLmdbDataset(path)
    raise ValueError(
        f"The dataset {str(path)!r} holds no referring expressions that are recognized; give a .json, .jsonl or .lmdb "
        "file, or NAME:ROOT with NAME one of refcoco, refcoco+, refcocog."
    )


def _open_shapes(spec: DatasetSpec, split: str | None, kind: str, settings: dict[str, Any]) -> Any:
    """Embedded scenes, with the columns of the task."""
    values = {"num_scenes": 64, **settings}
    allowed = {"num_scenes", "image_size", "seed"}
    allowed |= {"combinations", "none_share"} if kind == "referring" else set()
    allowed |= {"num_frames"} if kind == "in-context" else set()
    for key, value in spec.settings.items():
        number = isinstance(value, int) and not isinstance(value, bool)
        pair = isinstance(value, tuple)
        fits = key in ("combinations", "none_share") or (number or pair if key == "image_size" else number)
        if key not in allowed or not fits:
            shown = next((part for part in spec.text.split(":")[-1].split(",") if part.startswith(f"{key}=")), key)
            raise ValueError(f"The dataset {spec.name}: {shown!r} is not a setting; {SHAPES_SETTINGS}.")
        values[key] = (value, value) if key == "image_size" and number else value
    if spec.path is not None:
        raise ValueError(f"The dataset {spec.name}: {spec.path!r} is not a setting; {SHAPES_SETTINGS}.")
    if kind == "in-context":
        from .readers.in_context import ShapesSource

        return ShapesSource(**{"split": split or "test", **values})
    split = SPLIT_NAMES.get(split or "val", split or "validation")
    if kind == "referring":
        from .synthetic.referring_shapes import ReferringShapesDataset

        return ReferringShapesDataset(split, **values)
    from .synthetic.shapes import ShapesDataset

    return ShapesDataset(split=split, **values)


def _open_table(path: Path | str, split: str | None, settings: Mapping[str, Any]) -> Any:
    from .readers.tables import load_table

    return load_table(path, split or "validation", **settings)


def _open_medical(layout: str, root: Path, split: str | None, settings: dict[str, Any]) -> Any:
    from .readers.medical_layouts import SPLIT_FOLDERS, load_medical

    if split is None and layout in SPLIT_FOLDERS:
        split = next((name for name in ("validation", "val", "test") if (root / "images" / name).is_dir()), None)
    named = settings.get("id2label")
    if isinstance(named, str):
        settings = {**settings, "id2label": dict(enumerate(named.split("/")))}
    return load_medical(root, layout, split, **settings)


def _open_in_context(name: str, root: Path | str, split: str | None, settings: dict[str, Any]) -> Any:
    from .readers.in_context import PhotoSource
    from .readers.in_context_sources import open_source

    settings = {key: value for key, value in settings.items() if value is not None}
    if name == "labeled":
        settings = {key: value for key, value in settings.items() if key not in ("number", "seed")}
        return PhotoSource(_Named(open_source({"reader": "images", "root": str(root)})), **settings)
    if name == "images":
        return open_source({"reader": "images", "root": str(root), **settings})
    settings = {key: value for key, value in settings.items() if key not in ("number", "seed")}
    return open_source({"reader": name, "root": str(root), **settings})


class _Named:
    """Images with the names of their files, which label folders go by."""

    def __init__(self, source: Any) -> None:
        self.source, self.sample_id = source, source.sample_id

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.source[index]


def _root(spec: DatasetSpec) -> str:
    if spec.path is None:
        raise ValueError(f"The dataset {spec.text!r} has no path: give {spec.name}:PATH.")
    return spec.path


def _named() -> dict[str, Any]:
    """Opener of every name: `(spec, split, kind, settings) -> dataset`."""
    from .readers.in_context_sources import SOURCES
    from .readers.medical_layouts import LAYOUTS
    from .readers.official import official_names
    from .readers.promptable_sets import PROMPTABLE_SETS
    from .readers.refer import REFER_SPLITS

    def official(spec: DatasetSpec, split: str | None, kind: str, settings: dict[str, Any]) -> Any:
        from .readers.official import load_official

        return load_official(spec.name, spec.path, split or "validation", **settings)

    def refer(spec: DatasetSpec, split: str | None, kind: str, settings: dict[str, Any]) -> Any:
        from .readers.refer import load_refer

        if spec.path is None:
            raise ValueError(f"The dataset {spec.text!r} has no path: give NAME:ROOT or NAME/PARTITION:ROOT.")
        name, _, partition = spec.name.partition("/")
        return load_refer(spec.path, name, split or "val", partition or None, **settings)

    def medical(spec: DatasetSpec, split: str | None, kind: str, settings: dict[str, Any]) -> Any:
        return _open_medical(spec.name, Path(_root(spec)), split, settings)

    def in_context(spec: DatasetSpec, split: str | None, kind: str, settings: dict[str, Any]) -> Any:
        return _open_in_context(spec.name, _root(spec), split, settings)

    def table(spec: DatasetSpec, split: str | None, kind: str, settings: dict[str, Any]) -> Any:
        return _open_table(_root(spec), split, settings)

    def segment_anything(spec: DatasetSpec, split: str | None, kind: str, settings: dict[str, Any]) -> Any:
        from .readers.promptable import SegmentAnythingData

        return SegmentAnythingData(_root(spec), **settings)

    def promptable_set(spec: DatasetSpec, split: str | None, kind: str, settings: dict[str, Any]) -> Any:
        from .readers.promptable_sets import open_promptable_set

        return open_promptable_set(spec.name, _root(spec), split, **settings)

    return {
        **dict.fromkeys(official_names(), official),
        **{name: refer for name, _ in REFER_SPLITS},
        **dict.fromkeys(LAYOUTS, medical),
        **dict.fromkeys(("images", "labeled", *SOURCES), in_context),
        "table": table,
        "segment-anything": segment_anything,
        **dict.fromkeys(PROMPTABLE_SETS, promptable_set),
    }
