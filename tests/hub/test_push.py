# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Publishing: what is uploaded, what is refused, and that a published model loads from the Hub without `import hfseg`.

The Hub is a stand-in on this machine (`hub_stand_in`); a new process loads from it, as a user does.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from safetensors.torch import load_file, save_file

from hfseg import ProScaleConfig, ProScaleForUniversalSegmentation, ProScaleImageProcessor
from hfseg.commands import push as command
from hfseg.hub import pushing
from hfseg.hub.checks import folder_problems, loading_problems
from hfseg.hub.publishing import MAX_SHARD_SIZE, PublishingError, make_plan, stage, upload
from hub_stand_in import CARD, HubStandIn, in_new_process

SCRIPT = Path(__file__).parents[2] / "scripts" / "push_to_hub.py"


def tiny_model():
    swin = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
    config = ProScaleConfig(
        backbone_config={**swin, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
        encoder_stage_layers=(1, 1, 1),
        feature_size=32,
        mask_feature_size=32,
        hidden_size=32,
        num_attention_heads=2,
        decoder_layers=1,
        dim_feedforward=32,
        encoder_feedforward_dim=32,
        num_queries=5,
        id2label={0: "road", 1: "car"},
        label2id={"road": 0, "car": 1},
    )
    torch.manual_seed(0)
    return ProScaleForUniversalSegmentation(config)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder as training leaves it: with checkpoints, which hold pickles, beside the model."""
    folder = tmp_path_factory.mktemp("trained") / "tiny"
    tiny_model().save_pretrained(folder)
    ProScaleImageProcessor().save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    (folder / "metrics.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    (folder / "checkpoints" / "step_1").mkdir(parents=True)
    torch.save({"step": 1}, folder / "checkpoints" / "step_1" / "optimizer.bin")
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "tiny"))


def staged(folder, target, **options):
    left_out = stage(folder, target, **options)
    return make_plan(target, "me/tiny", "Upload", "v1", False, left_out)


# ---------------------------------------------------------------------------------------------------------- whole route


def test_published_model_loads_from_the_hub(folder, hub, tmp_path):
    """`scripts/push_to_hub.py`, then pipeline() by repository name and tag in a process that never imports hfseg."""
    done = in_new_process([str(SCRIPT), str(folder), "me/tiny", "--tag", "v1.0", "--private", "--json"], hub, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    repository = hub.repositories["me/tiny"]
    assert report["url"].startswith(hub.url) and report["problems"] == []
    assert repository.private and set(repository.tags) == {"v1.0"}
    tree = repository.tree("v1.0")[1]
    assert set(tree) == {file["path"] for file in report["files"]}
    for file in report["files"]:
        assert hashlib.sha256(tree[file["path"]]).hexdigest() == file["sha256"]
    assert "checkpoints/step_1/optimizer.bin" in report["left_out"] and "notes.txt" in report["left_out"]
    code = (
        "import sys, transformers, torch\n"
        "pipe = transformers.pipeline('image-segmentation', model='me/tiny', revision='v1.0', trust_remote_code=True)\n"
        "print(type(pipe.model).__name__, type(pipe.image_processor).__name__)\n"
        "print(float(sum(value.double().sum() for value in pipe.model.state_dict().values())))"
    )
    loaded = in_new_process(["-c", code], hub, tmp_path / "other")
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    names, total = loaded.stdout.splitlines()[-2:]
    assert names == "ProScaleForUniversalSegmentation ProScaleImageProcessor"
    expected = sum(value.double().sum() for value in load_file(folder / "model.safetensors").values())
    assert float(total) == pytest.approx(float(expected), rel=1e-6)


def test_dry_run_is_what_is_uploaded(folder, hub, online, tmp_path):
    plan = staged(folder, tmp_path / "dry")
    written = {
        str(path.relative_to(tmp_path / "dry")): path.read_bytes()
        for path in (tmp_path / "dry").rglob("*")
        if path.is_file()
    }
    assert {file.path: (file.size, file.sha256) for file in plan.files} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in written.items()
    }
    upload(tmp_path / "dry", plan, hub.token, hub.url)
    assert hub.repositories["me/tiny"].tree("main")[1] == written
    assert hub.repositories["me/tiny"].messages == ["Upload"]


def test_an_interrupted_upload_goes_on(folder, hub, online, tmp_path):
    plan = staged(folder, tmp_path / "dry")
    hub.fail = {"/commit/": 1}
    with pytest.raises(PublishingError, match="again: what was uploaded is not sent twice"):
        upload(tmp_path / "dry", plan, hub.token, hub.url)
    assert hub.repositories["me/tiny"].tree("main")[1] == {} and hub.received
    upload(tmp_path / "dry", plan, hub.token, hub.url)
    assert set(hub.received.values()) == {1}  # no weights were sent twice
    assert set(hub.repositories["me/tiny"].tree("v1")[1]) == {file.path for file in plan.files}


def test_the_hub_refuses(folder, hub, online, tmp_path):
    plan = staged(folder, tmp_path / "dry")
    with pytest.raises(PublishingError, match="hf auth login"):
        upload(tmp_path / "dry", plan, "hf_wrong", hub.url)
    upload(tmp_path / "dry", plan, hub.token, hub.url)
    with pytest.raises(PublishingError, match=r"tag 'v1' exists already"):
        upload(tmp_path / "dry", plan, hub.token, hub.url)
    hub.fail, hub.status = {"preupload": 9}, 403
    with pytest.raises(PublishingError, match="may not write to me/tiny"):
        upload(tmp_path / "dry", plan, hub.token, hub.url)


def test_nobody_answers(folder, online, tmp_path):
    server = HubStandIn()
    server.close()
    plan = staged(folder, tmp_path / "dry")
    with pytest.raises(PublishingError, match="Could not create the repository"):
        upload(tmp_path / "dry", plan, "hf_test", server.url)


# ------------------------------------------------------------------------------------------------------------- command


def run(*arguments, capsys):
    status = command.main([str(argument) for argument in arguments])
    return status, capsys.readouterr()


def test_dry_run_command(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pushing, "loading_problems", lambda target: [])
    status, said = run(folder, "me/tiny", "--dry_run", tmp_path / "dry", "--tag", "v1", capsys=capsys)
    assert status == 0 and "nothing was uploaded" in said.out
    for text in ("me/tiny", "model.safetensors", "sha256", "commit: Upload model with hfseg", "tag: v1", "left out"):
        assert text in said.out
    status, said = run(folder, "me/tiny", "--dry_run", tmp_path / "dry", capsys=capsys)
    assert status == 2 and "not empty" in said.err
    status, said = run(folder, "me/tiny", "--dry_run", tmp_path / "other", "--json", capsys=capsys)
    assert status == 0 and json.loads(said.out)["tag"] is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["no-owner"], "owner/name"),
        (["me/a b"], "repository id is 'me/a b'"),
        (["me/tiny", "--tag", "v 1"], "tag is 'v 1'"),
        (["me/tiny", "--tag", "v1..2"], "tag is 'v1..2'"),
        (["me/tiny", "--tag", "v1.lock"], "tag is 'v1.lock'"),
        (["me/tiny", "--include", "*.onnx"], r"no file of .* has such a name"),
    ],
)
def test_wrong_arguments(folder, tmp_path, capsys, arguments, message):
    status, said = run(folder, *arguments, "--dry_run", tmp_path / "dry", capsys=capsys)
    assert status == 2
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said.err)


def test_wrong_folders(folder, tmp_path, capsys, monkeypatch):
    dry = tmp_path / "dry"
    assert "There is no folder" in run(tmp_path / "none", "me/tiny", "--dry_run", dry, capsys=capsys)[1].err
    (tmp_path / "empty").mkdir()
    assert "neither config.json" in run(tmp_path / "empty", "me/tiny", "--dry_run", dry, capsys=capsys)[1].err
    inside = run(folder, "me/tiny", "--dry_run", folder / "dry", capsys=capsys)[1].err
    assert "lies in the model's folder" in inside
    monkeypatch.setattr("hfseg.hub.publishing.get_token", lambda: None)
    status, said = run(folder, "me/tiny", "--json", capsys=capsys)
    assert status == 2 and "hf auth login" in said.err and "HF_TOKEN" in json.loads(said.out)["problems"][0]
    with pytest.raises(SystemExit):
        command.main([str(folder), "me/tiny", "--max_shard_size", "5"])
    with pytest.raises(SystemExit):
        command.main([str(folder), "me/tiny", "--dataset", "streets"])


def test_offline_says_so(folder, hub, tmp_path):
    plan = staged(folder, tmp_path / "dry")
    with pytest.raises(PublishingError, match="HF_HUB_OFFLINE"):
        upload(tmp_path / "dry", plan, hub.token, hub.url)


# -------------------------------------------------------------------------------------------------------------- checks


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: torch.save({}, folder / "pytorch_model.bin"),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04K\x01."),
        lambda folder: (folder / "merges.txt").write_bytes(b"\x80\x02K\x01."),
        lambda folder: (folder / "vocab.json").write_bytes(b"\x80\x05K\x01."),
        lambda folder: write_zip(folder / "tokenizer.extra"),
    ],
)
def test_pickles_are_refused(folder, tmp_path, write):
    write(folder)
    with pytest.raises(PublishingError, match="pickles"):
        stage(folder, tmp_path / "dry")


def test_an_unlisted_pickle_by_pattern(folder, tmp_path):
    with pytest.raises(PublishingError, match=r"optimizer\.bin"):
        stage(folder, tmp_path / "dry", include=["checkpoints/*/*"])


def edit_json(path, **fields):
    content = json.loads(path.read_text())
    content.update(fields)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: (folder / "README.md").unlink(), "no model card"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {}}'), "names no file"),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "b.safetensors"}}'
            ),
            "names b.safetensors, which is missing",
        ),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "save the image processor"),
        (lambda folder: edit_json(folder / "config.json", architectures=None), "architectures"),
        (lambda folder: edit_json(folder / "config.json", architectures=["BertModel"]), "BertModel"),
        (lambda folder: edit_json(folder / "config.json", id2label={"0": "LABEL_0"}), "no class names"),
        (lambda folder: edit_json(folder / "preprocessor_config.json", image_processor_type=None), "image_processor"),
        (lambda folder: (folder / "README.md").write_text("# no metadata"), "no metadata"),
        (lambda folder: (folder / "README.md").write_text("---\n- a\n---\n"), "not a mapping"),
        (lambda folder: (folder / "README.md").write_text("---\na: [\n---\n"), "no valid YAML"),
    ],
)
def test_incomplete_folders(folder, tmp_path, spoil, message):
    spoil(folder)
    stage(folder, tmp_path / "dry")
    assert any(message in problem for problem in folder_problems(tmp_path / "dry", MAX_SHARD_SIZE))


def test_a_complete_folder_has_no_problem(folder, tmp_path):
    (folder / "modeling_hfseg.py").write_text("import os\n")  # is written anew
    edit_json(folder / "config.json", auto_map=None)
    stage(folder, tmp_path / "dry")
    assert folder_problems(tmp_path / "dry", MAX_SHARD_SIZE) == []
    shim = tmp_path / "dry" / "modeling_hfseg.py"
    for content, problem in (
        ("import os\n", "code of its own"),
        ("from hfseg import ProScaleConfig\n", "not import ProS"),
    ):
        shim.write_text(content)
        assert problem in folder_problems(tmp_path / "dry", MAX_SHARD_SIZE)[0]


def test_settings_are_those_of_the_package_and_no_machine(folder, tmp_path):
    edit_json(folder / "config.json", _name_or_path="/home/me/secret")
    stage(folder, tmp_path / "dry")
    assert "secret" not in (tmp_path / "dry" / "config.json").read_text()
    edit_json(tmp_path / "dry" / "config.json", auto_map={"AutoConfig": "elsewhere.Config"})
    (problem,) = folder_problems(tmp_path / "dry", MAX_SHARD_SIZE)
    assert "auto_map is not that of this package" in problem


def test_unknown_architecture(folder, tmp_path):
    edit_json(folder / "config.json", model_type="bert")
    with pytest.raises(PublishingError, match="Unknown architecture 'bert'"):
        stage(folder, tmp_path / "dry")


def test_what_does_not_load_is_found(folder, tmp_path):
    """In a new process: tensors that are missing, left over or not finite."""
    weights = load_file(folder / "model.safetensors")
    first, second = sorted(weights)[:2]
    weights["stranger"] = weights.pop(first)
    weights[second] = weights[second] * float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    stage(folder, tmp_path / "dry")
    problems = loading_problems(tmp_path / "dry")
    assert len(problems) == 3
    for problem, text in zip(problems, (first, "stranger", second)):
        assert text in problem


# --------------------------------------------------------------------------------------------- weights and result files


def test_large_weights_are_split(folder, tmp_path):
    limit = 200_000
    stage(folder, tmp_path / "dry", max_shard_size=limit)
    shards = sorted((tmp_path / "dry").glob("model-*.safetensors"))
    assert len(shards) > 1 and not (tmp_path / "dry" / "model.safetensors").exists()
    assert max(path.stat().st_size for path in shards) < 1.05 * limit
    assert folder_problems(tmp_path / "dry", limit) == []
    merged = {name: value for path in shards for name, value in load_file(path).items()}
    expected = load_file(folder / "model.safetensors")
    assert merged.keys() == expected.keys() and all(torch.equal(merged[name], expected[name]) for name in expected)
    loaded = ProScaleForUniversalSegmentation.from_pretrained(tmp_path / "dry")
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items() if name in expected)
    shards[0].unlink()
    assert any(shards[0].name in problem for problem in folder_problems(tmp_path / "dry", limit))


def test_unsplit_weights_are_a_problem(folder, tmp_path):
    stage(folder, tmp_path / "dry")
    assert any("shards of at most" in problem for problem in folder_problems(tmp_path / "dry", 10_000))


def test_result_files_carry_the_command(folder, tmp_path):
    stage(folder, tmp_path / "plain")
    assert not (tmp_path / "plain" / ".eval_results").exists()  # the dataset is not on the Hub
    stage(folder, tmp_path / "dry", dataset_ids={"streets": "someone/streets#semantic"})
    (file,) = (tmp_path / "dry" / ".eval_results").iterdir()
    (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("someone/streets", "semantic", 49.25)
    assert "scripts/evaluate.py --model tiny" in entry.notes and "split val" in entry.notes
    with pytest.raises(PublishingError, match="--dataset: The card has no result of roads; it has streets:mean_iou"):
        stage(folder, tmp_path / "other", dataset_ids={"roads": "someone/streets"})


def test_license_of_the_command_line(folder, tmp_path):
    card = folder / "README.md"
    card.write_text(CARD.replace("license: apache-2.0\n", ""))
    stage(folder, tmp_path / "without")
    assert "no license" in " ".join(folder_problems(tmp_path / "without", MAX_SHARD_SIZE))
    stage(folder, tmp_path / "dry", license_name="mit")
    assert folder_problems(tmp_path / "dry", MAX_SHARD_SIZE) == []
    written = ModelCard.load(tmp_path / "dry" / "README.md")
    card.write_text(CARD)
    stage(folder, tmp_path / "own", license_name="mit")
    assert ModelCard.load(tmp_path / "own" / "README.md").data.license == "apache-2.0"  # the card's own stays
    assert written.data.license == "mit" and written.data.eval_results[0].metric_value == 49.25
    assert written.text.strip() == ModelCard(CARD).text.strip()


def test_images_of_the_card_travel(folder, tmp_path):
    card = folder / "README.md"
    card.write_text(CARD + "\n![scene](images/scene.png) ![logo](https://example.org/logo.png)\n")
    with pytest.raises(PublishingError, match=r"images/scene\.png"):
        stage(folder, tmp_path / "dry")
    (folder / "images").mkdir()
    (folder / "images" / "scene.png").write_bytes(b"png")
    stage(folder, tmp_path / "other")
    assert (tmp_path / "other" / "images" / "scene.png").read_bytes() == b"png"
    card.write_text(CARD + "\n![secret](../secret.png)\n")
    (folder.parent / "secret.png").write_bytes(b"png")
    with pytest.raises(PublishingError, match="secret"):
        stage(folder, tmp_path / "third")
