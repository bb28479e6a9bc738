# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Prediction of volumes: streaming, the way back to the file, augmentation, windows, memory, components."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hfseg import MedDenseViTConfig, MedDenseViTForSemanticSegmentation, MedDenseViTImageProcessor
from hfseg.inference import predict_volume, segment_volume
from hfseg.inference.volumes import keep_largest_components, peak_bytes
from hfseg.volumes import intensity_statistics, normalize_intensity, volume_from_array

nibabel = pytest.importorskip("nibabel")


def tiny_model(**fields):
    backbone = {"model_type": "dinov3_vit", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    backbone |= {"intermediate_size": 16, "patch_size": 8, "out_indices": [1, 2, 3, 4]}
    torch.manual_seed(0)
    config = MedDenseViTConfig(backbone_config=backbone, feature_size=8, stem_sizes=(4, 4), num_labels=3, **fields)
    model = MedDenseViTForSemanticSegmentation(config).eval()
    with torch.no_grad():
        model.classifier.weight.normal_(std=20.0)
    return model


def thresholds(pixels: torch.Tensor) -> SimpleNamespace:
    """A "network" that classifies each pixel by the value of the middle channel."""
    value = pixels[:, 1]
    return SimpleNamespace(logits=20 * torch.stack([-value, value, value * 0 - 1], 1))


def mr_volume(shape=(20, 30, 7), seed=0, affine=None):
    values = np.random.default_rng(seed).normal(300, 100, shape).clip(1).astype(np.float32)
    return volume_from_array(values, np.diag([0.7, 0.5, 3.0, 1.0]) if affine is None else affine, modality="MR")


def ball_file(path, order=(2, 0, 1), signs=(-1, 1, -1)):
    """Writes an anisotropic, permuted and flipped MR file with a bright ball; returns its mask."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (40, 50, 60)), indexing="ij"), -1)
    spacing = np.array([3.0, 0.6, 0.8])
    inside = np.linalg.norm((grid - [20, 27, 29]) * spacing, axis=-1) < 13
    voxels = np.where(inside, 800, 100).astype(np.int16)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for stored, world in enumerate(order):
        affine[world, stored] = signs[stored] * spacing[stored]
    affine[:3, 3] = (5, -7, 11)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return inside


def test_native_round_trip_of_a_file(tmp_path):
    """From file to file: the affine is the source's, and a structure comes back where it was."""
    inside = ball_file(tmp_path / "scan.nii.gz")
    source = nibabel.load(tmp_path / "scan.nii.gz")
    processor = MedDenseViTImageProcessor(size={"height": 96, "width": 96}, modality="MR", input_mode="slice")
    model = tiny_model()
    model.forward = lambda pixel_values: thresholds(pixel_values - 1)
    result = model.predict_volume(tmp_path / "scan.nii.gz", processor, tmp_path / "out.nii.gz", progress=False)
    again = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(again.affine, source.affine, atol=1e-5)
    written = np.asarray(again.dataobj)
    assert written.shape == source.shape and written.dtype == np.uint8
    np.testing.assert_array_equal(written, result.segmentation)
    dice = 2 * (inside & (written == 1)).sum() / (inside.sum() + (written == 1).sum())
    assert dice >= 0.99
    assert result.record["axis"] == 2 and result.record["spacing"] == pytest.approx([0.6, 0.8, 3.0])
    assert result.milliliters_per_class["LABEL_1"] == pytest.approx(inside.sum() * 3 * 0.6 * 0.8 / 1000, rel=0.02)
    assert "not a medical device" in result.notice


@pytest.mark.parametrize("flips", [(), (0, 1)])
def test_streaming_equals_one_shot(flips):
    """Batches of slices give what the whole volume at once gives, argmax for argmax."""
    volume, model = mr_volume(), tiny_model()
    options = {"size": (16, 24), "input_mode": "2.5d", "flips": flips, "progress": False}
    streamed, record = segment_volume(volume, lambda p: model(pixel_values=p), batch_size=2, **options)
    # The long way: all slices, all probabilities.
    (normal,) = normalize_intensity(volume.voxels, intensity_statistics(volume.voxels, "MR"))
    padded = np.concatenate([normal[..., :1], normal, normal[..., -1:]], -1)
    slices = torch.from_numpy(np.stack([padded[..., z : z + 3].transpose(2, 0, 1) for z in range(7)]))
    total = 0
    for axes in ([], [-2], [-1], [-2, -1]) if flips else ([],):
        pixels = F.interpolate(slices.flip(axes), size=(16, 24), mode="bilinear", antialias=True)
        with torch.no_grad():
            total = total + model(pixels).logits.softmax(1).flip(axes)
    expected = F.interpolate(total, size=(20, 30), mode="bilinear").argmax(1).permute(1, 2, 0)
    # Sums in another order: a handful of ties may fall the other way.
    assert (streamed != expected.numpy()).mean() < 1e-3
    assert len(np.unique(streamed)) > 1
    assert record["factors"] == [0.8, 0.8] and record["native_size"] == [20, 30]


def test_processor_and_streaming_agree():
    volume, model = mr_volume(), tiny_model()
    processor = MedDenseViTImageProcessor(size={"height": 16, "width": 24}, modality="MR")
    batch = processor(volume, return_tensors="pt")
    with torch.no_grad():
        outputs = model(pixel_values=batch["pixel_values"])
    (whole,) = processor.post_process_semantic_segmentation(outputs, geometry=batch["geometry"])
    streamed = predict_volume(model, processor, volume, progress=False).segmentation
    assert whole.shape == streamed.shape == (20, 30, 7)
    assert (whole != streamed).mean() < 1e-3


def test_gaussian_windows_at_native_pixels():
    """Windows over a classifier of single pixels give its plain answer; nothing is scaled."""
    volume = mr_volume((40, 50, 3))
    options = {"size": (16, 16), "input_mode": "slice", "progress": False}
    slid, record = segment_volume(volume, thresholds, sliding_window=16, overlap=0.5, **options)
    (normal,) = normalize_intensity(volume.voxels, intensity_statistics(volume.voxels, "MR"))
    np.testing.assert_array_equal(slid, (normal > 0).astype(np.uint8))
    assert record["factors"] == [1.0, 1.0]


def test_probabilities_are_scaled_and_not_labels():
    """A network at a quarter of the resolution: smooth borders, not steps of four voxels."""
    rows, columns = np.mgrid[:64, :64]
    disc = (np.hypot(rows - 31.5, columns - 31.5) < 20).astype(np.float32)
    volume = volume_from_array(np.repeat((disc * 500 + 100)[..., None], 2, -1), spacing=(1, 1, 4), modality="MR")

    (normal,) = normalize_intensity(volume.voxels, intensity_statistics(volume.voxels, "MR"))
    low, high = float(normal.min()), float(normal.max())

    def share(pixels):  # of a pixel that the disc covers
        return ((pixels - low) / (high - low)).clamp(0.01, 0.99)

    def gentle(pixels):
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(pixels[:, 1]), share(pixels[:, 1]).logit()], 1))

    segmented, _ = segment_volume(volume, gentle, size=(16, 16), input_mode="slice", progress=False)
    small = F.interpolate(torch.from_numpy(normal[None, None, ..., 0]), size=(16, 16), mode="bilinear", antialias=True)
    steps = F.interpolate((share(small) > 0.5).float(), size=(64, 64), mode="nearest-exact")[0, 0].numpy()
    smooth, stepped = (2 * (m * disc).sum() / (m.sum() + disc.sum()) for m in (segmented[..., 0], steps))
    assert smooth > stepped + 0.01


def test_memory_is_that_of_one_batch():
    """Never the probabilities of a volume: the peak stays below what is stated, far below K x volume."""
    shape, classes = (64, 64, 120), 14

    def predict(pixels):
        return SimpleNamespace(logits=torch.zeros(len(pixels), classes, 64, 64))

    volume = volume_from_array(np.full(shape, -1000, dtype=np.int16), spacing=(1, 1, 1), modality="CT")
    tracemalloc.start()
    _, record = segment_volume(volume, predict, size=(64, 64), batch_size=2, progress=False)
    peak = tracemalloc.get_traced_memory()[1]  # NumPy's
    tracemalloc.stop()
    stated = peak_bytes(shape, 2, classes, (64, 64), (64, 64), 2)
    assert record["peak_bytes"] == stated
    assert peak < stated < classes * np.prod(shape) * 4 / 5


def test_components():
    labels = np.zeros((8, 8, 4), dtype=np.uint8)
    labels[0:3, 0:3, 0:2] = 1
    labels[6:8, 6:8, 0] = 1
    labels[5, 0, 0] = 2
    labels[5, 7, 3] = 2
    largest = keep_largest_components(labels.copy(), [1])
    assert (largest == 1).sum() == 18 and (largest == 2).sum() == 2
    small = keep_largest_components(labels.copy(), [], 5.0, (1.0, 1.0, 2.0))
    assert (small == 1).sum() == 22 and not (small == 2).any()  # 4 voxels of 2 mm3 stay, single ones go
    kept = keep_largest_components(labels.copy(), [1, 2], {1: 100.0})
    assert not (kept == 1).any() and (kept == 2).sum() == 1


def test_single_slice_and_sequences():
    model = tiny_model()
    single = segment_volume(
        mr_volume((16, 16, 1)), lambda p: model(pixel_values=p), size=(16, 16), input_mode="2.5d", progress=False
    )
    assert single[0].shape == (16, 16, 1)
    several = [mr_volume(seed=seed) for seed in range(3)]
    segmented, record = segment_volume(several, thresholds, size=(20, 30), input_mode="sequences", progress=False)
    (normal,) = normalize_intensity(several[1].voxels, intensity_statistics(several[1].voxels, "MR"))
    np.testing.assert_array_equal(segmented, (normal > 0).astype(np.uint8))
    assert len(record["statistics"]) == 3


@pytest.mark.parametrize(
    "options, message",
    [
        ({"modality": "CT"}, "is MR, but modality='CT'"),
        ({"batch_size": 0}, "1 or more"),
        ({"flips": [2]}, "rows"),
        ({"overlap": 1.0}, r"\[0, 1\)"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        segment_volume(mr_volume(), thresholds, progress=False, **{"size": (16, 16), "input_mode": "slice", **options})


def test_other_refusals(tmp_path):
    processor = MedDenseViTImageProcessor(size={"height": 16, "width": 16})
    with pytest.raises(ValueError, match=r"name it \.nii\.gz"):
        predict_volume(tiny_model(), processor, mr_volume(), tmp_path / "out.png")
    with pytest.raises(ValueError, match="one grid"):
        segment_volume([mr_volume(), mr_volume((20, 30, 8))], thresholds, size=(16, 16), progress=False)
    hounsfield = volume_from_array(np.full((8, 8, 3), -900), spacing=(1, 1, 1))
    with pytest.raises(ValueError, match="not known"):
        segment_volume(hounsfield, thresholds, size=(16, 16), progress=False)
    with pytest.raises(ValueError, match="Hounsfield"):
        predict_volume(tiny_model(), processor, hounsfield, modality="MR", progress=False)


def test_training_mode_comes_back():
    model = tiny_model().train()
    predict_volume(
        model, MedDenseViTImageProcessor(size={"height": 16, "width": 16}), mr_volume((16, 16, 2)), progress=False
    )
    assert model.training
