# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg.onnx` gives the masks of the pipelines, for every exported task, with the shipped models.

The network's part is the model itself (`conftest.Session`); that files give what models give is tested in
`tests/inference/test_export.py`. One real file goes through ONNX Runtime, in a process without PyTorch.
"""

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoImageProcessor, pipeline

import hfseg
import hfseg.onnx
from export_models import built
from hfseg.inference.export import describe_model, export_model, exportable
from hfseg.onnx.model import OnnxModel
from hfseg.tasks import model_folder

EXAMPLES = Path(hfseg.__file__).parent / "examples"
LABELS = ["star", "circle", "ring", "square"]


def photos():
    scene = Image.open(EXAMPLES / "scene.png").convert("RGB")
    return [scene, scene.resize((150, 101)), scene.crop((10, 20, 60, 90))]


def on_pillow(folder):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return pipeline("image-segmentation", model=folder, image_processor=processor)


def same(mine, theirs, most_pixels=0):
    assert [entry["label"] for entry in mine] == [entry["label"] for entry in theirs]
    for one, other in zip(mine, theirs):
        differ = (np.asarray(one["mask"]) != np.asarray(other["mask"])).sum()
        assert differ <= most_pixels, (one["label"], differ)
        if other["score"] is not None:
            assert one["score"] == pytest.approx(other["score"], abs=2e-3 if most_pixels else 1e-4)


@pytest.mark.parametrize("name", ["proscale-tiny-shapes", "unisegformer-tiny-shapes", "proscale-tiny-nuclei"])
def test_queries(name, opened):
    folder, model = str(model_folder(name)), opened(name)
    pillow = on_pillow(folder)
    nuclei = Image.open(EXAMPLES / "nuclei.png").convert("RGB").crop((0, 0, 256, 256))
    images = photos()[:2] if "shapes" in name else [nuclei]
    for image in images:
        pixels = pillow.image_processor([image], return_tensors="np")["pixel_values"]
        np.testing.assert_allclose(model._prepared(image)[2], pixels, atol=1e-5)  # Pillow's resize is the processor's
        for subtask in ("panoptic", "instance", "semantic"):
            mine = model(image, subtask=subtask)
            assert len(mine) > (subtask != "semantic")
            same(mine, pillow(image, subtask=subtask))
    # torchvision's resize rounds one in some thousand values otherwise.
    same(model(images[0]), pipeline("image-segmentation", model=folder)(images[0]), most_pixels=12)


def test_classes_per_pixel(opened):
    folder = str(model_folder("vpnext-tiny-shapes"))
    pillow = on_pillow(folder)
    model = opened("vpnext-tiny-shapes")
    for image in photos():
        same(model(image), pillow(image))
    with pytest.raises(ValueError, match="subtask must be semantic"):
        model(photos()[0], subtask="panoptic")


def test_expressions(opened):
    pipe = pipeline("referring-image-segmentation", model=str(model_folder("cris-tiny-shapes")))
    model = opened("cris-tiny-shapes")
    texts = ["the leftmost star", "the thing on the far left", "the red circle"]
    for image in photos()[:2]:
        same(model(image, text=texts), pipe(image, text=texts))
    assert len(model(photos()[0], text=texts[0], threshold=0.9)) == 1
    with pytest.raises(ValueError, match="text is missing"):
        model(photos()[0])


def test_names_of_classes(opened):
    pipe = pipeline("open-vocabulary-segmentation", model=str(model_folder("unpairseg-tiny-shapes")))
    model = opened("unpairseg-tiny-shapes", LABELS)
    assert model.labels == LABELS
    for subtask in ("panoptic", "instance", "semantic"):
        low = {} if subtask == "semantic" else {"threshold": 0.1}
        mine = model(photos()[0], subtask=subtask, **low)
        same(mine, pipe(photos()[0], candidate_labels=LABELS, subtask=subtask, **low), most_pixels=12)
        assert mine
    with pytest.raises(ValueError, match="carries no classes"):
        opened("unpairseg-tiny-shapes")(photos()[0])


def test_points(opened):
    folder = str(model_folder("unpairseg-tiny-shapes"))
    pipe = pipeline("mask-generation", model=folder)
    session = opened("unpairseg-tiny-shapes").session
    target = exportable(pipe.model)
    about = {**session.about, "task": "promptable"}
    points = types.SimpleNamespace(
        get_modelmeta=lambda: types.SimpleNamespace(custom_metadata_map=about),
        get_inputs=lambda: [types.SimpleNamespace(name="pixel_values", shape=["B", 3, "H", "W"])],
        get_outputs=lambda: [types.SimpleNamespace(name=name) for name in target.outputs],
        run=lambda _, feeds: _called(target, feeds),
    )
    model, image = OnnxModel(points, "points"), photos()[1]
    for given in ([[40, 50], [100, 20]], None):
        asked = {} if given is None else {"input_points": given}
        mine, theirs = model(image, **asked), pipe(image, **asked)
        assert len(mine["masks"]) == len(theirs["masks"]) > 0
        assert sum(int((a != b).sum()) for a, b in zip(mine["masks"], theirs["masks"])) <= 12
        np.testing.assert_allclose(mine["scores"], theirs["scores"], atol=2e-3)
    with pytest.raises(ValueError, match="outside of the image of 150 x 101"):
        model(image, input_points=[[151, 3]])
    model.settings["point_zoom"] = 32  # the pipeline would cut out parts of the image
    with pytest.raises(ValueError, match="does not cut out"):
        model(image, input_points=[[40, 50]])
    assert len(model(image)["masks"]) == len(mine["masks"])


def _called(target, feeds):
    import torch

    with torch.no_grad():
        return [value.numpy() for value in target.module(*map(torch.from_numpy, feeds.values()))]


def test_scans(opened):
    pytest.importorskip("nibabel")
    name = "meddensevit-tiny-hippocampus"
    from hfseg.inference.volumes import segment_volume
    from hfseg.volumes import read_volume

    loaded, model = hfseg.load(name), opened(name)
    scan = EXAMPLES / "hippocampus.nii.gz"

    def predict(pixels):
        return loaded.model(pixel_values=pixels)

    options = {"size": (48, 64), "input_mode": "2.5d", "modality": "MR", "progress": False}
    expected, _ = segment_volume(read_volume(scan, "MR"), predict, **options)
    mine = model.segment_volume(scan)
    assert mine.shape == expected.shape and (mine != expected).mean() < 1e-4 and (expected > 0).sum() > 500
    gray = Image.fromarray((np.random.default_rng(0).random((40, 52)) * 255).astype(np.uint8)).resize((90, 70))
    same(model(gray), pipeline("image-segmentation", model=str(model_folder(name)))(gray))
    with pytest.raises(ValueError, match="not of scans"):
        opened("vpnext-tiny-shapes").segment_volume(scan)


def test_boxes(tmp_path):
    model = built("proscale-boxes")
    model.save_pretrained(tmp_path)
    hfseg.ProScaleImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128}).save_pretrained(tmp_path)
    target = exportable(model)
    about = describe_model(model, tmp_path, "object-detection", target, (128, 128))
    session = types.SimpleNamespace(
        get_modelmeta=lambda: types.SimpleNamespace(custom_metadata_map=about),
        get_inputs=lambda: [types.SimpleNamespace(name="pixel_values", shape=["B", 3, "H", "W"])],
        get_outputs=lambda: [types.SimpleNamespace(name=name) for name in target.outputs],
        run=lambda _, feeds: _called(target, feeds),
    )
    processor = AutoImageProcessor.from_pretrained(str(tmp_path), backend="pil")
    image = photos()[1]
    outputs = model(**processor([image], return_tensors="pt"))
    (expected,) = processor.post_process_object_detection(outputs, 0.1, target_sizes=[(image.height, image.width)])
    mine = OnnxModel(session, "boxes")(image, threshold=0.1)
    assert len(mine) == len(expected["scores"]) > 3
    assert [entry["label"] for entry in mine] == [model.config.id2label[label] for label in expected["labels"].tolist()]
    placed = [list(entry["box"].values()) for entry in mine]
    np.testing.assert_allclose(placed, expected["boxes"].detach().numpy(), atol=1.01)


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "transformers", "diffusers", "scipy", "datasets"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
sys.meta_path.insert(0, Blocked())
import json, hfseg.onnx
model = hfseg.onnx.load(sys.argv[1])
found = model(sys.argv[2])
assert not {"torch", "transformers", "scipy"} & set(sys.modules)
print(json.dumps([[entry["label"], sum(entry["mask"].histogram()[1:])] for entry in found]))
"""


def test_a_real_file_without_pytorch(tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="extra `export`")
    model = built("vpnext")
    target = exportable(model)
    model.save_pretrained(tmp_path / "model")
    hfseg.VPNeXtImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path / "model")
    about = describe_model(model, tmp_path / "model", "semantic", target, (64, 64))
    (tmp_path / "out").mkdir()
    export_model(target, tmp_path / "out/model.onnx", "onnx", (64, 64), 1, False, about)
    image = photos()[1]
    image.save(tmp_path / "photo.png")
    command = [sys.executable, "-c", BLOCKED, str(tmp_path / "out"), str(tmp_path / "photo.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    processor = hfseg.VPNeXtImageProcessorPil(size={"height": 64, "width": 64})
    pipe = pipeline("image-segmentation", model=model, image_processor=processor)
    expected = [[entry["label"], sum(entry["mask"].histogram()[1:])] for entry in pipe(image)]
    assert json.loads(done.stdout) == expected
    fixed = hfseg.onnx.load(tmp_path / "out/model.onnx")
    fixed.settings["size"] = {"height": 32, "width": 64}
    with pytest.raises(ValueError, match="64 x 64 pixels, and this one becomes 32 x 64: export with --dynamic"):
        fixed(image)


def test_what_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        hfseg.onnx.load(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match=r"holds 0 \.onnx files"):
        hfseg.onnx.load(tmp_path)
    empty = types.SimpleNamespace(get_modelmeta=lambda: types.SimpleNamespace(custom_metadata_map={}))
    with pytest.raises(ValueError, match="carries no task"):
        OnnxModel(empty, "x.onnx")
