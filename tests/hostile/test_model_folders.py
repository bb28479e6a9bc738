# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Model folders that are incomplete, damaged or hostile: refused by every command, before memory is spent."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hfseg
import hfseg.commands.evaluate as evaluate_command
import hfseg.commands.export as export_command
import hfseg.commands.predict as predict_command
from hfseg.files.model_folders import ModelFolderError, check_model_folder
from hfseg.inference.predictor import Predictor
from proscale_models import tiny_config
from tiny_zoo import EDGE, FOLDERS, image, model_folder

WEIGHTS = "model.safetensors"
TRANSFORMERS = [name for name in FOLDERS if name != "lavin_dit"]


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile_zoo")


@pytest.fixture
def spoiled(zoo, tmp_path):
    """Copies a tiny folder, to spoil it."""
    return lambda name: Path(shutil.copytree(model_folder(name, zoo), tmp_path / "model"))


def change_weights(folder: Path, change, file: str = WEIGHTS) -> None:
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file, metadata={"format": "pt"})


def change_json(folder: Path, file: str, **values) -> None:
    content = json.loads((folder / file).read_text())
    content.update(values)
    (folder / file).write_text(json.dumps(content))


def remove_some(tensors):
    for name in sorted(tensors)[:7]:
        del tensors[name]


def rename_one(tensors):
    name = sorted(tensors)[0]
    tensors["teacher." + name] = tensors.pop(name)


def add_one(tensors):
    tensors["teacher.weight"] = torch.zeros(3)


def make_nan(tensors):
    name = next(name for name in sorted(tensors) if tensors[name].is_floating_point() and tensors[name].numel() > 1)
    tensors[name].view(-1)[-1] = float("nan")


def make_infinite(tensors):
    name = next(name for name in sorted(tensors) if tensors[name].is_floating_point() and tensors[name].numel() > 1)
    tensors[name].view(-1)[0] = float("inf")


SPOILERS = {
    "missing": (remove_some, r"lacks \d+ weights"),
    "renamed": (rename_one, "lacks 1 weights|no place for"),
    "foreign": (add_one, "no place for"),
    "nan": (make_nan, "not finite"),
    "infinite": (make_infinite, "not finite"),
}


@pytest.mark.parametrize("kind", SPOILERS)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_weights_that_are_not_the_models(spoiled, name, kind):
    change, message = SPOILERS[kind]
    folder = spoiled(name)
    Predictor(folder, progress=False)
    change_weights(folder, change)
    with pytest.raises(ModelFolderError, match=message) as raised:
        Predictor(folder, progress=False)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)
    if kind == "missing" and name != "meddensevit":  # five of the seven are named
        assert re.search(r"\((\S+, ){5}\.\.\.\)", str(raised.value))


@pytest.mark.parametrize("kind", ["missing", "renamed", "foreign", "nan"])
def test_weights_of_a_pipeline_that_are_not_its_own(spoiled, kind):
    folder = spoiled("lavin_dit")
    Predictor(folder, progress=False)
    change_weights(folder, SPOILERS[kind][0], "transformer/diffusion_pytorch_model.safetensors")
    with pytest.raises(ModelFolderError, match=r"transformer|not finite"):
        Predictor(folder, progress=False)


def run(command: str, folder: Path, tmp_path: Path, name: str) -> int:
    """Runs a command on a model folder; the exit status."""
    image().save(tmp_path / "image.png")
    if command == "predict":
        return predict_command.main([str(tmp_path / "image.png"), "--model", str(folder), "-o", str(tmp_path / "o")])
    if command == "export":
        words = ["--model", str(folder), "--format", "torch_export", "-o", str(tmp_path / "model.pt2")]
        return export_command.main(words)
    words = ["--model", str(folder), "--dataset", "shapes:num_scenes=2", "--output_dir", str(tmp_path / "o")]
    return evaluate_command.main(words)


@pytest.mark.parametrize("kind", ["missing", "nan", "foreign"])
@pytest.mark.parametrize("command", ["predict", "export", "evaluate"])
def test_commands_refuse_them(spoiled, tmp_path, capsys, command, kind):
    folder = spoiled("proscale")
    change_weights(folder, SPOILERS[kind][0])
    assert run(command, folder, tmp_path, "proscale") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and str(folder) in error


def test_from_pretrained_behaves_as_in_transformers(spoiled):
    folder = spoiled("proscale")
    change_weights(folder, remove_some)
    model, report = hfseg.ProScaleForUniversalSegmentation.from_pretrained(folder, output_loading_info=True)
    assert len(report["missing_keys"]) == 7 and model.loading_report is report
    assert not isinstance(hfseg.ProScaleForUniversalSegmentation.from_pretrained(folder), tuple)


# ------------------------------------------------------------------------------------------------------ damaged folders


def deep(folder):
    (folder / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


def pickle_alone(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def truncated(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000])


def header_of_another_size(folder):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes((2**40).to_bytes(8, "little") + content[8:])


def integers(folder):
    def change(tensors):
        name = next(name for name in sorted(tensors) if tensors[name].dim() > 1)
        tensors[name] = tensors[name].view(torch.int32).clone()

    change_weights(folder, change)


def shards_outside(folder):
    (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "../outside.safetensors"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def config(**values):
    return lambda folder: change_json(folder, "config.json", **values)


def preprocessor(**values):
    return lambda folder: change_json(folder, "preprocessor_config.json", **values)


DAMAGE = {
    "deep json": deep,
    "pickle alone": pickle_alone,
    "truncated": truncated,
    "lying header": header_of_another_size,
    "integers": integers,
    "shards outside": shards_outside,
    "list": lambda folder: (folder / "config.json").write_text("[]"),
    "no text": lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00\x01"),
    "layers": config(decoder_layers=10**9),
    "more layers": config(decoder_layers=900),
    "layers within the bound": config(decoder_layers=250),
    "queries": config(num_queries=10**8),
    "more queries": config(num_queries=90_000),
    "size": config(hidden_size=10**7),
    "negative": config(num_queries=-5),
    "heads": config(num_attention_heads=0),
    "a word": config(hidden_size="many"),
    "a list": config(decoder_layers=[1, 2]),
    "backbone": config(backbone_config="swin"),
    "backbone none": config(backbone_config={"model_type": "none"}),
    "labels": config(id2label={"0": "a", "7": "b"}),
    "labels list": config(id2label=["a"]),
    "nan": config(dropout=float("nan")),
    "code": config(auto_map={"AutoConfig": "evil.Config"}),
    "remote code": config(auto_map={"AutoConfig": "someone/else--modeling_hfseg.ProScaleConfig"}),
    "kernel": config(_attn_implementation="someone/kernel"),
    "architectures": config(architectures="ProScaleForUniversalSegmentation"),
    "type": config(model_type=7),
    "mean": preprocessor(image_mean="0.5"),
    "mean of two": preprocessor(image_mean=[0.5, 0.5]),
    "std zero": preprocessor(image_std=[0.0, 0.2, 0.2]),
    "a word for a switch": preprocessor(do_normalize="false"),
    "huge size": preprocessor(size={"height": 10**6, "width": 10**6}),
    "no size": preprocessor(size={}),
    "size in words": preprocessor(size={"shortest_edge": "64", "longest_edge": 128}),
    "divisor": preprocessor(size_divisor=0),
    "threshold": preprocessor(threshold=7),
    "rescale": preprocessor(rescale_factor=0),
    "filter": preprocessor(resample=17),
    "preprocessor code": preprocessor(auto_map={"AutoImageProcessor": "evil.Processor"}),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_folders(spoiled, tmp_path, capsys, kind):
    folder = spoiled("proscale")
    DAMAGE[kind](folder)
    for command in ("predict", "evaluate"):
        assert run(command, folder, tmp_path, "proscale") == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith("error: ") and str(folder) in lines[-1], lines
        assert not any("Traceback" in line for line in lines)


# ------------------------------------------------------------------------------------- a backbone of timm, in windows

WINDOWED = {
    "window of no stride": ({"window_size": 6}, "window_size=6 leaves block 0 windows of 6 tokens"),
    "window of nothing": ({"window_size": 0}, "window_size=0 leaves block 0"),
    "window below nothing": ({"window_size": -8}, "window_size is -8; it must be between"),
    "huge window": ({"window_size": 10**6}, "window_size is 1000000; it must be between"),
    "window in words": ({"window_size": "many"}, "window_size='many' must be a whole number"),
    "two windows": ({"window_size": [8, 8]}, "must be a whole number"),
    "broken window": ({"window_size": 8.0}, "window_size=8.0 must be a whole number"),
    "no window": ({"window_size": None}, "global_blocks belongs to window_size"),
    "block beyond": ({"global_blocks": [9]}, "global_blocks=.9. must be blocks from 0 to 3"),
    "blocks in words": ({"global_blocks": "all"}, "global_blocks='all' must be a list"),
    "unknown network": ({"backbone": "no_such_network"}, "Unknown model"),
    "network of another folder": ({"backbone": "local-dir:/tmp"}, "backbone_config.backbone is 'local-dir:/tmp'"),
    "network of the hub": ({"backbone": "hf-hub:someone/else"}, "backbone_config.backbone is 'hf-hub:someone/else'"),
    "network without windows": ({"backbone": "resnet10t"}, "model cannot be loaded"),
    "larger network": ({"backbone": "mvitv2_tiny"}, "belong to different models"),
}


@pytest.fixture
def windowed(tmp_path):
    pytest.importorskip("timm")
    from timm_models import WINDOWED_MVIT, tiny_mvit

    with tiny_mvit():
        settings = tiny_config(backbone_config=WINDOWED_MVIT, encoder_stage_layers=(0, 0, 1), decoder_layers=1)
        hfseg.ProScaleForUniversalSegmentation(settings).save_pretrained(tmp_path / "model")
        hfseg.ProScaleImageProcessor(size=EDGE).save_pretrained(tmp_path / "model")
        yield tmp_path / "model"


@pytest.mark.parametrize("kind", WINDOWED)
def test_windows_that_do_not_fit(windowed, kind):
    values, message = WINDOWED[kind]
    written = json.loads((windowed / "config.json").read_text())["backbone_config"]
    change_json(windowed, "config.json", backbone_config={**written, **values})
    with pytest.raises(ModelFolderError, match=message) as raised:
        Predictor(windowed, progress=False)
    assert "\n" not in str(raised.value) and str(windowed) in str(raised.value)


@pytest.mark.parametrize("kind", SPOILERS)
def test_weights_that_are_not_the_windowed_networks(windowed, kind):
    Predictor(windowed, progress=False)
    change_weights(windowed, SPOILERS[kind][0])
    with pytest.raises(ModelFolderError, match=SPOILERS[kind][1]):
        Predictor(windowed, progress=False)


def test_a_windowed_network_that_lacks_its_tables(windowed):
    """Tensors of the backbone alone, which timm's own loading would draw without a word."""

    def change(tensors):
        for name in [name for name in tensors if "rel_pos" in name]:
            del tensors[name]

    change_weights(windowed, change)
    with pytest.raises(ModelFolderError, match=r"lacks 8 weights .*attn\.rel_pos_h"):
        Predictor(windowed, progress=False)


def test_components_of_a_pipeline_come_from_known_libraries(spoiled):
    folder = spoiled("lavin_dit")
    change_json(folder, "model_index.json", vae=["antigravity", "Anything"])
    with pytest.raises(ModelFolderError, match=r"model_index\.json"):
        check_model_folder(folder)


def test_shipped_folders_pass(zoo):
    for name in FOLDERS:
        check_model_folder(model_folder(name, zoo))
