# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Bad and unusual images and maps: each is a clear error or a documented conversion."""

import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hfseg.files.images import load_image
from hfseg.models.proscale.image_processing_pil_proscale import ProScaleImageProcessorPil
from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor

backends = pytest.mark.parametrize("processor_class", [ProScaleImageProcessor, ProScaleImageProcessorPil])
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def photo(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(array).save(path)
    return path, array


# ---------------------------------------------------------------------------------------------- files
def test_plain_file_is_itself(photo):
    path, array = photo
    assert np.array_equal(np.asarray(load_image(path)), array)
    assert np.array_equal(np.asarray(load_image(str(path))), array)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "gif", "bmp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_file(photo, tmp_path, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(photo[1]).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"cut\..*(truncated or damaged|not an image)"):
        load_image(path)


def test_flipped_bytes_in_png(photo):
    content = bytearray(photo[0].read_bytes())
    content[len(content) // 2] ^= 0xFF
    photo[0].write_bytes(bytes(content))
    with pytest.raises(ValueError, match="truncated or damaged"):
        load_image(photo[0])


def png_header_only(width, height):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])  # Pillow only warns at the first size, and raises at the second
def test_decompression_bomb(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header_only(side, side))
    with pytest.raises(ValueError, match=r"bomb\.png.*larger than the limit of 89478485 pixels"):
        load_image(path)


def test_pixel_limit_is_adjustable(photo):
    assert load_image(photo[0], max_pixels=2400).size == (60, 40)
    with pytest.raises(ValueError, match="60 x 40 pixels is larger than the limit of 2399"):
        load_image(photo[0], max_pixels=2399)


def test_no_file_no_image_no_url(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        load_image(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ValueError, match="not an image"):
        load_image(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match="not an image"):
        load_image(tmp_path / "empty.png")
    for url in ("https://example.org/a.png", "file:///etc/passwd", "ftp://x/y.png", "data:image/png;base64,AAAA"):
        with pytest.raises(ValueError, match="Only local files"):
            load_image(url)
    with pytest.raises(TypeError, match="path or a PIL image, got int"):
        load_image(3)


# ---------------------------------------------------------------------------------------------- modes
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = Image.new("RGB", (16, 8), GREEN)
    upright.paste(RED, (0, 0, 8, 4))
    inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL transpositions that undo each tag
    stored = upright.transpose(Image.Transpose(inverse[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "rotated.png", exif=exif)
    loaded = load_image(tmp_path / "rotated.png")
    assert loaded.size == (16, 8) and np.array_equal(np.asarray(loaded), np.asarray(upright))


def test_cmyk(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert load_image(tmp_path / "a.tif").getpixel((0, 0)) == RED


def test_transparency_is_composed_onto_white(tmp_path):
    rgba = Image.new("RGBA", (2, 1), (*BLUE, 255))
    rgba.putpixel((1, 0), (0, 0, 0, 0))
    expected = [[BLUE, (255, 255, 255)]]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([*BLUE, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=1)
    for image in (rgba, load_image(tmp_path / "palette.png")):
        assert np.array_equal(np.asarray(load_image(image)), np.array(expected))
    gray = Image.new("LA", (2, 1), (10, 255))
    gray.putpixel((1, 0), (10, 0))
    assert np.asarray(load_image(gray)).tolist() == [[[10] * 3, [255] * 3]]


def test_sixteen_bit_is_scaled_by_value_range(tmp_path):
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = [0, 1, 128, 255]
    assert np.asarray(load_image(tmp_path / "a.png"))[0, :, 0].tolist() == expected
    assert np.asarray(load_image(Image.fromarray(values.astype(np.int32))))[0, :, 1].tolist() == expected
    with pytest.raises(ValueError, match="are not 16-bit"):
        load_image(Image.fromarray(np.array([[70000]], dtype=np.int32)))
    with pytest.raises(ValueError, match="mode 'F'"):
        load_image(Image.fromarray(np.array([[0.5]], dtype=np.float32)))


@backends
def test_sixteen_bit_arrays_and_files_are_one_image(processor_class, tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (8, 8), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    processor = processor_class(do_resize=False)
    from_array, from_path, from_image = (
        processor(image, return_tensors="pt")["pixel_values"]
        for image in (values[None], str(tmp_path / "a.png"), Image.open(tmp_path / "a.png"))
    )
    assert torch.equal(from_array, from_image) and torch.equal(from_path, from_image)


def test_one_bit_and_gray():
    one_bit = Image.new("1", (2, 1), 1)
    one_bit.putpixel((0, 0), 0)
    assert np.asarray(load_image(one_bit)).tolist() == [[[0] * 3, [255] * 3]]
    assert load_image(Image.new("L", (1, 1), 7)).getpixel((0, 0)) == (7, 7, 7)


# ---------------------------------------------------------------------------------------------- sizes
@backends
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (20_000, 2), (3, 3)])
@pytest.mark.parametrize("as_array", [False, True])
def test_extreme_sizes_work_from_end_to_end(processor_class, height, width, as_array):
    processor = processor_class(size={"shortest_edge": 32, "longest_edge": 64})
    array = np.full((height, width, 3), 200, dtype=np.uint8)
    maps = np.ones((height, width), dtype=np.uint8)
    batch = processor(array if as_array else Image.fromarray(array), maps, return_tensors="pt")
    _, channels, padded_height, padded_width = batch["pixel_values"].shape
    assert channels == 3 and padded_height % 32 == 0 and padded_width % 32 == 0 and padded_height * padded_width <= 4096
    assert batch["class_labels"][0].tolist() == [1]
    outputs = SimpleNamespace(
        class_queries_logits=torch.tensor([[[9.0, 0.0, 0.0]]]),
        masks_queries_logits=torch.ones(1, 1, padded_height // 4, padded_width // 4),
    )
    for task in ("panoptic", "instance"):
        (result,) = getattr(processor, f"post_process_{task}_segmentation")(outputs, target_sizes=[(height, width)])
        assert result["segmentation"].shape == (height, width) and bool((result["segmentation"] == 1).all())
        assert result.run_length_masks()[0]["counts"] == [0, height * width]
    (label_map,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(height, width)])
    assert label_map.shape == (height, width)


@backends
def test_empty_inputs(processor_class):
    processor = processor_class()
    with pytest.raises(ValueError, match="list of images is empty"):
        processor([])
    with pytest.raises(ValueError, match="no pixels"):
        processor(np.zeros((0, 5, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="no pixels"):
        processor(Image.new("RGB", (0, 5)))


# ---------------------------------------------------------------------------------------------- values
@backends
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_not_finite_pixels(processor_class, value, as_tensor):
    image = np.full((3, 8, 8), 0.5, dtype=np.float32)
    image[1, 2, 3] = value
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        processor_class()(torch.from_numpy(image) if as_tensor else image, do_rescale=False)


@backends
def test_huge_but_finite_pixels_pass_the_check(processor_class):
    image = np.full((3, 8, 8), 3e38, dtype=np.float32)  # their sum overflows
    processor_class()(image, do_resize=False, do_rescale=False, do_normalize=False)


@backends
def test_urls_are_not_opened(processor_class):
    with pytest.raises(ValueError, match="Only local files"):
        processor_class()("https://example.org/a.png")


# ---------------------------------------------------------------------------------------------- maps
IMAGE = np.zeros((8, 10, 3), dtype=np.uint8)


@backends
@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        (np.zeros((10, 8), np.uint8), {}, "Segmentation map 0 is 10 x 8 pixels .* its image 8 x 10"),
        (np.full((8, 10), -1), {}, r"class ids \[-1\]; must be 0 and above and 255"),
        (np.full((8, 10), 7), {"num_labels": 5}, r"class ids \[7\]; must be 0..4"),
        (np.ones((8, 10), np.uint8), {"num_labels": 5, "instance_id_to_semantic_id": {1: 9}}, r"class ids \[9\]"),
        (np.ones((8, 10), np.uint8), {"instance_id_to_semantic_id": {1: -2}}, r"class ids \[-2\]"),
        (np.zeros((8, 10), np.float32), {}, "float32, but ids must be integers"),
        (Image.new("F", (10, 8)), {}, "ids must be integers"),
        (Image.new("RGB", (10, 8)), {}, r"must be \(H, W\).*R \+ 256"),
        ([np.zeros((8, 10), np.uint8)] * 2, {}, "2 segmentation maps for 1 images"),
        (np.zeros((8, 10), np.uint8), {"instance_id_to_semantic_id": [{}, {}]}, "2 tables for 1"),
        (None, {"instance_id_to_semantic_id": {1: 1}}, "without segmentation_maps"),
    ],
)
def test_bad_maps(processor_class, maps, options, message):
    with pytest.raises(ValueError, match=message):
        processor_class()(IMAGE, maps, **options)


@backends
def test_maps_of_every_integer_kind_are_alike(processor_class):
    array = np.arange(80).reshape(8, 10) % 4
    forms = [array.astype(kind) for kind in (np.uint8, np.int16, np.uint16, np.int32, np.int64)]
    forms += [torch.from_numpy(array), Image.fromarray(array.astype(np.uint8)), Image.fromarray(array.astype(np.int32))]
    forms += [array[None], torch.from_numpy(array)[None]]
    first, *others = (processor_class()(IMAGE, form, return_tensors="pt") for form in forms)
    for other in others:
        assert torch.equal(first["mask_labels"][0], other["mask_labels"][0])
        assert torch.equal(first["class_labels"][0], other["class_labels"][0])
    boolean = processor_class()(IMAGE, array > 1, return_tensors="pt")
    assert boolean["class_labels"][0].tolist() == [0, 1]


@backends
def test_all_void_map_gives_no_segment(processor_class):
    batch = processor_class()(IMAGE, np.full((8, 10), 255, np.uint8), return_tensors="pt")
    assert batch["class_labels"][0].shape == (0,) and not batch["mask_labels"][0].any()
