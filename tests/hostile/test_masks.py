# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Masks as people save them, images turned by EXIF, entries given twice, annotations that cover nothing."""

import io
import json
import logging

import datasets
import numpy as np
import pytest
from PIL import Image

from hfseg.data.readers.folders import load_folder
from hfseg.data.readers.images import to_id_map
from hfseg.data.readers.medical import MedicalCase, MedicalSlices
from hfseg.data.readers.promptable import CocoMasks, SegmentAnythingData, draw_mask
from hfseg.data.readers.refer import load_refer_json
from hfseg.data.readers.tables import TableDataset, TableStream

H, W = 20, 30
INSIDE = np.zeros((H, W), dtype=bool)
INSIDE[4:14, 5:15] = True
IMAGE = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
EXIF = {k: Image.Exif() for k in range(1, 9)}
for turn, exif in EXIF.items():
    exif[0x0112] = turn


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)


def encoded(photo, kind="png", **options):
    buffer = io.BytesIO()
    (photo if isinstance(photo, Image.Image) else Image.fromarray(photo)).save(buffer, kind, **options)
    return buffer.getvalue()


# ----------------------------------------------------------------------------------------- masks as people save them

BYTES = INSIDE.astype(np.uint8)
OPAQUE = np.full((H, W, 1), 255, dtype=np.uint8)
READABLE = {
    "16 bits white": (INSIDE.astype(np.uint16) * 65535, ".png", {}),
    "16 bits": (INSIDE.astype(np.uint16), ".png", {}),
    "equal channels": (np.repeat(BYTES[..., None], 3, axis=2), ".png", {}),
    "equal channels white": (np.repeat(BYTES[..., None] * 255, 3, axis=2), ".png", {}),
    "opaque alpha": (np.concatenate([np.repeat(BYTES[..., None] * 255, 3, axis=2), OPAQUE], axis=2), ".png", {}),
    "gray with opaque alpha": (
        Image.merge("LA", [Image.fromarray(BYTES), Image.fromarray(OPAQUE[..., 0])]),
        ".png",
        {},
    ),
    "one bit": (Image.fromarray(INSIDE), ".png", {}),
    "TIFF": (BYTES, ".tif", {"compression": "tiff_lzw"}),
    "TIFF white": (BYTES * 255, ".tiff", {}),
    "TIFF 16 bits": (INSIDE.astype(np.uint16) * 65535, ".tif", {}),
    "TIFF equal channels": (np.repeat(BYTES[..., None], 3, axis=2), ".tif", {}),
    "TIFF of whole floats": (INSIDE.astype(np.float32), ".tif", {}),
    "lossless WebP": (np.repeat(BYTES[..., None] * 255, 3, axis=2), ".webp", {"lossless": True}),
}
COLOR = np.zeros((H, W, 3), dtype=np.uint8)
COLOR[4:14, 5:15] = (255, 0, 0)
SHADE = np.concatenate([COLOR * 0, (BYTES * 255)[..., None]], axis=2)


def deep_rgb():
    """PNG of 16 bits per channel, all channels the mask."""
    import struct
    import zlib

    rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in INSIDE.astype(np.uint16))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", W, H, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


REFUSED = {
    "color": (encoded(COLOR), ".png", [r"\(255, 0, 0\)", "row 4, column 5", "palette_rgb"]),
    "transparency": (encoded(SHADE), ".png", ["transparent", "gray PNG"]),
    "JPEG": (encoded(BYTES * 255, "jpeg"), ".jpg", ["JPEG", "lossy", "PNG"]),
    "JPEG called PNG": (encoded(BYTES * 255, "jpeg"), ".png", ["JPEG", "lossy", "PNG"]),
    "lossy WebP": (encoded(np.repeat(BYTES[..., None] * 255, 3, 2), "webp"), ".webp", ["WebP", "lossy", "PNG"]),
    "JPEG in TIFF": (encoded(BYTES * 255, "tiff", compression="jpeg"), ".tif", ["jpeg compression", "lossy", "PNG"]),
    "pages": (
        encoded(BYTES, "tiff", save_all=True, append_images=[Image.fromarray(BYTES)]),
        ".tif",
        ["2 pages", "PNG"],
    ),
    "fractions": (encoded((INSIDE * 0.5).astype(np.float32), "tiff"), ".tif", ["fraction 0.5", "PNG"]),
    "16-bit color": (deep_rgb(), ".png", ["16 bits in 3 channels", "gray PNG"]),
}


def folders(root, name):
    """A folder of each reader of class maps, to be filled with masks: where they go."""
    if name == "ours":
        (root / "classes.json").write_text('["background", "cell"]')
        return root / "images/{}.png", root / "labels/{}{}"
    if name == "beside":
        (root / "classes.json").write_text('["background", "cell"]')
        return root / "{}.png", root / "{}_mask{}"
    if name == "split first":
        (root / "classes.json").write_text('["background", "cell"]')
        return root / "train/images/{}.png", root / "train/masks/{}{}"
    return root / "images/{}.png", root / "labels/{}{}"  # without classes.json


READERS = ("ours", "beside", "split first", "no classes")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", READABLE)
def test_a05_masks_are_read_in_the_forms_people_save(tmp_path, form, reader):
    values, suffix, options = READABLE[form]
    images, masks = folders(tmp_path, reader)
    for k in range(2):
        save(type(images)(str(images).format(k)), IMAGE)
        save(type(masks)(str(masks).format(k, suffix)), values, **options)
    item = load_folder(tmp_path)[0]
    np.testing.assert_array_equal(item["segmentation_map"], INSIDE)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", REFUSED)
def test_a05_masks_that_say_nothing_certain_are_refused_by_name(tmp_path, form, reader):
    content, suffix, words = REFUSED[form]
    images, masks = folders(tmp_path, reader)
    for k in range(2):
        save(type(images)(str(images).format(k)), IMAGE)
        path = type(masks)(str(masks).format(k, suffix))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?s){path.name.replace('1', '.')}.*" + ".*".join(words)):
        load_folder(tmp_path)[0]


@pytest.mark.parametrize("form", READABLE)
def test_a05_tables_read_the_same_forms(form):
    values, suffix, options = READABLE[form]
    kind = {".png": "png", ".webp": "webp"}.get(suffix, "tiff")
    rows = [{"image": {"bytes": encoded(IMAGE)}, "label": {"bytes": encoded(values, kind, **options)}}] * 2
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    table = datasets.Dataset.from_list(rows, features=features)
    names = {0: "background", 1: "cell"}
    np.testing.assert_array_equal(TableDataset(table, names)[1]["segmentation_map"], INSIDE)
    stream = TableStream(table.to_iterable_dataset(), names)
    row = next(iter(stream.shard(0)))
    np.testing.assert_array_equal(stream.example(row)["segmentation_map"], INSIDE)


@pytest.mark.parametrize("form", REFUSED)
def test_a05_tables_refuse_the_same_forms(form):
    content, _, words = REFUSED[form]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    table = datasets.Dataset.from_list(
        [{"image": {"bytes": encoded(IMAGE)}, "label": {"bytes": content}}], features=features
    )
    with pytest.raises(ValueError, match="(?s)label.*" + ".*".join(words)):
        TableDataset(table, {0: "a", 1: "b", 2: "c"})[0]


def test_a05_void_that_is_stated_stays_void(tmp_path):
    """65535 and 255 are void where the user says so."""
    images, masks = folders(tmp_path, "ours")
    for white, kind in ((255, np.uint8), (65535, np.uint16)):
        (tmp_path / "classes.json").write_text(json.dumps({"names": ["a", "b"], "ignore_index": white}))
        values = INSIDE.astype(kind) * white
        values[0, 0] = 1
        for k in range(2):
            save(type(images)(str(images).format(k)), IMAGE)
            save(type(masks)(str(masks).format(k, ".png")), values)
        dataset = load_folder(tmp_path)
        assert (dataset[0]["segmentation_map"][INSIDE] == dataset.ignore_index).all()


@pytest.mark.parametrize("white, kind", [(255, np.uint8), (65535, np.uint16)])
def test_a05_medical_masks_of_two_classes_are_black_and_white(tmp_path, caplog, white, kind):
    save(tmp_path / "image.png", IMAGE[..., 0])
    save(tmp_path / "mask.png", INSIDE.astype(kind) * white)
    case = MedicalCase("one", str(tmp_path / "image.png"), str(tmp_path / "mask.png"), "p1", "XR")
    with caplog.at_level(logging.WARNING):
        slices = MedicalSlices([case], {0: "background", 1: "lesion"}, input_mode="2d", check_values=False)
    np.testing.assert_array_equal(slices.volumes[0]["mask"][..., 0], INSIDE)
    assert "'lesion'" in caplog.text


def test_a05_masks_of_referents_and_prompts(tmp_path):
    save(tmp_path / "a.png", IMAGE)
    entry = {"image": "a.png", "expressions": ["the cell"]}

    def read(file, photo, **options):
        save(tmp_path / file, photo, **options)
        (tmp_path / "refs.json").write_text(json.dumps([entry | {"mask": file}]))
        return load_refer_json(tmp_path / "refs.json")[0]["mask"] > 0

    for k, (values, suffix, options) in enumerate(READABLE.values()):
        np.testing.assert_array_equal(read(f"{k}{suffix}", values, **options), INSIDE)
    np.testing.assert_array_equal(read("red.png", COLOR), INSIDE)  # black is outside
    with pytest.raises(ValueError, match=r"lossy\.jpg.*lossy.*PNG"):
        read("lossy.jpg", BYTES * 255)
    with pytest.raises(ValueError, match=r"shade\.png.*transparency"):
        read("shade.png", SHADE)
    np.testing.assert_array_equal(draw_mask(Image.fromarray(np.repeat(BYTES[..., None], 3, 2))), INSIDE)
    with pytest.raises(ValueError, match="whole numbers"):
        to_id_map(np.zeros((H, W, 2)))


# -------------------------------------------------------------------------------------------- turned by EXIF, and twice


def stored_of(upright, turn):
    """Pixels that EXIF's orientation turns into `upright` (EXIF 2.32, 4.6.4: orientation)."""
    back = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[turn]
    return np.ascontiguousarray(back(upright))


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("side", [H, W])  # square: sizes say nothing
@pytest.mark.parametrize("label_is", ["upright", "stored", "with EXIF"])
def test_exif_never_turns_an_image_against_its_label_in_silence(tmp_path, caplog, turn, side, label_is):
    upright, inside = IMAGE[:H, : (H if side == H else W)], INSIDE[:H, : (H if side == H else W)].astype(np.uint8)
    save(tmp_path / "images/a.png", stored_of(upright, turn), exif=EXIF[turn])
    if label_is == "with EXIF":
        save(tmp_path / "labels/a.png", stored_of(inside, turn), exif=EXIF[turn])
    else:
        save(tmp_path / "labels/a.png", inside if label_is == "upright" else stored_of(inside, turn))
    (tmp_path / "classes.json").write_text('["a", "b"]')
    with caplog.at_level(logging.WARNING):
        item = load_folder(tmp_path)[0]
        load_folder(tmp_path)[0]
    said = [record.getMessage() for record in caplog.records if "EXIF" in record.getMessage()]
    tells = turn >= 5 and side == W  # the label's size
    if label_is == "stored" and tells:
        np.testing.assert_array_equal(item["image"], stored_of(upright, turn))
        np.testing.assert_array_equal(item["segmentation_map"], stored_of(inside, turn))
        assert len(said) == 1 and "a.png" in said[0] and "as stored" in said[0]
    else:
        np.testing.assert_array_equal(item["image"], upright)
        assert label_is == "stored" or (item["segmentation_map"] == inside).all()
        assert len(said) == (not tells and label_is != "with EXIF"), said


def test_exif_of_the_label_alone_is_an_error(tmp_path):
    save(tmp_path / "images/a.png", IMAGE[:, :H])
    save(tmp_path / "labels/a.png", INSIDE[:, :H].astype(np.uint8), exif=EXIF[6])
    (tmp_path / "classes.json").write_text('["a", "b"]')
    with pytest.raises(
        ValueError, match=r"labels/a\.png has the EXIF orientation 6 .*images/a\.png has 1.*save the label"
    ):
        load_folder(tmp_path)


def coco(root, images, annotations, names=("cell",)):
    content = {
        "images": [{"id": k, **entry} for k, entry in enumerate(images, 1)],
        "annotations": [{"id": k, "category_id": 1, "iscrowd": 0, **entry} for k, entry in enumerate(annotations, 1)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, 1)],
    }
    (root / "instances_train.json").write_text(json.dumps(content))
    return root / "instances_train.json"


BOX = [5, 4, 15, 4, 15, 14, 5, 14]


@pytest.mark.parametrize("frame", ["upright", "stored", "square"])
def test_exif_with_coco_goes_by_the_stated_size(tmp_path, caplog, frame):
    upright = IMAGE if frame != "square" else IMAGE[:, :H]
    save(tmp_path / "images/a.png", stored_of(upright, 6), exif=EXIF[6])
    height, width = upright.shape[:2] if frame != "stored" else upright.shape[1::-1]
    drawn = {"image_id": 1, "segmentation": [BOX]}
    file = coco(tmp_path, [{"file_name": "a.png", "height": height, "width": width}], [drawn])
    with caplog.at_level(logging.WARNING):
        item = load_folder(file)[0]
    expected = stored_of(upright, 6) if frame == "stored" else upright
    np.testing.assert_array_equal(item["image"], expected)
    assert ("EXIF" in caplog.text) == (frame != "upright")
    masks = CocoMasks(file, tmp_path / "images")[0]
    np.testing.assert_array_equal(np.asarray(masks["image"]), expected)
    assert draw_mask(masks["masks"][0]).shape == expected.shape[:2]


def test_exif_with_yolo_is_upright_as_in_yolo(tmp_path):
    save(tmp_path / "images/train/a.png", stored_of(IMAGE, 6), exif=EXIF[6])
    (tmp_path / "labels/train").mkdir(parents=True)
    shares = " ".join(f"{value / (H if place % 2 else W):.6f}" for place, value in enumerate(BOX))
    (tmp_path / "labels/train/a.txt").write_text(f"0 {shares}\n")
    (tmp_path / "data.yaml").write_text("names: [cell]\ntrain: images/train\n")
    item = load_folder(tmp_path)[0]
    np.testing.assert_array_equal(item["image"], IMAGE)
    np.testing.assert_array_equal(item["segmentation"] > 0, INSIDE)


def test_exif_with_masks_of_prompts_and_referents(tmp_path, caplog):
    """Run lengths and mask files state a size; polygons alone do not, which is said."""
    from hfseg.results.run_lengths import encode_run_lengths

    for name, drawn, expected in (
        ("sa_1", INSIDE, IMAGE),
        ("sa_2", stored_of(INSIDE, 6), stored_of(IMAGE, 6)),
    ):
        save(tmp_path / f"{name}.png", stored_of(IMAGE, 6), exif=EXIF[6])
        annotation = {"annotations": [{"segmentation": encode_run_lengths(drawn, compressed=True)}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(annotation))
        data = SegmentAnythingData(tmp_path)
        item = data[len(data) - 1]
        np.testing.assert_array_equal(np.asarray(item["image"]), expected)
    save(tmp_path / "refer/a.png", stored_of(IMAGE, 6), exif=EXIF[6])
    save(tmp_path / "refer/m.png", stored_of(INSIDE, 6))
    entry = {"image": "a.png", "expressions": ["the cell"]}
    (tmp_path / "refer/refs.json").write_text(json.dumps([entry | {"mask": "m.png"}, entry | {"segmentation": [BOX]}]))
    dataset = load_refer_json(tmp_path / "refer/refs.json")
    np.testing.assert_array_equal(dataset[0]["image"], stored_of(IMAGE, 6))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        item = dataset[1]
    np.testing.assert_array_equal(item["mask"] > 0, INSIDE)
    np.testing.assert_array_equal(item["image"], IMAGE)
    assert "taken to be upright" in caplog.text


def test_exif_in_tables(caplog):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})

    def table(upright, turn, inside):
        row = {
            "image": {"bytes": encoded(stored_of(upright, turn), exif=EXIF[turn])},
            "label": {"bytes": encoded(inside)},
        }
        return datasets.Dataset.from_list([row], features=features)

    names = {0: "a", 1: "b"}
    np.testing.assert_array_equal(TableDataset(table(IMAGE, 6, BYTES), names)[0]["image"], IMAGE)
    assert "EXIF" not in caplog.text
    with pytest.raises(ValueError, match=r"sample 0.*\(20, 30\).*label \(30, 20\).*EXIF.*turn the label"):
        TableDataset(table(IMAGE, 6, stored_of(BYTES, 6)), names)[0]
    TableDataset(table(IMAGE[:, :H], 6, BYTES[:, :H]), names)
    assert "EXIF orientation 6" in caplog.text


TWICE = {
    "classes.json names": ("classes.json", '["a", "b", "a"]', ["class name 'a'"]),
    "classes.json keys": ("classes.json", '{"0": "a", "1": "b", "1": "c"}', ["key '1'"]),
    "classes.json values": ("classes.json", '{"0": "a", "1": "b", "01": "c"}', ["value 1"]),
    "data.yaml names": ("data.yaml", "names: [a, b, a]\ntrain: images\n", ["class name 'a'"]),
    "data.yaml keys": ("data.yaml", "names:\n  0: a\n  1: b\n  1: c\ntrain: images\n", ["key '1'"]),
}


@pytest.mark.parametrize("case", TWICE)
def test_classes_given_twice_are_refused_by_name(tmp_path, case):
    file, text, words = TWICE[case]
    save(tmp_path / "images/a.png", IMAGE)
    if file == "data.yaml":
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels/a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    else:
        save(tmp_path / "labels/a.png", BYTES)
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=rf"{file}: the {words[0]} occurs more than once"):
        load_folder(tmp_path)


def test_coco_entries_given_twice(tmp_path, caplog):
    save(tmp_path / "images/a.png", IMAGE)
    image = {"file_name": "a.png", "height": H, "width": W}
    drawn = {"image_id": 1, "segmentation": [BOX]}
    with pytest.raises(ValueError, match=r"instances_train\.json: the category name 'cell' occurs more than once"):
        load_folder(coco(tmp_path, [image], [drawn], ("cell", "cell")))
    with pytest.raises(ValueError, match=r"instances_train\.json: the image id\(s\) 1 occur more than once"):
        load_folder(coco(tmp_path, [image, image | {"id": 1}], [drawn]))
    other = {"id": 1, "image_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}
    for read in (load_folder, lambda file: CocoMasks(file, tmp_path / "images")):
        with pytest.raises(ValueError, match=r"instances_train\.json: the annotation id 1 belongs to more than one"):
            read(coco(tmp_path, [image], [drawn, other]))
        with pytest.raises(ValueError, match=r"annotation id '1' belongs to more than one"):
            read(coco(tmp_path, [image], [drawn, other | {"id": "1"}]))
        caplog.clear()
        same = read(coco(tmp_path, [image], [drawn, drawn | {"id": 1}]))[0]
        assert len(same["instances"]["annotations"] if "instances" in same else same["masks"]) == 1
        assert "1 annotations repeat another" in caplog.text


# ------------------------------------------------------------------------------------ annotations that cover nothing

NOTHING = {
    "outside": [[40, 4, 60, 4, 60, 14, 40, 14]],
    "left": [[-20, -20, -10, -20, -10, -10]],
    "line": [[5, 4, 15, 4, 25, 4]],
    "point": [[5, 4, 5, 4, 5, 4]],
    "sliver": [[5, 4.01, 25, 4.01, 25, 4.02]],
    "empty run lengths": {"size": [H, W], "counts": [H * W]},
}


@pytest.mark.parametrize("case", NOTHING)
def test_annotations_that_cover_nothing_are_said(tmp_path, caplog, case):
    save(tmp_path / "images/a.png", IMAGE)
    image = {"file_name": "a.png", "height": H, "width": W}
    drawn = [{"image_id": 1, "segmentation": one} for one in ([BOX], NOTHING[case], NOTHING[case])]
    file = coco(tmp_path, [image], drawn)
    with caplog.at_level(logging.WARNING):
        dataset = load_folder(file)
        assert len(dataset[0]["segments_info"]) == 1
    assert caplog.text.count("cover no pixel") == 1
    assert "2 of 3 annotations" in caplog.text and "annotation 2 of" in caplog.text and "a.png" in caplog.text
    whole = coco(tmp_path / "images", [image], drawn)
    caplog.clear()
    CocoMasks(whole, tmp_path / "images")[0]
    assert caplog.text.count("cover no pixel") == 1 and "annotation 2 of" in caplog.text


def test_annotations_that_cover_nothing_are_said_by_other_readers(tmp_path, caplog):
    yolo = tmp_path / "yolo"
    save(yolo / "images/train/a.png", IMAGE)
    (yolo / "labels/train").mkdir(parents=True)
    (yolo / "labels/train/a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n0 1.5 1.5 1.9 1.5 1.9 1.9\n")
    (yolo / "data.yaml").write_text("names: [cell]\ntrain: images/train\n")
    labelme = tmp_path / "labelme"
    save(labelme / "a.png", IMAGE)
    shapes = [{"label": "cell", "points": [[x, 4], [x + 9, 4], [x + 9, 14]]} for x in (5, 50)]
    (labelme / "a.json").write_text(json.dumps({"shapes": shapes}))
    for folder, place in ((yolo, "a.txt, line 2"), (labelme, "shape 1 of")):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            load_folder(folder)
        assert caplog.text.count("cover no pixel") == 1 and "1 of 2" in caplog.text and place in caplog.text
    save(tmp_path / "refer/a.png", IMAGE)
    entry = {"image": "a.png", "expressions": ["the cell"], "segmentation": NOTHING["outside"]}
    (tmp_path / "refer/refs.json").write_text(json.dumps([entry]))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert not load_refer_json(tmp_path / "refer/refs.json")[0]["mask"].any()
    assert "referent 0 in" in caplog.text
