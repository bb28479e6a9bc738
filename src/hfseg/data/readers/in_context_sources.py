# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sources for in-context tasks: photographs with pseudo labels, folders of frames, and what others publish.

That is images, COCO's persons, Kubric's clips, NYUv2, Pascal-5i.

Items have the keys of `hfseg.data.readers.in_context`. Videos and Objects365: `hfseg.data.readers.in_context_sets`.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...files.images import convert_to_rgb, load_image, open_image
from ...files.listing import list_files
from ...files.writing import replacing
from ...results.visual_formats import FORMATS
from .coco import CORRECT, check_inside
from .images import read_map
from .official.layout import require
from .pascal_folds import NotInSampleError, PascalDetectionSource, PascalFoldSource
from .samples import IMAGE_SUFFIXES, read_json

__all__ = [
    "CocoPersonSource",
    "FrameFolderSource",
    "ImageFolderSource",
    "KubricSource",
    "NotInSampleError",
    "NyuSource",
    "PascalDetectionSource",
    "PascalFoldSource",
    "PhotoSource",
    "open_source",
    "pseudo_label_model",
]

NYU_FILE = "nyu_depth_v2_labeled.mat"


class PhotoSource(torch.utils.data.Dataset):
    """Photographs of any reader of this package, with pseudo labels from folders.

    Args:
        dataset: Map-style dataset of the universal schema (`load_official`, `load_folder`), or of images alone
            (`{"image"}`); or the arguments of `load_official` as a mapping with `name`, `split`, `root`, where
            `split: train+validation` joins splits; or those of another source, with `reader` (`images` and `root` for a
            folder of images).
        depth_folder: Folder with `<sample id>.npy` or `<sample id>.png` (8 or 16 bit), smaller is nearer.
        inverse_depth: The files hold disparity, larger is nearer (Depth Anything writes that).
        normal_folder: Folder with `<sample id>.npy` (unit vectors) or `<sample id>.png` (rgb = (n + 1) / 2).
        depth_model: Name of a model that makes the labels that `depth_folder` lacks, and writes them there; see
            `pseudo_label_model`.
        normal_model: Likewise for `normal_folder`.

    Raises:
        FileNotFoundError: A folder is missing, or (when read) a label.
        ValueError: A model without a folder.
    """

    def __init__(
        self,
        dataset: Any,
        depth_folder: str | None = None,
        inverse_depth: bool = False,
        normal_folder: str | None = None,
        depth_model: str | None = None,
        normal_model: str | None = None,
    ) -> None:
        if isinstance(dataset, Mapping):
            dataset = open_source(dict(dataset)) if "reader" in dataset else _load_splits(**dataset)
        self.dataset, self.inverse_depth = dataset, inverse_depth
        self._last_parts: Counter[str] | None = None  # how often a file name occurs among the samples
        self.folders = {
            name: Path(folder) for name, folder in (("depth", depth_folder), ("normals", normal_folder)) if folder
        }
        self.models = {
            name: model for name, model in (("depth", depth_model), ("normals", normal_model)) if model is not None
        }
        if set(self.models) - set(self.folders):
            raise ValueError("depth_model and normal_model write to depth_folder and normal_folder; give these too.")
        for name, folder in self.folders.items():
            if name in self.models:
                folder.mkdir(parents=True, exist_ok=True)
            elif not folder.is_dir():
                raise FileNotFoundError(f"There is no folder {str(folder)!r} of {name}.")

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """What its items hold; of a dataset that does not say, what its first item does."""
        kind, own = getattr(self.dataset, "kind", None), getattr(self.dataset, "keys", None)
        if own is None and kind in ("instance", "panoptic"):
            own = ("image", "segmentation", "segments_info")
        elif own is None:
            own = set(self.dataset[0]) & {"image", "segmentation", "segments_info", "keypoints"}
        return tuple(sorted({*own, *self.folders}))

    def __len__(self) -> int:
        return len(self.dataset)

    def sample_id(self, index: int) -> str:
        """Name of a sample, which its labels' files have."""
        return str(self.dataset.sample_id(index)) if hasattr(self.dataset, "sample_id") else str(index)

    def _file_name(self, kind: str, name: str) -> str:
        """Name of a label's file without ending: the sample's path, or its last part where that is nobody else's."""
        path = PurePosixPath(name.replace("\\", "/"))
        plain = path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path
        whole = plain.as_posix().lstrip("/")
        if any((self.folders[kind] / f"{whole}{ending}").is_file() for ending in (".npy", ".png")):
            return whole
        if self._last_parts is None:
            names = [PurePosixPath(self.sample_id(index).replace("\\", "/")) for index in range(len(self))]
            self._last_parts = Counter(one.stem for one in names)
        return plain.name if self._last_parts[path.stem] <= 1 else whole

    def read(self, kind: str, name: str, shape: tuple[int, int], image: np.ndarray | None = None) -> np.ndarray:
        """Reads a label by the sample's name, or makes it of the image.

        Raises:
            FileNotFoundError: There is none, and no model.
            ValueError: Its size is another than `shape`.
        """
        stem = self._file_name(kind, name)
        array, photo = (self.folders[kind] / f"{stem}{ending}" for ending in (".npy", ".png"))
        if array.is_file():
            value = np.load(array, allow_pickle=False)
        elif photo.is_file():
            value = np.asarray(open_image(photo))
            if kind == "normals":
                value = FORMATS["normal"].decode(value[..., :3])
        elif kind in self.models and image is not None:
            value = pseudo_label_model(kind, self.models[kind])(image)
            write_array(array, value)
        else:
            raise FileNotFoundError(f"There is neither {array} nor {photo.name}.")
        if value.shape[:2] != shape:
            raise ValueError(f"{kind} of sample {stem} is {value.shape[:2]}, its image {shape}; they must agree.")
        return value

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.dataset[index]
        image = np.asarray(convert_to_rgb(item["image"])) if isinstance(item["image"], Image.Image) else item["image"]
        record: dict[str, Any] = {"image": np.asarray(image)}
        record |= {key: np.asarray(item[key]) for key in ("segmentation", "keypoints") if key in item}
        if "segments_info" in item:
            record["segments_info"] = item["segments_info"]
            stuff = getattr(self.dataset, "stuff_class_ids", None)
            if stuff is not None:
                record["thing_class_ids"] = set(getattr(self.dataset, "id2label", {})) - set(stuff)
        for kind in self.folders:
            name, image = self.sample_id(index), record["image"]
            value = self.read(kind, name, image.shape[:2], image).astype(np.float32)
            record[kind] = -value if kind == "depth" and self.inverse_depth else value
        return record


class SplitsTogether(torch.utils.data.Dataset):
    """Splits of one dataset, one after the other.

    Args:
        parts: Datasets of the same classes.

    Raises:
        ValueError: Their classes differ.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts, first = list(parts), parts[0]
        if any(getattr(part, "id2label", None) != getattr(first, "id2label", None) for part in parts):
            raise ValueError("splits of one dataset have different classes")
        for name in ("kind", "id2label", "stuff_class_ids"):
            setattr(self, name, getattr(first, name, None))

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def _place(self, index: int) -> tuple[Any, int]:
        for part in self.parts:
            if index < len(part):
                return part, index
            index -= len(part)
        raise IndexError("there are fewer samples")

    def sample_id(self, index: int) -> str:
        """Name of a sample."""
        part, place = self._place(index)
        return str(part.sample_id(place))

    def __getitem__(self, index: int) -> dict[str, Any]:
        part, place = self._place(index)
        return part[place]


def _load_splits(name: str, root: str | None = None, split: str = "train") -> Any:
    """Opens an official layout, `train+validation` as one dataset."""
    from .official import load_official

    parts = [load_official(name, root, one.strip()) for one in split.split("+")]
    return parts[0] if len(parts) == 1 else SplitsTogether(parts)


class FrameFolderSource(torch.utils.data.Dataset):
    """Clips from folders of frames: one folder per clip, images sorted by name.

    Args:
        root: Folder of the clips' folders.
        num_frames: Frames of a clip; longer ones are cut in the middle, shorter ones left out.

    Raises:
        FileNotFoundError: There is no clip of that length.
    """

    keys = ("frames",)

    def __init__(self, root: str, num_frames: int = 17) -> None:
        self.num_frames = num_frames
        self.clips = []
        for folder in sorted(path for path in Path(root).glob("*") if path.is_dir()):
            files = sorted(
                file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")
            )
            if len(files) >= num_frames:
                self.clips.append(files)
        if not self.clips:
            raise FileNotFoundError(f"{root} holds no folder of at least {num_frames} frames.")

    def __len__(self) -> int:
        return len(self.clips)

    def sample_id(self, index: int) -> str:
        """Name of a clip."""
        return self.clips[index][0].parent.name

    def __getitem__(self, index: int) -> dict[str, Any]:
        files = self.clips[index]
        start = (len(files) - self.num_frames) // 2
        return {"frames": np.stack([np.asarray(load_image(f)) for f in files[start : start + self.num_frames]])}


class ImageFolderSource:
    """Images of a folder, at any depth, sorted by path: ImageNet's validation set, for example.

    Args:
        root: The folder.
        number: That many of them, drawn without repetition; None: all.
        seed: Seed of the draw.

    Raises:
        FileNotFoundError: There is no image.
        ValueError: There are fewer than `number`.
    """

    keys = ("image",)

    def __init__(self, root: str, number: int | None = None, seed: int = 0) -> None:
        self.files = list_files(root, IMAGE_SUFFIXES)
        if not self.files:
            raise FileNotFoundError(f"{root} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
        if number is not None:
            if number > len(self.files):
                raise ValueError(f"{number} images are wanted, {root} holds {len(self.files)}.")
            order = np.random.default_rng(seed).permutation(len(self.files))[:number]
            self.files = [self.files[index] for index in sorted(order.tolist())]

    def __len__(self) -> int:
        return len(self.files)

    def sample_id(self, index: int) -> str:
        """Name of an image."""
        return self.files[index].stem

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": np.asarray(load_image(self.files[index]))}


class CocoPersonSource:
    """Images of COCO 2017 that show persons, with their keypoints.

    Args:
        root: Folder with `annotations/person_keypoints_<split>2017.json` and `<split>2017/`.
        split: "train" or "val".

    Raises:
        FileNotFoundError: Files are missing.
        ValueError: The annotations are damaged or name no person.
    """

    keys = ("image", "keypoints")

    def __init__(self, root: str, split: str = "train") -> None:
        folder, year = Path(root), f"{'val' if split == 'validation' else split}2017"
        file = f"annotations/person_keypoints_{year}.json"
        require(folder, {file: "keypoints", f"{year} or images/{year}": "images"}, f"COCO 2017 (keypoints, {split})")
        content = read_json(folder / file)
        images = folder / year if (folder / year).is_dir() else folder / "images" / year
        if not isinstance(content, dict) or not content.get("images") or not content.get("annotations"):
            raise ValueError(f"{folder / file} holds no images or no annotations: 0 usable samples")
        persons: dict[int, list[np.ndarray]] = {}
        for annotation in content["annotations"]:
            if annotation.get("iscrowd", 0) or "keypoints" not in annotation:
                continue
            points = np.asarray(annotation["keypoints"], dtype=np.float32)
            if points.size != 51:
                raise ValueError(
                    f"{folder / file}: annotation {annotation.get('id')} has {points.size} numbers, not 51."
                )
            persons.setdefault(int(annotation["image_id"]), []).append(points.reshape(17, 3))
        for image in content["images"]:
            check_inside(image["file_name"], images, images, folder / file, CORRECT)
        self.samples = [
            (images / image["file_name"], np.stack(persons[image["id"]]))
            for image in content["images"]
            if image["id"] in persons
        ]
        if not self.samples:
            raise ValueError(f"{folder / file} has no person: 0 usable samples")

    def __len__(self) -> int:
        return len(self.samples)

    def sample_id(self, index: int) -> str:
        """Name of an image."""
        return self.samples[index][0].stem

    def __getitem__(self, index: int) -> dict[str, Any]:
        file, keypoints = self.samples[index]
        return {"image": np.asarray(load_image(file)), "keypoints": keypoints}


def _read_sixteen_bits(path: Path) -> np.ndarray:
    """PNG of any depth, as stored; PIL would cut 16-bit colors to 8.

    Shape:
        (H, W, channels), float64 in [0, 1].
    """
    from torchvision.io import ImageReadMode, decode_image

    try:
        values = decode_image(str(path), ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    except RuntimeError as error:
        raise ValueError(f"{path} is missing, truncated or no PNG: {error}") from error
    return values.astype(np.float64) / np.iinfo(values.dtype).max


def _rotation(quaternion: Sequence[float]) -> np.ndarray:
    """Matrix of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


class KubricSource:
    """Clips that Kubric's workers wrote, one folder per scene.

    `rgba_00000.png`, `depth_00000.tiff` (meters from the camera), `normal_00000.png` (16 bits, world coordinates),
    `segmentation_00000.png`, `forward_flow_00000.png` (16 bits, (rows, columns), range in `data_ranges.json`),
    `metadata.json` (the camera's `quaternions`). Normals are turned into the camera's frame: x right, y down, z toward
    the viewer.

    Args:
        root: Folder of the scenes' folders.
        num_frames: Frames of a clip; of longer ones the first.

    Raises:
        FileNotFoundError: There is no scene of that length, or (when read) a file is missing.
    """

    keys = ("frames", "video_segmentation", "video_depth", "video_normals", "flow")

    def __init__(self, root: str, num_frames: int = 17) -> None:
        self.num_frames = num_frames
        folders = sorted(path for path in Path(root).glob("*") if path.is_dir())
        self.scenes = [path for path in folders if (path / f"rgba_{num_frames - 1:05d}.png").is_file()]
        if not self.scenes:
            raise FileNotFoundError(f"{root} holds no folder of a scene with rgba_{num_frames - 1:05d}.png.")

    def __len__(self) -> int:
        return len(self.scenes)

    def sample_id(self, index: int) -> str:
        """Name of a scene."""
        return self.scenes[index].name

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene, numbers = self.scenes[index], range(self.num_frames)
        ranges, metadata = (
            json.loads((scene / name).read_text("utf-8")) for name in ("data_ranges.json", "metadata.json")
        )
        flow_range, quaternions = ranges["forward_flow"], metadata["camera"]["quaternions"]
        rows_columns = np.stack([_read_sixteen_bits(scene / f"forward_flow_{n:05d}.png")[..., :2] for n in numbers])
        flow = rows_columns * (flow_range["max"] - flow_range["min"]) + flow_range["min"]
        normals = []
        for number in numbers:
            world = _read_sixteen_bits(scene / f"normal_{number:05d}.png")[..., :3] * 2 - 1
            camera = world @ _rotation(quaternions[number])  # the inverse rotation, from the right
            camera = camera * [1, -1, 1]  # Blender's y is up
            normals.append(camera / np.maximum(np.linalg.norm(camera, axis=-1, keepdims=True), 1e-6))
        depth = [np.asarray(open_image(scene / f"depth_{n:05d}.tiff"), dtype=np.float32) for n in numbers]
        return {
            "frames": np.stack([np.asarray(load_image(scene / f"rgba_{n:05d}.png")) for n in numbers]),
            "video_segmentation": np.stack([read_map(scene / f"segmentation_{n:05d}.png") for n in numbers]),
            "video_depth": np.stack([values.reshape(values.shape[:2]) for values in depth]),
            "video_normals": np.stack(normals).astype(np.float32),
            "flow": flow[..., ::-1].astype(np.float32),
        }


class NyuSource:
    """NYUv2's 1449 labeled images with depth in meters, and normals where a folder of them is given.

    Images of its depth show disparity, as the paper's training labels do (`depth_space`).

    Args:
        root: Folder with `nyu_depth_v2_labeled.mat` and, for the splits, `splits.mat`.
        split: "train" (795), "test" (654) or "all" (1449).
        normal_folder: Folder with `<number from 1, four digits>.npy` or `.png`, as for `PhotoSource`.

    Raises:
        FileNotFoundError: Files are missing.
        ImportError: h5py is needed and missing.
        ValueError: A file is damaged, or the split unknown.
    """

    depth_space = "disparity"

    def __init__(self, root: str, split: str = "test", normal_folder: str | None = None) -> None:
        if split not in ("train", "test", "all"):
            raise ValueError(f"NYUv2 has no split {split!r}; must be one of train, test, all.")
        self.file = Path(root) / NYU_FILE
        wanted = {NYU_FILE: "images and depth"} | ({} if split == "all" else {"splits.mat": "the splits"})
        require(Path(root), wanted, "NYUv2")
        images = self._array("images")
        self.numbers = list(range(1, len(images) + 1))
        if split != "all":
            from scipy.io import loadmat

            self.numbers = sorted(loadmat(Path(root) / "splits.mat")[f"{split}Ndxs"].ravel().tolist())
        self.normals = None if normal_folder is None else PhotoSource([None], normal_folder=normal_folder)

    def _array(self, name: str) -> Any:
        try:
            import h5py
        except ImportError as error:
            raise ImportError(f"{NYU_FILE} is read with h5py: pip install 'hfseg[in-context]'.") from error
        try:
            return h5py.File(self.file, "r")[name]
        except (OSError, KeyError) as error:
            raise ValueError(f"{self.file} is truncated or damaged, or has no {name}: {error}") from error

    @property
    def keys(self) -> tuple[str, ...]:
        """What its items hold."""
        return ("image", "depth") if self.normals is None else ("image", "depth", "normals")

    def __len__(self) -> int:
        return len(self.numbers)

    def sample_id(self, index: int) -> str:
        """Number of an image, from 1."""
        return f"{self.numbers[index]:04d}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = self.numbers[index] - 1
        # Matlab's arrays are transposed: (number, 3, W, H).
        record = {
            "image": np.ascontiguousarray(self._array("images")[place].transpose(2, 1, 0)),
            "depth": np.ascontiguousarray(self._array("depths")[place].T).astype(np.float32),
        }
        if self.normals is not None:
            record["normals"] = self.normals.read("normals", self.sample_id(index), record["image"].shape[:2])
        return record


@functools.cache
def _load_depth_model(name: str) -> Any:
    from transformers import pipeline

    return pipeline("depth-estimation", model=name)


@functools.cache
def _load_normal_model(name: str) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(name)


def pseudo_label_model(kind: str, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Makes pseudo labels with a model that the user names, loaded when first asked.

    Args:
        kind: `depth`: a model of transformers' "depth-estimation" pipeline, whose output (`predicted_depth`) is taken
            as it is; Depth Anything's relative models give disparity, larger is nearer. `normals`: a diffusers pipeline
            of surface normals (Marigold, StableNormal), x right, y up, z toward the viewer.
        name: Folder or Hub id.

    Returns:
        A function of an image (H, W, 3), uint8, to (H, W) or (H, W, 3), y down, float32.
    """
    if kind not in ("depth", "normals"):
        raise ValueError(f"There are no pseudo labels of {kind!r}; must be one of depth, normals.")

    def label(photo: np.ndarray) -> np.ndarray:
        import torch

        image = Image.fromarray(photo)
        if kind == "depth":
            depth = torch.as_tensor(_load_depth_model(name)(image)["predicted_depth"]).float().squeeze()[None, None]
            size = photo.shape[:2]
            return torch.nn.functional.interpolate(depth, size, mode="bicubic", antialias=True)[0, 0].numpy()
        normals = np.asarray(_load_normal_model(name)(image).prediction, dtype=np.float32)[0]
        return normals * np.array([1, -1, 1], dtype=np.float32)

    return label


def write_array(path: Path, value: np.ndarray) -> None:
    """Writes a .npy file whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, value)


# For recipes: everything that `data.train.source`, `video_source` or `sources` may name; a place is imported when used.
SOURCES: dict[str, Any] = {
    "images": ImageFolderSource,
    "coco-persons": CocoPersonSource,
    "kubric": KubricSource,
    "nyuv2": NyuSource,
    "pascal-5i": PascalFoldSource,
    "pascal-5i-boxes": PascalDetectionSource,
    "frames": FrameFolderSource,
    "videos": "VideoFolderSource",
    "ucf101": "Ucf101Source",
    "kinetics": "KineticsSource",
    "objects365": "Objects365Source",
}


def open_source(arguments: dict[str, Any]) -> Any:
    """Opens a source by `{"reader": NAME, ...arguments}`.

    Raises:
        ValueError: An unknown name; lists those there are.
    """
    name = arguments.get("reader")
    if name not in SOURCES:
        raise ValueError(f"There is no reader {name!r} of in-context sources: choose among {', '.join(SOURCES)}.")
    made = SOURCES[name]
    if isinstance(made, str):
        from . import in_context_sets

        made = getattr(in_context_sets, made)
    return made(**{key: value for key, value in arguments.items() if key != "reader"})
