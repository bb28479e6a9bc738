# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Readers of in-context sources, on small folders written in the layouts of their publishers."""

import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.data.readers import in_context_sources
from hfseg.data.readers.in_context import InContextDataset, PhotoSource, find_task, make_pair
from hfseg.data.readers.in_context_sources import (
    CocoPersonSource,
    ImageFolderSource,
    KubricSource,
    NyuSource,
    open_source,
)
from hfseg.results.visual_formats import FORMATS

DRAW = np.random.default_rng(0)


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(value).save(path)
    return value


def photo(height=20, width=30):
    return DRAW.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_images(tmp_path):
    images = {f"{name}.png": save(tmp_path / f"{name}.png", photo()) for name in ("b", "a/c", "d")}
    source = ImageFolderSource(tmp_path)
    assert [source.sample_id(i) for i in range(3)] == ["c", "b", "d"]
    assert np.array_equal(source[1]["image"], images["b.png"])
    one, two = (ImageFolderSource(tmp_path, number=2, seed=seed).files for seed in (1, 1))
    assert one == two and len(one) == 2
    with pytest.raises(FileNotFoundError, match="holds no images"):
        ImageFolderSource(tmp_path / "nowhere")


@pytest.fixture
def persons(tmp_path):
    points = np.zeros((17, 3))
    points[:, 0], points[:, 1], points[:, 2] = np.arange(17) * 14 + 8, 60, 2
    points[5:, 1] = 180
    annotations = [
        {"id": 1, "image_id": 7, "keypoints": points.ravel().tolist(), "iscrowd": 0},
        {"id": 2, "image_id": 7, "keypoints": [0] * 51, "iscrowd": 0},
        {"id": 3, "image_id": 8, "keypoints": [0] * 51, "iscrowd": 1},
    ]
    content = {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg"} for i in (7, 8, 9)],
        "annotations": annotations,
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/person_keypoints_val2017.json").write_text(json.dumps(content))
    save(tmp_path / "val2017/000000000007.jpg", photo(240, 260))
    return tmp_path, points


def test_poses_of_coco(persons):
    root, points = persons
    source = CocoPersonSource(root, "val")
    assert len(source) == 1 and source.sample_id(0) == "000000000007" and source[0]["keypoints"].shape == (2, 17, 3)
    given, target = make_pair(find_task("pose_estimation"), source[0], DRAW)
    decoded = FORMATS["pose"].decode(target)
    assert given.shape == target.shape and (decoded[:, 2] == 1).all()
    assert np.abs(decoded[:, :2] - points[:, :2]).max() < 2
    swapped = make_pair(find_task("pose_to_image"), source[0], DRAW)
    assert np.array_equal(swapped[0], target) and np.array_equal(swapped[1], given)
    with pytest.raises(FileNotFoundError, match="person_keypoints_train2017"):
        CocoPersonSource(root)
    file = root / "annotations/person_keypoints_val2017.json"
    plain = file.read_text()
    file.write_text(plain.replace("000000000007.jpg", "../../000000000007.jpg"))
    with pytest.raises(ValueError, match="outside of the dataset's folder"):
        CocoPersonSource(root, "val")
    file.write_text(plain)
    file.write_text(file.read_text().replace('"keypoints": [0,', '"keypoints": [', 1))
    with pytest.raises(ValueError, match="annotation 2 has 50 numbers"):
        CocoPersonSource(root, "val")


def sixteen(path, values):
    """Writes values in [0, 1] as Kubric does; its PNG files have 16 bits."""
    path.write_bytes(_png16((values * 65535).astype(">u2")))  # neither PIL nor torchvision writes 16 bits


def _png16(values):
    height, width, _ = values.shape
    rows = b"".join(b"\0" + values[row].tobytes() for row in range(height))

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def kubric(tmp_path):
    """A camera that looks along the world's y axis, z up: 90 degrees about x from Blender's rest, which looks down."""
    scene, frames = tmp_path / "scene0", 5
    scene.mkdir()
    half = np.sqrt(0.5)
    truth = {"flow": DRAW.uniform(-6, 9, (frames, 12, 16, 2)), "depth": DRAW.uniform(1, 20, (frames, 12, 16))}
    truth["flow"][0, 0, 0], truth["flow"][0, 0, 1] = -6, 9  # (rows, columns)
    world = DRAW.normal(size=(frames, 12, 16, 3))
    world[0, 0, 0], world[0, 0, 1], world[0, 0, 2] = [0, -1, 0], [0, 0, 1], [1, 0, 0]
    world /= np.linalg.norm(world, axis=-1, keepdims=True)
    truth["ids"] = DRAW.integers(0, 4, (frames, 12, 16), dtype=np.uint8)
    for frame in range(frames):
        save(scene / f"rgba_{frame:05d}.png", photo(12, 16))
        Image.fromarray(truth["depth"][frame].astype(np.float32)).save(scene / f"depth_{frame:05d}.tiff")
        ids = Image.fromarray(truth["ids"][frame])
        ids.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        ids.save(scene / f"segmentation_{frame:05d}.png")
        sixteen(scene / f"normal_{frame:05d}.png", (world[frame] + 1) / 2)
        padded = np.concatenate([(truth["flow"][frame] + 6) / 15, np.zeros((12, 16, 1))], axis=-1)
        sixteen(scene / f"forward_flow_{frame:05d}.png", padded)
    (scene / "data_ranges.json").write_text(json.dumps({"forward_flow": {"min": -6, "max": 9}}))
    camera = {"quaternions": [[half, half, 0, 0]] * frames}
    (scene / "metadata.json").write_text(json.dumps({"camera": camera}))
    return tmp_path, truth


def test_kubric(kubric):
    root, truth = kubric
    source = KubricSource(root, num_frames=5)
    record = source[0]
    assert len(source) == 1 and record["frames"].shape == (5, 12, 16, 3)
    np.testing.assert_allclose(record["flow"], truth["flow"][..., ::-1], atol=15 / 65535 + 1e-6)
    np.testing.assert_allclose(record["video_depth"], truth["depth"], rtol=1e-6)
    assert np.array_equal(record["video_segmentation"], truth["ids"])
    # Toward the camera, up, right in the world; z, -y and x in the image.
    expected = [[0, 0, 1], [0, -1, 0], [1, 0, 0]]
    np.testing.assert_allclose(record["video_normals"][0, 0, :3], expected, atol=1e-4)
    data = InContextDataset(["optical_flow", "video_depth_estimation"], video_source=source, num_examples=1)
    assert data[0]["query"].shape == (5, 12, 16, 3)
    with pytest.raises(FileNotFoundError, match="rgba_00016"):
        KubricSource(root)
    (root / "scene0/normal_00001.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="normal_00001"):
        source[0]


def test_nyu(tmp_path):
    h5py = pytest.importorskip("h5py")
    from scipy.io import savemat

    images, depths = DRAW.integers(0, 256, (5, 3, 16, 12), dtype=np.uint8), DRAW.uniform(1, 9, (5, 16, 12))
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"], file["depths"] = images, depths.astype(np.float32)
    with pytest.raises(FileNotFoundError, match=r"splits\.mat"):
        NyuSource(tmp_path)
    savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[4], [2]]), "trainNdxs": np.array([[1], [3], [5]])})
    source = NyuSource(tmp_path)
    assert len(source) == 2 and source.sample_id(0) == "0002" and len(NyuSource(tmp_path, "all")) == 5
    record = source[1]
    assert record["image"].shape == (12, 16, 3) and np.array_equal(record["image"][3, 5], images[3, :, 5, 3])
    assert record["depth"][3, 5] == np.float32(depths[3, 5, 3]) and source.keys == ("image", "depth")
    normals = np.zeros((12, 16, 3), np.float32)
    normals[..., 2] = 1
    (tmp_path / "normals").mkdir()
    np.save(tmp_path / "normals/0002.npy", normals)
    with_normals = NyuSource(tmp_path, normal_folder=str(tmp_path / "normals"))
    assert np.array_equal(with_normals[0]["normals"], normals)
    with pytest.raises(ValueError, match="no split 'val'"):
        NyuSource(tmp_path, "val")
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"broken")
    with pytest.raises(ValueError, match="truncated or damaged"):
        NyuSource(tmp_path)


def test_open_by_name(tmp_path):
    save(tmp_path / "a.png", photo())
    assert len(open_source({"reader": "images", "root": str(tmp_path)})) == 1
    with pytest.raises(ValueError, match="choose among images"):
        open_source({"reader": "heap"})
    data = InContextDataset(["colorization"], source={"reader": "images", "root": str(tmp_path)}, num_examples=1)
    assert len(data) == 1


def test_pseudo_labels_are_made_once(tmp_path, monkeypatch):
    snapshot, asked = photo(), []

    def model(image):
        asked.append(image.size)
        return {"predicted_depth": torch.arange(6.0).reshape(1, 2, 3)}

    monkeypatch.setattr(in_context_sources, "_load_depth_model", lambda name: model)
    with pytest.raises(ValueError, match="give these too"):
        PhotoSource([{"image": snapshot}], depth_model="some/model")
    source = PhotoSource([{"image": snapshot}], depth_folder=str(tmp_path / "depth"), depth_model="some/model")
    first, second = source[0]["depth"], source[0]["depth"]
    assert asked == [(30, 20)] and first.shape == (20, 30) and np.array_equal(first, second)
    assert first[0, 0] < first[0, -1] < first[-1, -1] and [p.name for p in (tmp_path / "depth").iterdir()] == ["0.npy"]
