# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables of benchmarks that train or run for long: what they count, compare and average, on answers that are known."""

import json
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import in_context, medical, medical_cost, universal_learning, volumes
from hfseg.data.readers.in_context import InContextDataset, ShapesSource, find_task
from hfseg.training import load_recipe

# ------------------------------------------------------------------------------------------- parameters of MedDenseViT


def test_parameters_are_of_inference_and_in_parts():
    """By a count of its own: linear algebra of a ViT-S with three-layer heads left out."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    row = medical_cost.parameter_row("small")
    with torch.device("meta"):
        vit = DINOv3ViTModel(DINOv3ViTConfig(hidden_size=384, intermediate_size=1536, num_attention_heads=6))
        model = medical_cost.MedDenseViTForSemanticSegmentation(
            medical_cost.MedDenseViTConfig.of_size("small", num_labels=14)
        )
    backbone = sum(parameter.numel() for parameter in vit.parameters())
    assert 1e6 * row["backbone (M)"] == pytest.approx(backbone, rel=1e-3)
    auxiliary = sum(p.numel() for name, child in model.named_children() if "aux" in name for p in child.parameters())
    assert auxiliary > 0 and row["training"] - row["parameters"] == auxiliary
    assert row["training"] == sum(parameter.numel() for parameter in model.parameters())
    assert row["backbone (M)"] + row["head (M)"] == pytest.approx(row["total (M)"])


def test_every_size_is_near_its_specification():
    rows = medical_cost.parameter_table()
    assert [row["model"] for row in rows] == ["small", "base", "large", "huge", "giant"]
    for row in rows:
        assert abs(row["deviation %"]) < 0.5
        assert row["deviation %"] == pytest.approx(
            100 * (row["total (M)"] - row["specified (M)"]) / row["specified (M)"]
        )
        _, backbone, head = medical_cost.SPECIFIED[row["model"]]
        assert (row["backbone (M)"], row["head (M)"]) == pytest.approx((backbone, head), rel=0.02)


# ----------------------------------------------------------------------------------------------------------- volumes


def test_volumes_medians_ratios_and_agreement(monkeypatch):
    """Both processes are stand-ins with known figures; their class maps differ in two of 48 voxels."""
    nibabel = pytest.importorskip("nibabel")
    figures = {"ours": iter([(2.0, 1.0, 3.0), (4.0, 3.0, 5.0), (9.0, 2.0, 1.0)]), "monai": iter([(10, 4, 6)] * 3)}
    calls = []

    def run(command, **_):
        side = "ours" if "worker('ours'" in command[4] else "monai"
        source, target, height, width, batch = command[5:]
        calls.append((side, height, width, batch))
        labels = np.zeros(nibabel.load(source).shape, dtype=np.uint8)
        labels[0, 0, :2] = side == "ours"
        nibabel.save(nibabel.Nifti1Image(labels, nibabel.load(source).affine), target)
        seconds, cpu, peak = next(figures[side])
        printed = {"seconds": seconds, "cpu_seconds": cpu, "peak": peak, "libraries": 0.5}
        return SimpleNamespace(returncode=0, stdout="a remark\n" + json.dumps(printed) + "\n", stderr="")

    monkeypatch.setattr(volumes.subprocess, "run", run)
    tables, notes = volumes.volume_table((4, 4, 3), (32, 64), 8, rounds=3)
    assert calls == [("ours", "32", "64", "8"), ("monai", "32", "64", "8")] * 3  # in turn
    ((title, (ours, theirs)),) = tables.items()
    assert "4 x 4 x 3" in title and "3 run" in notes[-1]
    assert (ours["seconds"], ours["CPU seconds"], ours["peak GB"]) == (4.0, 2.0, 3.0)
    assert ours["peak beside MONAI"] == 0.5 and ours["CPU beside MONAI"] == 0.5
    assert theirs["peak beside MONAI"] == theirs["CPU beside MONAI"] == 1
    assert ours["equal voxels"] == pytest.approx(46 / 48) and ours["equal affine"] == "True"
    monkeypatch.setattr(
        volumes.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=3, stdout="", stderr="no memory")
    )
    with pytest.raises(RuntimeError, match=r"ours failed \(3\): no memory"):
        volumes.volume_table((4, 4, 3), (32, 64), 8, rounds=1)


def test_our_side_of_volumes(tmp_path, capsys):
    """The class map is that of the network on windowed slices, in the file's own order; the figures are printed."""
    nibabel = pytest.importorskip("nibabel")
    source, target = tmp_path / "scan.nii.gz", tmp_path / "out.nii.gz"
    volumes.write_scan(source, (32, 48, 3))
    scan = np.asarray(nibabel.load(source).dataobj).astype(np.float64)
    assert scan.shape == (32, 48, 3) and scan.min() < -950 and scan.max() > 600
    volumes.worker("ours", str(source), str(target), "32", "48", "2")
    assert set(json.loads(capsys.readouterr().out)) == {"seconds", "cpu_seconds", "peak", "libraries"}
    windowed = np.stack([((scan - low) / (high - low)).clip(0, 1) for low, high in volumes.WINDOWS])
    ras = torch.from_numpy(windowed[:, ::-1, ::-1].copy()).float()  # the file is left-posterior-superior
    with torch.no_grad():
        expected = volumes.network()(ras.permute(3, 0, 1, 2)).argmax(1).permute(1, 2, 0).numpy()
    found = nibabel.load(target)
    assert np.allclose(found.affine, nibabel.load(source).affine)
    assert (np.asarray(found.dataobj)[::-1, ::-1] == expected).mean() > 0.98


# -------------------------------------------------------------------------------------------------------- in context

SIZE = (32, 32)


class Reader:
    """A pipeline that answers with the target of whichever task its example shows; without examples, black."""

    def __init__(self, data, scenes):
        self.transformer = SimpleNamespace(config=SimpleNamespace(in_channels=2))
        self.vae = SimpleNamespace(config=SimpleNamespace(sample_height=SIZE[0], sample_width=SIZE[1]))
        identity = lambda pixels: SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: pixels))  # noqa: E731
        self.vae.encode, self.vae.decode = identity, lambda pixels: SimpleNamespace(sample=pixels)
        self.spatial_ratio, self.calls = 8, []
        self.tasks, self.targets, self.scene = {}, {}, {}
        for name in (*in_context.LEARNT, *in_context.HELD_OUT):
            for index in range(scenes):
                item = data.draw(find_task(name), index)
                (pair,) = item["examples"]
                self.tasks[pair[0].tobytes() + pair[1].tobytes()] = name
                self.scene[item["query"].tobytes()] = index
                self.targets[name, index] = item["target"]

    def set_progress_bar_config(self, **_):
        pass

    def prepare_examples(self, pairs):
        return b"".join(part.tobytes() for part in pairs[0])

    def __call__(self, queries, shown, num_inference_steps, guidance_scale, latents):
        self.calls.append((num_inference_steps, guidance_scale, tuple(latents.shape), float(latents[1].sum())))
        answers = []
        for query, example in zip(queries, shown):
            target = self.targets[self.tasks[example], self.scene[query.tobytes()]]
            answers.append(target if guidance_scale else np.zeros_like(target))
        return SimpleNamespace(images=answers)


def test_in_context_errors_of_a_perfect_reader(monkeypatch, tmp_path):
    scenes = 3
    source = ShapesSource(split="test", num_scenes=50, image_size=SIZE, in_memory=True)
    names = [*in_context.LEARNT, *in_context.HELD_OUT]
    reader = Reader(InContextDataset(names, source=source, num_examples=1), scenes)
    monkeypatch.setattr(in_context, "LavinDiTPipeline", SimpleNamespace(from_pretrained=lambda folder: reader))
    monkeypatch.setattr(in_context, "LavinDiTExamples", SimpleNamespace(join=list))
    tables, notes = in_context.in_context_table("folder", scenes, 4, 1.5, str(tmp_path / "grid/a.png"))
    (rows,) = tables.values()
    assert [row["task"] for row in rows] == [*in_context.LEARNT, *(f"{name} *" for name in in_context.HELD_OUT)]
    assert {call[:3] for call in reader.calls} == {(3, 1.5, (3, 2, 1, 4, 4)), (3, 0.0, (3, 2, 1, 4, 4))}
    assert len({call[3] for call in reader.calls}) == 1  # the same noise for every kind of example

    def error(name, answer):
        pairs = [(answer(index), reader.targets[name, index].astype(float)) for index in range(scenes)]
        return 100 * np.mean([np.abs(got - target).mean() / 255 for got, target in pairs])

    for name, row in zip(names, rows):
        kind = find_task(name).target_format
        others = [other for other in in_context.LEARNT if find_task(other).target_format != kind]
        errors = {other: error(name, lambda i, other=other: reader.targets[other, i].astype(float)) for other in others}
        assert row["right"] == 0 and row["bound"] < 0.3
        assert row["none"] == pytest.approx(error(name, lambda i: 0.0))
        assert row["another, mean"] == pytest.approx(statistics.mean(errors.values()))
        assert row["another, best"] == pytest.approx(min(errors.values())) == pytest.approx(errors[row["best is"]])
    depth = rows[0]
    assert depth["delta1, right"] == 100 and depth["delta1, another, best"] < 100
    assert (tmp_path / "grid/a.png").is_file() and "a row per task" in notes[-1]


# ----------------------------------------------------------------------------------------- learning on medical volumes


def test_updates_follow_from_the_budget(monkeypatch):
    """Batches take 9, 9 (warming up), then 1, 1, 2, 3, 1 and 1 seconds: the median is 1."""
    durations = iter([9, 9, 1, 1, 2, 3, 1, 1])
    clock = [0.0]

    def now():
        return clock[0]

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, pixel_values):
            clock[0] += next(durations)
            return {"loss": self.weight * pixel_values}

    monkeypatch.setattr(medical.time, "process_time", now)
    model = Model()
    assert medical.updates_within(model, [{"pixel_values": torch.ones(())}] * 8, 60) == 60
    assert model.weight == 1 and model.weight.grad is None  # nothing was learnt


def test_measured_row_is_rounded_and_named(monkeypatch):
    asked = []

    def evaluate(model, held_out, size, metrics, batch_size, full):
        asked.append((model.training, size, metrics, full))
        per_class = {"anterior": {"dice": 87.654321}, "posterior": {"dice": 50.0}}
        distance = {"assd": 1.23456, "hd95": 4.5678, "nsd": 98.762}
        return {"dice": {"per_class": per_class, "dice": 68.827, "num_cases": 30}, "surface_distance": distance}

    monkeypatch.setattr(medical, "evaluate_volumes", evaluate)
    row = medical.measure(torch.nn.Linear(1, 1), None, (48, 64))
    assert asked == [(False, (48, 64), ("dice", "surface_distance"), True)]
    assert row == {
        "Dice % anterior": 87.65, "Dice % posterior": 50.0, "mean Dice %": 68.83, "ASSD mm": 1.2346, "HD95 mm": 4.568,
        "NSD 1 mm %": 98.76, "volumes": 30,
    }  # fmt: skip


def test_sides_change_what_they_name():
    names = {0: "background", 1: "anterior", 2: "posterior"}
    sides = {}
    for side in ("ours", "ours-static", "ours-last"):
        sides[side] = medical.build_side(side, load_recipe("meddensevit-tiny-hippocampus", []), names).config
    assert sides["ours"].dynamic_class_weights and not sides["ours-static"].dynamic_class_weights
    assert not sides["ours-static"].dynamic_term_balance
    assert sides["ours-last"].neck == "last" != sides["ours"].neck and sides["ours"].id2label == names
    with pytest.raises(ValueError, match="There is no side 'theirs'; must be one of ours"):
        medical.build_side("theirs", load_recipe("meddensevit-tiny-hippocampus", []), names)


def test_medical_table_trains_each_side_within_the_budget(monkeypatch, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    for split, count in (("train", 3), ("val", 1)):
        for kind in ("images", "labels"):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
            for number in range(count):
                values = np.random.default_rng(number).integers(0, 3, (10, 12, 8)).astype(np.int16)
                image = nibabel.Nifti1Image(values, np.eye(4))
                nibabel.save(image, tmp_path / "data" / kind / split / f"{split}{number}.nii.gz")
    budgets, runs, weights = [], [], []

    def updates_within(model, batches, seconds):
        budgets.append((len(batches), batches[0]["pixel_values"].shape[0], seconds))
        weights.append(model.classifier.weight.detach().clone())
        torch.nn.init.zeros_(model.classifier.weight)  # the probe is not the model that is trained
        return 70

    def train(model, dataset, collate, arguments, output_dir):
        assert torch.equal(model.classifier.weight, weights[-1])
        runs.append((len(dataset), arguments.run.max_steps, arguments.schedule.warmup_steps, output_dir.name))
        model.save_pretrained(output_dir)
        return SimpleNamespace(state=SimpleNamespace(step=70))

    monkeypatch.setattr(medical, "updates_within", updates_within)
    monkeypatch.setattr(medical, "train", train)
    monkeypatch.setattr(medical, "measure", lambda model, held_out, size: {"slices": len(held_out), "size": size})
    arguments = (
        str(tmp_path / "data"),
        1.5,
        ["ours", "ours-last"],
        ["run.seed=3", "data.batch_size=2"],
        str(tmp_path / "keep"),
    )
    tables, _ = medical.medical_learning_table(*arguments)
    (rows,) = tables.values()
    assert [row["model"] for row in rows] == ["ours", "ours-last"] and {row["updates"] for row in rows} == {70}
    assert {row["seed"] for row in rows} == {3} and {(row["slices"], row["size"]) for row in rows} == {(8, (48, 64))}
    assert budgets == [(medical.WARM + medical.TIMED, 2, 90.0)] * 2
    assert runs == [(24, 70, 7, "ours"), (24, 70, 7, "ours-last")]
    assert rows[0]["parameters (M)"] > rows[1]["parameters (M)"]  # one map is tapped, not four
    again, _ = medical.medical_learning_table(*arguments)  # what is there is only measured
    assert len(runs) == 2 and all(set(row) == {"model", "slices", "size"} for row in next(iter(again.values())))


# ------------------------------------------------------------------------------------------ learning of UniSegFormer


def test_universal_table_means_deviations_and_differences(monkeypatch):
    pq = {("exchange", 0): 50.0, ("exchange", 1): 54.0, ("no-exchange", 0): 49.0, ("no-exchange", 1): 47.0}
    order, sofar = [], []

    def one_run(data, overrides, mode, seed, pretrained, keep):
        order.append((seed, mode, tuple(overrides), keep))
        return {
            "mode": mode,
            "seed": seed,
            "pq": pq[mode, seed],
            "mean_iou": 2 * pq[mode, seed],
            "CPU minutes": 1.0 + seed,
        }

    monkeypatch.setattr(universal_learning, "one_run", one_run)
    tables, notes = universal_learning.universal_learning_table(
        "data", ["run.max_steps=3"], seeds=(0, 1), keep="kept", done=lambda found, _: sofar.append(len(found["Runs"]))
    )
    assert [entry[:2] for entry in order] == [(0, "exchange"), (0, "no-exchange"), (1, "exchange"), (1, "no-exchange")]
    assert {entry[2:] for entry in order} == {(("run.max_steps=3",), "kept")} and sofar == [1, 2, 3, 4]
    first, second = tables["Learning on data"]
    assert (first["pq"], second["pq"]) == (52.0, 48.0) and first["pq deviation"] == pytest.approx(8**0.5)
    assert (
        first["pq vs exchange"] is None and second["pq vs exchange"] == -4.0 and second["mean_iou vs exchange"] == -8.0
    )
    assert first["seeds"] == 2 and first["CPU minutes"] == 1.5 and "ap" not in first
    assert len(tables["Runs"]) == 4 and notes == universal_learning.NOTES
    with pytest.raises(ValueError, match="choose of exchange"):
        universal_learning.universal_learning_table(None, [], ("exchanged",))
    with pytest.raises(ValueError, match="needs --pretrained"):
        universal_learning.universal_learning_table(None, [], ("exchange", "pretrained"))


def test_a_universal_run_changes_what_its_mode_says(monkeypatch, tmp_path):
    seen = []

    def train(model, training, collate, arguments, output_dir, evaluate_fn, image_processor):
        assert evaluate_fn is not None and image_processor is not None
        seen.append((model.config.clx_enabled, arguments.run.seed, model.model.encoder.state_dict()))
        return SimpleNamespace(state=SimpleNamespace(step=5), metrics={"pq": 1.23456, "ap": 2.0, "loss": 9.0})

    monkeypatch.setattr(universal_learning, "train", train)
    changes = ["data.train.num_scenes=2", "data.validation.num_scenes=2"]
    rows = [universal_learning.one_run(None, changes, mode, 4, None, None) for mode in ("exchange", "no-exchange")]
    assert [entry[:2] for entry in seen] == [(True, 4), (False, 4)]
    assert rows[0]["pq"] == 1.23 and rows[0]["updates"] == 5 and "loss" not in rows[0]
    assert rows[0]["mean gain"] == 0 and rows[1]["mean gain"] is None  # gains begin at nothing
    assert rows[0]["parameters (M)"] > rows[1]["parameters (M)"]


def test_the_pretrained_encoder_is_that_of_the_folder(monkeypatch, tmp_path):
    """Its weights arrive in the model that is trained; an encoder of other sizes is refused."""
    import hfseg

    encoders = []

    def train(model, *_, **__):
        encoders.append(model.model.encoder.state_dict())
        return SimpleNamespace(state=SimpleNamespace(step=5), metrics={})

    monkeypatch.setattr(universal_learning, "train", train)
    changes = ["data.train.num_scenes=2", "data.validation.num_scenes=2"]
    config = load_recipe("unisegformer-tiny-shapes", changes).model.config
    pretrained = hfseg.UniSegFormerForPreTraining(hfseg.UniSegFormerConfig(**config))
    with torch.no_grad():
        for parameter in pretrained.model.encoder.parameters():
            parameter.uniform_(0.1, 0.2)
    pretrained.save_pretrained(tmp_path / "pretrained")
    universal_learning.one_run(None, changes, "pretrained", 0, str(tmp_path / "pretrained"), None)
    given = pretrained.model.encoder.state_dict()
    assert len(encoders[0]) > 20 and all(torch.equal(value, given[name]) for name, value in encoders[0].items())
    with pytest.raises(ValueError, match="has other sizes"):
        other = [*changes, "model.config.encoder_config.depths=[1,1,1,1]"]
        universal_learning.one_run(None, other, "pretrained", 0, str(tmp_path / "pretrained"), None)
