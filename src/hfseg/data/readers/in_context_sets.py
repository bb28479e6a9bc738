# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""More sources for in-context tasks (Table 4.2): videos of UCF101 and Kinetics, and the boxes of Objects365."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...files.images import DEFAULT_MAX_PIXELS, load_image
from ...files.listing import list_files
from .coco import CORRECT, check_inside
from .official.layout import read_list, require
from .pascal_folds import NotInSampleError
from .samples import IMAGE_SUFFIXES, read_json

__all__ = ["KineticsSource", "Objects365Source", "Ucf101Source", "VideoFolderSource"]

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".webm", ".mov")


class VideoFolderSource(torch.utils.data.Dataset):
    """Clips of videos below a folder: video files, and folders of frames sorted by name.

    A clip is taken from the middle of its video. Videos that are too short are replaced when they are drawn.

    Args:
        root: The folder; videos may lie in folders of their classes.
        num_frames: Frames of a clip.
        stride: Distance of two frames of a clip in the video.

    Raises:
        FileNotFoundError: There is no video.
        ValueError: `num_frames` or `stride` is not positive.
        ImportError: PyAV is missing, when a file is read.
    """

    keys = ("frames",)

    def __init__(self, root: str | Path, num_frames: int = 17, stride: int = 1) -> None:
        if num_frames < 1 or stride < 1:
            raise ValueError(f"num_frames is {num_frames} and stride {stride}; both must be positive.")
        self.root, self.num_frames, self.stride = Path(root), num_frames, stride
        if not self.root.is_dir():
            raise FileNotFoundError(f"There is no folder {str(root)!r} of videos.")
        self.videos = self._find()
        if not self.videos:
            raise FileNotFoundError(
                f"{root} holds no videos ({', '.join(VIDEO_SUFFIXES)}) and no folders of frames of these names."
            )

    def _find(self) -> list[Path]:
        frames = {path.parent for path in list_files(self.root, IMAGE_SUFFIXES)} - {self.root}
        return sorted([*list_files(self.root, VIDEO_SUFFIXES), *frames])

    def __len__(self) -> int:
        return len(self.videos)

    def sample_id(self, index: int) -> str:
        """Path of a video below the root, without its ending."""
        path = self.videos[index].relative_to(self.root)
        return (path.with_suffix("") if path.suffix.lower() in VIDEO_SUFFIXES else path).as_posix()

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, reach = self.videos[index], (self.num_frames - 1) * self.stride + 1
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            start = (len(files) - reach) // 2
            if start < 0:
                raise NotInSampleError(f"a video of {len(files)} frames, fewer than {reach}")
            chosen = [np.asarray(load_image(file)) for file in files[start : start + reach : self.stride]]
            return {"frames": np.stack(chosen)}
        return {"frames": _read_clip(path, self.num_frames, self.stride)}


def _read_clip(path: Path, num_frames: int, stride: int) -> np.ndarray:
    """Decodes the middle of a video.

    Raises:
        ImportError: PyAV is missing.
        NotInSampleError: The video is too short.
        ValueError: It is damaged, or its frames are too large.

    Shape:
        (T, H, W, 3), uint8.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("Videos need PyAV: pip install 'hfseg[video]', or give folders of frames.") from error
    reach = (num_frames - 1) * stride + 1
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.codec_context.width * stream.codec_context.height > DEFAULT_MAX_PIXELS:
                raise ValueError(f"frames of {path} are larger than {DEFAULT_MAX_PIXELS} pixels")
            count = stream.frames or sum(1 for _ in container.decode(stream))
        if count < reach:
            raise NotInSampleError(f"a video of {count} frames, fewer than {reach}")
        start = (count - reach) // 2
        frames = []
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(container.streams.video[0])):
                if number >= start and (number - start) % stride == 0:
                    frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == num_frames:
                    return np.stack(frames)
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} is no video that can be read: {error}") from error
    raise NotInSampleError("a video that ends before its header says")


class Ucf101Source(VideoFolderSource):
    """UCF101: `UCF-101/CLASS/NAME.avi` (or folders of frames of these names) and `ucfTrainTestlist/`.

    Args:
        root: Folder of both.
        split: "train" or "test".
        fold: 1, 2 or 3 of the official splits.
        num_frames, stride: As of `VideoFolderSource`.

    Raises:
        FileNotFoundError: Files are missing.
        ValueError: There is no such split or fold.
    """

    def __init__(
        self, root: str | Path, split: str = "train", fold: int = 1, num_frames: int = 17, stride: int = 1
    ) -> None:
        if split not in ("train", "test") or fold not in (1, 2, 3):
            raise ValueError(f"UCF101 has the splits train and test and the folds 1 to 3; got {split!r}, {fold}.")
        self.list_file = Path(root) / "ucfTrainTestlist" / f"{split}list{fold:02d}.txt"
        if Path(root).is_dir():
            wanted = {"UCF-101": "videos", f"ucfTrainTestlist/{self.list_file.name}": f"split {split} {fold}"}
            require(Path(root), wanted, "UCF101")
        super().__init__(Path(root) / "UCF-101", num_frames, stride)

    def _find(self) -> list[Path]:
        return _listed(self.root, read_list(self.list_file), self.list_file)


class KineticsSource(VideoFolderSource):
    """Kinetics: `<split>/CLASS/ID_START_END.mp4` (or folders of frames of these names).

    Args:
        root: Folder of the splits.
        split: "train" or "val".
        num_frames, stride: As of `VideoFolderSource`.

    Raises:
        FileNotFoundError: There is no such folder, or no video in it.
    """

    def __init__(self, root: str | Path, split: str = "train", num_frames: int = 17, stride: int = 1) -> None:
        names = ("val", "validation") if split in ("val", "validation") else (split,)
        found = [Path(root) / name for name in names if (Path(root) / name).is_dir()]
        super().__init__((found or [Path(root) / split])[0], num_frames, stride)


def _listed(folder: Path, names: Iterable[str], file: Path) -> list[Path]:
    """Videos of a list, as files or as folders of frames; missing ones are counted and left out."""
    found, missing = [], []
    for name in names:
        check_inside(name, folder, folder, file, CORRECT)
        path = folder / name
        frames = path.with_suffix("")
        if path.is_file() or frames.is_dir():
            found.append(path if path.is_file() else frames)
        else:
            missing.append(name)
    if missing:
        logger.warning("%d videos of %s are missing and are left out, such as %s", len(missing), file, missing[0])
    return found


class Objects365Source(torch.utils.data.Dataset):
    """Objects365: images with the boxes of their objects, for detection alone; it has no masks.

    Boxes are kept as arrays: the training split has 25 million.

    Args:
        root: Folder with `annotations/zhiyuan_objv2_<split>.json` (or `<split>/...`) and the images, at the paths of
            the file, below `<split>/`, or in `patchN` folders of either.
        split: "train" or "val".

    Raises:
        FileNotFoundError: Files are missing.
        ValueError: The annotations are damaged or name no object.
    """

    keys = ("image", "segments_info")

    def __init__(self, root: str | Path, split: str = "train") -> None:
        folder, short = Path(root), "val" if split == "validation" else split
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {str(root)!r} of Objects365.")
        name = f"zhiyuan_objv2_{short}.json"
        require(folder, {f"annotations/{name} or {short}/{name} or {name}": "boxes"}, f"Objects365 ({short})")
        places = (folder / "annotations" / name, folder / short / name, folder / name)
        file = next(path for path in places if path.is_file())
        content = read_json(file)
        if not isinstance(content, dict) or not content.get("images") or not content.get("annotations"):
            raise ValueError(f"{file} holds no images or no annotations: 0 usable samples")
        entries = content["annotations"]
        try:
            places_of = {image["id"]: place for place, image in enumerate(content["images"])}
            owners = np.array([places_of[entry["image_id"]] for entry in entries])
            order = np.argsort(owners, kind="stable")
            self.boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float32).reshape(-1, 4)[order]
            self.classes = np.array([int(entry["category_id"]) for entry in entries], dtype=np.int32)[order]
            self.crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in entries])[order]
            shown = np.unique(owners)
            self.names = [str(content["images"][place]["file_name"]) for place in shown.tolist()]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: an image or annotation is damaged: {error}") from error
        self.file = file
        self.starts = np.searchsorted(owners[order], shown)
        self.folders = (folder, folder / short, folder / "images" / short, folder / "images")

    def __len__(self) -> int:
        return len(self.names)

    def sample_id(self, index: int) -> str:
        """Name of an image."""
        return Path(self.names[index]).stem

    def image_file(self, index: int) -> Path:
        """File of an image, wherever the archive was unpacked.

        Raises:
            FileNotFoundError: It is nowhere.
            ValueError: Its name leads out of the dataset's folder.
        """
        check_inside(self.names[index], self.folders[0], self.folders[0], self.file, CORRECT)
        name = Path(self.names[index].replace("\\", "/"))
        tails = (name, Path(*name.parts[-2:]), Path(name.name))  # images/v1/patch0/a.jpg, patch0/a.jpg, a.jpg
        for folder in self.folders:
            for tail in tails:
                if (folder / tail).is_file():
                    return folder / tail
        raise FileNotFoundError(f"{name} is in none of {', '.join(map(str, self.folders))}.")

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = np.asarray(load_image(self.image_file(index)))
        end = self.starts[index + 1] if index + 1 < len(self.starts) else len(self.boxes)
        segments = [
            {
                "id": number + 1,
                "category_id": int(self.classes[place]),
                "iscrowd": int(self.crowd[place]),
                "bbox": tuple(map(float, self.boxes[place])),
            }
            for number, place in enumerate(range(int(self.starts[index]), int(end)))
        ]
        return {"image": image, "segments_info": segments}
