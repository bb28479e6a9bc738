# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks without names: reading of the promptable schema, collections in SA-1B's layout and COCO-style files, collation.

An example of the promptable schema is `{"image", "masks": [...]}`; masks are run lengths (COCO's, compressed or not),
polygons `{"polygons": [[x0, y0, x1, y1, ...], ...], "size": [H, W]}`, or arrays (H, W), and may overlap. Examples of
the universal and the semantic schema serve too: names are ignored.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from ...files.images import FORMATS, convert_to_rgb, open_image
from ...files.listing import list_files
from ...results.run_lengths import decode_run_lengths, decode_segmentation, draws_nothing
from ...results.zoom import zoom_window
from ..collators.collation import UniversalCollator
from .coco import CORRECT, check_inside, find_file, read_coco_masks
from .images import orient, to_id_map, to_rgb
from .reading import check_on_error
from .samples import say_what_is_nothing

__all__ = [
    "CocoMasks",
    "PromptableCollator",
    "SegmentAnythingData",
    "boxes_of_masks",
    "draw_mask",
    "masks_of",
    "stream_shards",
]

logger = logging.getLogger(__name__)

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGES = (".jpg", ".jpeg", ".png", ".webp")


def draw_mask(mask: Any) -> np.ndarray:
    """Draws a mask of the promptable schema.

    Shape:
        Output: (H, W), bool.

    Raises:
        ValueError: For a mask in another form.
    """
    if isinstance(mask, Mapping) and "polygons" in mask:
        if "size" not in mask:
            raise ValueError("a mask has 'polygons' without 'size', [height, width]")
        return decode_segmentation(mask["polygons"], mask["size"])
    if isinstance(mask, Mapping) and "counts" in mask:
        return decode_run_lengths(mask)
    if isinstance(mask, Mapping):
        raise ValueError(
            f"a mask has the keys {sorted(mask)}; give run lengths ('counts', 'size') or 'polygons' with 'size'"
        )
    array = to_id_map(mask, "a mask") if isinstance(mask, Image.Image) else np.asarray(mask)
    if array.ndim != 2:
        raise ValueError(f"a mask has the shape {array.shape}; it must be (H, W)")
    return array != 0


def masks_of(example: Mapping[str, Any]) -> np.ndarray:
    """Draws the masks of an example of the promptable, the universal or the semantic schema; crowds are left out.

    Instances with masks of their own keep their overlaps; of an id map what is visible is taken.

    Shape:
        Output: (N, H, W), bool.

    Raises:
        ValueError: A mask is damaged, or of another size than the others.
    """
    if example.get("masks") is not None:
        drawn = [draw_mask(mask) for mask in example["masks"]]
    elif example.get("instances") is not None:
        own = example["instances"]
        size = (own["height"], own["width"])
        drawn = [
            draw_mask(entry["segmentation"])
            if isinstance(entry["segmentation"], np.ndarray)
            else decode_segmentation(entry["segmentation"], size)
            for entry in own["annotations"]
            if not entry.get("iscrowd", 0)
        ]
        if not drawn:
            return np.zeros((0, *size), dtype=bool)
    elif example.get("segmentation") is not None:
        ids = to_id_map(example["segmentation"])
        crowds = [segment["id"] for segment in example.get("segments_info", ()) if segment.get("iscrowd", 0)]
        present = np.array(
            [value for value in np.unique(ids).tolist() if value != 0 and value not in crowds], dtype=int
        )
        return ids[None] == present[:, None, None]
    else:
        raise ValueError(f"an example has the columns {sorted(example)}; it needs masks, instances or segmentation")
    if len({mask.shape for mask in drawn}) > 1:
        raise ValueError(f"masks have different sizes, {sorted({mask.shape for mask in drawn})}")
    if not drawn:
        return np.zeros((0, *to_rgb(example["image"]).shape[:2]), dtype=bool)
    return np.stack(drawn)


def boxes_of_masks(masks: torch.Tensor) -> torch.Tensor:
    """Frames masks: (x0, y0, x1, y1), the last pixel included; zeros for an empty mask.

    Shape:
        masks: (N, H, W) bool. Output: (N, 4), float32.
    """
    columns, rows = masks.any(1), masks.any(2)  # (N, W), (N, H)

    def ends(line: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.arange(line.shape[1])
        first = torch.where(line, places, line.shape[1]).amin(1)
        return first, torch.where(line, places + 1, 0).amax(1)

    (x0, x1), (y0, y1) = ends(columns), ends(rows)
    boxes = torch.stack((x0, y0, x1, y1), dim=1).float()
    return boxes * masks.flatten(1).any(1, keepdim=True)


def stream_shards(
    root: str | Path, on_error: str = "skip", report: Callable[[str], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Streams SA-1B: folders and tar files of `sa_N.jpg` with `sa_N.json`, one example after the other, in order.

    Tar files are read once from front to back, so they may come from a pipe or a slow disk. An unreadable shard, or one
    that breaks off, is skipped from there on; a damaged pair is skipped. Both are counted and reported at the end.

    Args:
        root: Folder of the collection, or one tar file.
        on_error: "skip" or "stop".
        report: Gets one line on what was skipped; default: the log.

    Yields:
        `{"image": PIL image, "masks": run lengths, "image_id": name}`.

    Raises:
        FileNotFoundError: If there is neither a tar file nor an image with its json.
        ValueError: If `on_error` is another word, or with "stop" for damage.
    """
    check_on_error(on_error)
    root = Path(root)
    shards = [root] if root.is_file() else list_files(root, (".tar",))
    loose = [] if root.is_file() else [path for path in list_files(root, (".json",)) if _image_of(path) is not None]
    if not shards and not loose:
        raise FileNotFoundError(f"{root} holds neither tar files nor pairs like sa_1.jpg and sa_1.json")
    damaged: list[str] = []

    def failed(what: str, error: Exception) -> None:
        if on_error == "stop":
            raise ValueError(f"{what} cannot be read: {error}") from error
        damaged.append(what)
        logger.warning("%s cannot be read and is skipped: %s", what, error)

    for path in loose:
        try:
            photo = _image_of(path)
            assert photo is not None
            yield _example(photo.read_bytes(), path.read_bytes(), path.relative_to(root).with_suffix("").as_posix())
        except (OSError, ValueError, KeyError) as error:
            failed(str(path), error)
    for shard in shards:
        waiting: dict[str, dict[str, bytes]] = {}
        try:
            with tarfile.open(shard, "r|*") as archive:
                for member in archive:
                    if not member.isfile():
                        continue
                    name, suffix = _member_key(member.name)
                    if suffix not in (*IMAGES, ".json"):
                        continue
                    extracted = archive.extractfile(member)
                    assert extracted is not None
                    kind = "annotation" if suffix == ".json" else "image"
                    pair = waiting.setdefault(name, {})
                    if kind in pair:
                        del waiting[name]
                        failed(f"{shard}:{name}", ValueError(f"there are two {kind}s of this name"))
                        continue
                    pair[kind] = extracted.read()
                    if len(pair) == 2:
                        del waiting[name]
                        try:
                            example = _example(pair["image"], pair["annotation"], name)
                        except (OSError, ValueError, KeyError) as error:
                            failed(f"{shard}:{name}", error)
                            continue
                        yield example
        except (tarfile.TarError, OSError, EOFError) as error:
            failed(str(shard), error)
    if damaged:
        message = f"{len(damaged)} shard(s) or sample(s) could not be read: {', '.join(damaged[:20])}"
        (report or logger.warning)(message)


def _member_key(name: str) -> tuple[str, str]:
    """Path of an archive's member without its ending, and the ending; equal names in two folders stay apart."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix(), path.suffix.lower()


def _image_of(annotation: Path) -> Path | None:
    return next((path for path in (annotation.with_suffix(s) for s in IMAGES) if path.is_file()), None)


def _example(photo: bytes, annotation: bytes, name: str) -> dict[str, Any]:
    image = Image.open(io.BytesIO(photo), formats=FORMATS)
    image.load()
    content = json.loads(annotation)
    if not isinstance(content, dict) or not isinstance(content["annotations"], list):
        raise ValueError(f"{name}: its json is no object with a list of annotations")
    if not all(isinstance(entry, dict) for entry in content["annotations"]):
        raise ValueError(f"{name}: its json has annotations that are no objects")
    masks = [entry["segmentation"] for entry in content["annotations"]]
    size = next((tuple(mask["size"]) for mask in masks if isinstance(mask, dict) and mask.get("size")), None)
    return {"image": convert_to_rgb(orient(image, name, size, labeled=True)), "masks": masks, "image_id": name}


class SegmentAnythingData(torch.utils.data.Dataset):
    """SA-1B with access by index, as training with shuffling and resuming wants it.

    Headers of tar files are read once to find where each pair lies; images are read when asked for, by a seek.
    Unreadable shards are left out, counted (`num_bad_shards`) and reported.

    Args:
        root: Folder of folders or tar files of `sa_N.jpg` with `sa_N.json`, or one tar file.
        max_masks: Masks per image at most; the largest are kept. None keeps all.
        share: Share of the images that is taken, chosen by their names and `seed`: the thesis trains on half of SA-1B.
        seed: Of the choice.

    Raises:
        FileNotFoundError: If there is no readable pair.
        ValueError: If `share` is not in (0, 1].
    """

    def __init__(self, root: str | Path, max_masks: int | None = None, share: float = 1.0, seed: int = 0) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}; it must be above 0 and at most 1.")
        self.root, self.max_masks = Path(root), max_masks
        self.bad_shards: list[str] = []
        # (shard or None, name, (image offset, size) or path, (annotation offset, size) or path)
        self.pairs: list[tuple[Any, str, Any, Any]] = []
        shards = [self.root] if self.root.is_file() else list_files(self.root, (".tar",))
        if self.root.is_dir():
            for path in list_files(self.root, (".json",)):
                photo = _image_of(path)
                if photo is not None:
                    self.pairs.append((None, path.relative_to(self.root).with_suffix("").as_posix(), photo, path))
        for shard in shards:
            found: dict[str, dict[str, tuple[int, int]]] = {}
            doubled: list[str] = []
            try:
                with tarfile.open(shard, "r:") as archive:
                    for member in archive:
                        name, suffix = _member_key(member.name)
                        if member.isfile() and suffix in (*IMAGES, ".json"):
                            kind = "annotation" if suffix == ".json" else "image"
                            if kind in found.setdefault(name, {}):
                                doubled.append(name)
                            found[name][kind] = (member.offset_data, member.size)
            except (tarfile.TarError, OSError, EOFError) as error:
                self.bad_shards.append(str(shard))
                logger.warning("Shard %s cannot be read to its end: %s", shard, error)
            length = shard.stat().st_size
            for name in doubled:
                logger.warning("%s:%s occurs twice and is left out: images and masks would be mixed up", shard, name)
                found.pop(name, None)
            for name, pair in found.items():
                if len(pair) == 2 and all(offset + size <= length for offset, size in pair.values()):
                    self.pairs.append((shard, name, pair["image"], pair["annotation"]))
        if not self.pairs:
            raise FileNotFoundError(
                f"{self.root} holds no readable pair like sa_1.jpg and sa_1.json, loose or in tar files"
            )
        if share < 1:  # by the names of files alone, so that other shards do not change the choice
            kept = [zlib.crc32(f"{seed}/{Path(pair[1]).name}".encode()) < share * 2**32 for pair in self.pairs]
            self.pairs = [pair for pair, keep in zip(self.pairs, kept) if keep]
            if not self.pairs:
                raise FileNotFoundError(f"{self.root}: share={share} leaves none of {len(kept)} images; take more.")

    @property
    def num_bad_shards(self) -> int:
        """Number of shards that could not be read to their end."""
        return len(self.bad_shards)

    def __len__(self) -> int:
        return len(self.pairs)

    def sample_id(self, index: int) -> str:
        """Name of a sample in messages."""
        shard, name, _, _ = self.pairs[index]
        return name if shard is None else f"{shard.name}:{name}"

    def _read(self, index: int, which: int) -> bytes:
        pair: tuple[Any, ...] = self.pairs[index]
        shard, place = pair[0], pair[which]
        if shard is None:
            return place.read_bytes()
        with open(shard, "rb") as file:
            file.seek(place[0])
            return file.read(place[1])

    def image_file(self, index: int) -> bytes:
        """Content of a sample's image file."""
        return self._read(index, 2)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.pairs[index][1]
        try:
            example = _example(self.image_file(index), self._read(index, 3), name)
        except KeyError as error:
            raise ValueError(f"{self.sample_id(index)} has no {error} in its json") from error
        if self.max_masks is not None and len(example["masks"]) > self.max_masks:
            areas = [int(draw_mask(mask).sum()) for mask in example["masks"]]
            largest = sorted(range(len(areas)), key=lambda i: -areas[i])[: self.max_masks]
            example["masks"] = [example["masks"][i] for i in sorted(largest)]
        return example


class CocoMasks(torch.utils.data.Dataset):
    """Any COCO-style instance file as masks without names: polygons and run lengths, overlaps kept, crowds left out.

    Args:
        annotations: The json file.
        images: Folder of its images.

    Raises:
        FileNotFoundError: If the file or the folder is missing.
        ValueError: If it is no COCO instance file, or names no image.
    """

    def __init__(self, annotations: str | Path, images: str | Path) -> None:
        self.folder, path = Path(images), Path(annotations)
        if not path.is_file():
            raise FileNotFoundError(f"there is no annotation file {path}")
        if not self.folder.is_dir():
            raise FileNotFoundError(f"there is no folder of images {self.folder}")
        self.annotations = path
        images_of, annotations_of = read_coco_masks(path)
        of_image: dict[Any, list[Any]] = {entry["id"]: [] for entry in images_of}
        for entry in annotations_of:
            if not entry["iscrowd"] and entry.get("segmentation"):
                of_image[entry["image_id"]].append(entry)
        self.entries = [(entry, of_image[entry["id"]]) for entry in images_of if of_image[entry["id"]]]
        if not self.entries:
            raise ValueError(f"{path} has no image with a mask")
        for entry, _ in self.entries:
            check_inside(entry["file_name"], self.folder, self.folder, path, CORRECT)

    def __len__(self) -> int:
        return len(self.entries)

    def sample_id(self, index: int) -> str:
        """Name of a sample in messages."""
        return str(self.entries[index][0]["file_name"])

    def image_file(self, index: int) -> Path:
        """File of a sample's image."""
        name = self.entries[index][0]["file_name"]
        return find_file(self.folder, name) or self.folder / name

    def __getitem__(self, index: int) -> dict[str, Any]:
        entry, annotations = self.entries[index]
        file = self.image_file(index)
        stated = [(entry["height"], entry["width"])] if "height" in entry and "width" in entry else []
        runs = [one["segmentation"] for one in annotations if isinstance(one["segmentation"], dict)]
        stated += [tuple(run["size"]) for run in runs if isinstance(run.get("size"), list)]
        photo = convert_to_rgb(orient(open_image(file), str(file), next(iter(stated), None), labeled=True))
        size = (photo.height, photo.width)
        if stated and stated[0] != size:
            raise ValueError(
                f"{self.annotations} states the size {stated[0]} (height, width) for {file}, whose size is {size}; "
                "correct the annotation file or replace the image"
            )
        for one in annotations:
            if draws_nothing(one["segmentation"], size):
                say_what_is_nothing(self.annotations, [f"annotation {one['where']} of {file}"], 1)
        segmentations = [one["segmentation"] for one in annotations]
        masks = [{"polygons": s, "size": list(size)} if isinstance(s, list) else s for s in segmentations]
        return {"image": photo, "masks": masks, "image_id": entry["id"]}


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where an image comes to lie: flipped or not, scaled, and cut from (top, left) on."""

    flip: bool
    scale: float
    top: int
    left: int

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Size of the scaled image."""
        return max(1, int(height * self.scale + 0.5)), max(1, int(width * self.scale + 0.5))

    def at(self, factor: float) -> _Place:
        """The same place in a square that is larger by `factor`."""
        return _Place(self.flip, self.scale * factor, round(self.top * factor), round(self.left * factor))


class PromptableCollator(UniversalCollator):
    """Batch of images with masks without names, and prompts: by turns a grid of points or boxes.

    Images are resized so that the longer side is `size`, and fill the top left of a gray square. Masks smaller or
    larger than a share of the square are dropped. A batch of points holds no prompts: the model lays a jittered grid.

    Args:
        size: Side S of the square, in pixels.
        box_step_ratio: Share of batches with box prompts.
        max_boxes: Box prompts per image: a random choice of the masks, or all, repeated in turn.
        max_masks: Masks per image at most, a random choice.
        min_area, max_area: Share of the square that a mask must have.
        flip_probability: Of a horizontal flip.
        scale_range: The longer side is S times a factor from it; what does not fit is cropped at random.
        pad_value: Gray level of the padding.
        training: Whether flip, scale and choices are random.
        transforms: Further augmentation, as of `UniversalCollator`. Examples with masks of their own (SA-1B, COCO) give
            them a mask with a channel per object.
        image_mean, image_std: Per channel, for images in [0, 1].
        region_sizes: Sides of further squares with the same part of each image, resized from the image itself: its
            description at several scales (Unpair-Seg, equation 3.5).
        zoom_range: Images are cut around one of their masks, at random, so that the square's side is the longer side
            of its box times a factor from this range: what `box_zoom` of the processor shows the network.
        zoom_share: Share of the images that are cut so; the others as `scale_range` says.

    Returns (of a call):
        `pixel_values`, `mask_labels` (boolean masks per image), `original_sizes` (of the images in the square),
        for boxes `input_boxes` and `box_labels`, the mask of each box or -1, and with `region_sizes`
        `region_pixel_values`, a batch per size.

    Shape:
        pixel_values: (B, 3, S, S), float32; mask_labels: list of (T, S, S), bool; original_sizes: (B, 2), int64;
        input_boxes: (B, max_boxes, 4), float32; box_labels: (B, max_boxes), int64.

    Raises:
        ValueError: As `UniversalCollator`, and for masks of another size than their image.
    """

    def __init__(
        self,
        size: int = 1024,
        box_step_ratio: float = 0.5,
        max_boxes: int = 40,
        max_masks: int = 40,
        min_area: float = 1e-4,
        max_area: float = 0.8,
        flip_probability: float = 0.5,
        scale_range: Sequence[float] = (0.8, 1.2),
        pad_value: int = 128,
        training: bool = True,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
        ignore_index: int = 255,
        region_sizes: Sequence[int] = (),
        zoom_range: Sequence[float] | None = None,
        zoom_share: float = 0.5,
    ) -> None:
        if zoom_range is not None and not 1 <= zoom_range[0] <= zoom_range[1]:
            raise ValueError(f"zoom_range is {list(zoom_range)}; give two factors of at least 1, the smaller first")
        if not 0 <= zoom_share <= 1:
            raise ValueError(f"zoom_share is {zoom_share}; it must be between 0 and 1")
        if size < 32 or size % 32:
            raise ValueError(f"size is {size}; it must be a positive multiple of 32")
        if any(side < 32 for side in region_sizes):
            raise ValueError(f"region_sizes is {list(region_sizes)}; each must be at least 32")
        if not 0 <= box_step_ratio <= 1:
            raise ValueError(f"box_step_ratio is {box_step_ratio}; it must be between 0 and 1")
        super().__init__(ignore_index, transforms, None, 32, image_mean, image_std)
        self.size, self.box_step_ratio, self.max_boxes, self.max_masks = size, box_step_ratio, max_boxes, max_masks
        self.min_area, self.max_area, self.pad_value, self.training = min_area, max_area, pad_value, training
        self.region_sizes = tuple(region_sizes)
        self.flip_probability = flip_probability if training else 0.0
        self.scale_range = tuple(scale_range) if training else (1.0, 1.0)
        self.zoom_range = tuple(zoom_range) if training and zoom_range is not None else None
        self.zoom_share = zoom_share

    def _read(self, example: Mapping[str, Any], position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (3, H, W) uint8 and masks (N, H, W) bool of one example."""
        own = example.get("instances") is not None
        if example.get("masks") is None and not own:
            pixels, ids, _ = self._transformed(example, position)
            present = np.unique(ids)
            masks = ids[None] == present[present != 0][:, None, None]
            return pixels, torch.from_numpy(masks)
        if example.get("image") is None:
            raise ValueError(f"example {position} has no 'image', only the columns {sorted(example)}")
        image = np.ascontiguousarray(to_rgb(example["image"]))
        drawn = list(masks_of(example)) if own else [draw_mask(mask) for mask in example["masks"]]
        wrong = [mask.shape for mask in drawn if mask.shape != image.shape[:2]]
        if wrong:
            raise ValueError(
                f"example {position}: the image has size {image.shape[:2]} and a mask {wrong[0]} (height, width); they "
                "must be equal"
            )
        masks = np.stack(drawn) if drawn else np.zeros((0, *image.shape[:2]), dtype=bool)
        if self.transforms is None:
            return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(masks)
        # One channel per mask, so that those that overlap stay whole.
        sample = self.transforms(
            {
                "image": tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)),
                "mask": tv_tensors.Mask(torch.from_numpy(masks.astype(np.uint8))),
            }
        )
        return sample["image"].as_subclass(torch.Tensor), sample["mask"].as_subclass(torch.Tensor) > 0

    def _draw_place(self, height: int, width: int) -> _Place:
        """Draws where an image of that size comes to lie in the square."""
        flip = bool(torch.rand(()) < self.flip_probability)
        low, high = self.scale_range
        factor = low + (high - low) * float(torch.rand(())) if high > low else low
        place = _Place(flip, factor * self.size / max(height, width), 0, 0)
        sides = place.scaled(height, width)
        top, left = (int(torch.randint(max(0, side - self.size) + 1, ())) for side in sides)
        return _Place(flip, place.scale, top, left)

    def _zoomed(self, pixels: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, _Place] | None:
        """Cuts image and masks around one of the masks, and places the part; None where the turn is the whole image's.

        Shape: (3, H, W), (N, H, W).
        """
        drawn = masks.flatten(1).any(1).nonzero()[:, 0]
        if self.zoom_range is None or not len(drawn) or float(torch.rand(())) >= self.zoom_share:
            return None
        chosen = masks[drawn[int(torch.randint(len(drawn), ()))]]
        low, high = self.zoom_range
        zoom = low + (high - low) * float(torch.rand(()))
        left, top, right, bottom = zoom_window(boxes_of_masks(chosen[None])[0].tolist(), chosen.shape, zoom)
        flip = bool(torch.rand(()) < self.flip_probability)
        place = _Place(flip, self.size / max(bottom - top, right - left), 0, 0)
        return pixels[:, top:bottom, left:right], masks[:, top:bottom, left:right], place

    def _image_in_square(self, pixels: torch.Tensor, place: _Place, side: int) -> torch.Tensor:
        """Brings an image (3, H, W) to its place in a square of `side` pixels. Shape: (3, h, w) with h, w <= side."""
        place = place.at(side / self.size)
        if place.flip:
            pixels = pixels.flip(-1)
        size = list(place.scaled(*pixels.shape[-2:]))
        pixels = v2.functional.resize(tv_tensors.Image(pixels), size, antialias=True).as_subclass(torch.Tensor)
        return pixels[:, place.top : place.top + side, place.left : place.left + side]

    def _place(
        self, pixels: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int], list[torch.Tensor]]:
        """Square image (3, S, S) uint8, masks (N, S, S) bool, (height, width) of the image in it, other squares."""
        zoomed = self._zoomed(pixels, masks)
        pixels, masks, place = zoomed or (pixels, masks, self._draw_place(*pixels.shape[-2:]))
        if place.flip:
            masks = masks.flip(-1)
        height, width = place.scaled(*pixels.shape[-2:])
        if len(masks):
            masks = F.interpolate(masks[:, None].to(torch.uint8), size=(height, width), mode="nearest-exact")[
                :, 0
            ].bool()
        else:
            masks = masks.new_zeros((0, height, width))
        masks = masks[:, place.top : place.top + self.size, place.left : place.left + self.size]
        squares = [self._padded(self._image_in_square(pixels, place, side), side) for side in self.region_sizes]
        image = self._image_in_square(pixels, place, self.size)
        size = (image.shape[-2], image.shape[-1])
        missing = (0, self.size - size[1], 0, self.size - size[0])
        return self._padded(image, self.size), F.pad(masks, missing), size, squares

    def _padded(self, pixels: torch.Tensor, side: int) -> torch.Tensor:
        missing = (0, side - pixels.shape[-1], 0, side - pixels.shape[-2])
        return F.pad(pixels, missing, value=self.pad_value)

    def _choose(self, count: int, number: int) -> torch.Tensor:
        return torch.randperm(count)[:number].sort().values if self.training else torch.arange(min(count, number))

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if len(examples) == 0:
            raise ValueError("the batch is empty; give at least one example")
        images, mask_labels, sizes, squares = [], [], [], []
        for position, example in enumerate(examples):
            pixels, masks, size, others = self._place(*self._read(example, position))
            squares.append(others)
            share = masks.flatten(1).float().mean(1)
            masks = masks[(share >= self.min_area) & (share <= self.max_area) & (share > 0)]
            images.append(pixels)
            mask_labels.append(masks[self._choose(len(masks), self.max_masks)])
            sizes.append(size)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.image_mean, self.image_std))
        batch: dict[str, Any] = {
            "pixel_values": (torch.stack(images).float() / 255 - mean) / std,
            "mask_labels": mask_labels,
            "original_sizes": torch.tensor(sizes),
        }
        if self.region_sizes:
            batch["region_pixel_values"] = [(torch.stack(group).float() / 255 - mean) / std for group in zip(*squares)]
        if float(torch.rand(())) < self.box_step_ratio:
            batch |= self._boxes(mask_labels)
        return batch

    def _boxes(self, mask_labels: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        boxes = torch.zeros(len(mask_labels), self.max_boxes, 4)
        labels = torch.full((len(mask_labels), self.max_boxes), -1)
        for index, masks in enumerate(mask_labels):
            if len(masks):
                chosen = self._choose(len(masks), self.max_boxes)
                chosen = chosen[torch.arange(self.max_boxes) % len(chosen)]
                labels[index], boxes[index] = chosen, boxes_of_masks(masks)[chosen]
        return {"input_boxes": boxes, "box_labels": labels}
