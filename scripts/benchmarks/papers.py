# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What seven papers print beside what this code gives: costs, parameters, schedules; and what is not covered, and why.

    python scripts/benchmarks/papers.py [docs/results/papers.md]

Every figure of ours is computed when the page is written: models are built without memory and counted, recipes are
read. A figure that would need training at the papers' scale is a row that says so. UniSegFormer and MedDenseViT have no
paper with tables; their rows compare with the page that describes them.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results" / "papers.md"
NO_WEIGHTS = "needs training at this scale, which this project has not done; no released weights"
NOT_HERE = "the released weights were not available here"
COUNT = "python scripts/benchmark.py flops --table {}"
PARAMETERS = "python scripts/benchmark.py params --table {}"


class Row(NamedTuple):
    """One item of a paper.

    Attributes:
        item: What and where in the paper.
        command: What gives our figure; "" where there is none.
        ours: Our figure; None where it is not covered.
        printed: The paper's; None where it prints none.
        note: Unit, condition or reason.
    """

    item: str
    command: str
    ours: float | str | None
    printed: float | str | None
    note: str = ""


def recipe(name: str) -> Any:
    """Reads a recipe."""
    from hfseg.training import load_recipe

    return load_recipe(name)


def train(name: str) -> str:
    """The command of a recipe."""
    return f"hfseg train --recipe {name}"


def rate(name: str, share: float) -> float:
    """Learning rate of a recipe after a share of its updates."""
    from hfseg.training.optimization import schedule_multiplier

    settings = recipe(name)
    steps = settings.run.max_steps
    return settings.optimizer.learning_rate * schedule_multiplier(round(share * steps), steps, settings.schedule)


def not_covered(items: Iterable[tuple[str, str, str]]) -> list[Row]:
    """Rows without a figure of ours: item, what is printed, reason."""
    return [Row(item, "", None, printed or None, reason) for item, printed, reason in items]


# ----------------------------------------------------------------------------------------------------------- PRO-SCALE


def proscale_costs() -> list[Row]:
    """Costs of Tables 1, 2, 5, 6, 7, T1, T2, T4 and of Figure 7."""
    from benchmarks.flops import cost_tables

    tables, rows = cost_tables(), []
    for data in ("coco", "cityscapes"):
        for row in tables[data]:
            command = f"{COUNT.format('proscale')} --data {data}"
            total = row.get("mean 1129", row.get("total 2048"))
            size = "mean width 1129" if data == "coco" else "1024x2048"
            if row["paper total"] is None:
                continue
            rows.append(Row(f"{row['model']}, {data}: total GFLOPs", command, total, row["paper total"], size))
            size = f"width {row['encoder width']}"
            rows.append(
                Row(f"{row['model']}, {data}: encoder GFLOPs", command, row["encoder"], row["encoder paper"], size)
            )
    for row in tables["detection"]:
        note = f"whole transformer at 800x1199, see the module; encoder layers alone {row['layers']:.1f}"
        item = f"{row['model']}, detection (Table T1): encoder GFLOPs"
        rows.append(Row(item, COUNT.format("proscale"), row["transformer"], row["paper"], note))
    for row in tables["open vocabulary"]:
        note = f"mean width 1129, with MaskCLIP's tower as in its official code; ours runs {row['tower executed']:.1f} "
        note += f"of its {row['tower']:.1f}"
        item = f"{row['model']}, open vocabulary (Table T2): total GFLOPs"
        rows.append(Row(item, COUNT.format("proscale"), row["total"], row["paper"], note))
    return rows


def proscale_parameters() -> list[Row]:
    """Parameters, where printed or counted on the official code."""
    from benchmarks.parameters import parameter_table

    return [
        Row(f"{row['model']}, {row['data']}: parameters (M)", PARAMETERS.format("proscale"), row["total (M)"],
            row["published (M)"])
        for row in parameter_table()
        if row["published (M)"] is not None
    ]  # fmt: skip


def proscale_schedules() -> list[Row]:
    """Training settings of section 4 and of the yaml files."""
    coco, city, boxes = (recipe(f"proscale-{name}") for name in ("r50-coco", "r50-cityscapes", "r50-coco-detection"))
    names = [train(f"proscale-{name}") for name in ("r50-coco", "r50-cityscapes", "r50-coco-detection")]
    epochs = boxes.run.max_steps / (118_287 / boxes.data.batch_size)
    yaml = "the paper's text: 0.9 and 0.95; the authors' yaml: 0.889 and 0.963, which the recipe follows"
    return [
        Row("COCO: updates", names[0], coco.run.max_steps, 368_750),
        Row("COCO: batch", names[0], coco.data.batch_size, 16),
        Row("COCO: learning rate", names[0], coco.optimizer.learning_rate, 1e-4),
        Row(
            "COCO: backbone's learning rate",
            names[0],
            rate("proscale-r50-coco", 0) * coco.optimizer.backbone_multiplier,
            1e-5,
        ),
        Row("COCO: weight decay", names[0], coco.optimizer.weight_decay, 0.05),
        Row("COCO: first drop at a share of", names[0], coco.schedule.milestones[0] / coco.run.max_steps, 0.889, yaml),
        Row("COCO: second drop at a share of", names[0], coco.schedule.milestones[1] / coco.run.max_steps, 0.963, yaml),
        Row("Cityscapes: updates", names[1], city.run.max_steps, 90_000),
        Row("Cityscapes: first drop at a share of", names[1], city.schedule.milestones[0] / city.run.max_steps, 0.9),
        Row("Cityscapes: second drop at a share of", names[1], city.schedule.milestones[1] / city.run.max_steps, 0.95),
        Row("Detection: epochs of COCO", names[2], epochs, 12, "118,287 images"),
    ]


def proscale_rows() -> list[Row]:
    """Everything of PRO-SCALE."""
    rest = not_covered(
        [
            ("Tables 1, 2, 5, 7, T4, Figure 7: PQ, mIoU, AP of every model", "see the cards",
             NO_WEIGHTS + " but for two COCO files, which are not available here"),
            ("Table T1: box AP", "49.0 and 49.4", NO_WEIGHTS),
            ("Table T2: open vocabulary, PQ on COCO and ADE20K", "34.53 and 16.53", NO_WEIGHTS),
            ("Ablations: temperature of the gate, average against max pooling", "60.05 to 60.58, 61.47",
             NO_WEIGHTS + "; both are options (`trc_temperature`, `lpe`)"),
            ("Figure 8: results from self-supervised MoBY weights", "", "its file is read by "
             "`model.backbone=moby_swin_t.pth`; " + NO_WEIGHTS),
            ("Figures F1, F2: token redundancy, gates", "",
             "drawn by twenty lines of docs/architectures/proscale.md; no figure is printed in numbers"),
        ]
    )  # fmt: skip
    return [*proscale_costs(), *proscale_parameters(), *proscale_schedules(), *rest]


# -------------------------------------------------------------------------------------------------------- other papers


def vpnext_rows() -> list[Row]:
    """Everything of VPNeXt."""
    from benchmarks.vpnext_cost import PYRAMID, PYRAMID_RECIPE, vpnext_cost_tables

    tables = vpnext_cost_tables()
    note = "384x384, 2 FLOPs per multiply-add, G of 2^30: the paper states neither"
    larger = next(row["executed GMAC"] for row in tables["512 x 512"] if row["model"] == PYRAMID) * 2e9 / 2**30
    pyramid = (
        f"`{PYRAMID_RECIPE}`, 1024 channels wide, at 384x384; {larger:,.0f} at 512x512; the paper states "
        "neither width nor size"
    )
    rows = [
        Row(f"Table III, {row['model']}: GFlops", COUNT.format("vpnext"), row["GFlops"], row["paper"] or "> 2000",
            note if row["paper"] is not None else pyramid)
        for row in tables["Table III"]
    ]  # fmt: skip
    name = "vpnext-eva02-l-pascal-context"
    context = recipe(name)
    rows += [
        Row("Pascal Context: updates", train(name), context.run.max_steps, 20_000),
        Row("Pascal Context: batch", train(name), context.data.batch_size, 16),
        Row("Optimizer", train(name), context.optimizer.name, "AdamW", "clipped by norm, as the paper says"),
        Row("Learning rate, head and last block", train(name), context.optimizer.learning_rate, None, "PlainSeg's and "
            "EVA-02's; the paper prints none"),
    ]  # fmt: skip
    return rows + not_covered(
        [
            (
                "Table I: mask-decoder baseline, mIoU",
                "67.88",
                f"`hfseg train --recipe vpnext-eva02-l-pascal-context-mask-decoder`; {NO_WEIGHTS}",
            ),
            ("Pascal Context, COCO-Stuff, Cityscapes: mIoU, one scale", "70.0, 53.0, 83.0", NO_WEIGHTS),
            (
                "The same, scales and flip",
                "71.1, 53.7, 84.4",
                NO_WEIGHTS + "; `hfseg evaluate --mode multiscale --flip` measures it",
            ),
            ("Ablations of VCR's layers and HiCLR's iterations", "66.50 to 70.00", NO_WEIGHTS + "; all are options"),
            (
                "Ablations of ViTUp: without it, bilinear, with a mock pyramid",
                "68.8, 68.83, 69.01",
                NO_WEIGHTS + "; `use_vitup=False` and `vitup_upsampler=mock_pyramid` are options, bilinear is none",
            ),
            ("VOC2012 test server", "92.2", "`scripts/voc_submission.py` packs results for it; " + NO_WEIGHTS),
            ("Figure 4: affinity", "", "drawn in docs/architectures/vpnext.md; no figure is printed in numbers"),
        ]
    )


def unisegformer_rows() -> list[Row]:
    """Everything of UniSegFormer's page, which names no figure of accuracy, size or cost."""
    from benchmarks.unisegformer_cost import parameter_table

    name = "unisegformer-xlarge-pretraining"
    settings, fine = recipe(name), recipe("unisegformer-large-cityscapes")
    plan = settings.run.evaluation["plan"]["processes"]
    batch = settings.data.batch_size * settings.run.gradient_accumulation_steps * plan
    rows = [
        Row("Pre-training: peak learning rate", train(name), rate(name, 0.05), 1.5e-4),
        Row("Pre-training: learning rate at the end", train(name), rate(name, 1.0), 0.0),
        Row(
            "Pre-training: warm-up, share of the updates",
            train(name),
            settings.schedule.warmup_steps / settings.run.max_steps,
            0.05,
        ),
        Row("Pre-training: effective batch", train(name), batch, 2048, f"{plan} processes"),
        Row("Pre-training: accumulation", train(name), settings.run.gradient_accumulation_steps, 4),
        Row("Pre-training: precision", train(name), settings.run.mixed_precision, "bf16"),
        Row("Fine-tuning: learning rate", train("unisegformer-large-cityscapes"), fine.optimizer.learning_rate, 5e-5),
    ]
    named = [one["name"] for one in settings.data.train["segments"]]
    labels = {"coco_panoptic": "COCO", "ade20k_panoptic": "ADE20K", "open_images": "OpenImages"}
    together = ", ".join(labels[one] for one in named)
    rows.append(Row("Pre-training: segmentation datasets together", train(name), together, "COCO, ADE20K, OpenImages"))
    for row in parameter_table():
        note = f"nothing is printed; this project's specification says {row['specified (M)']}"
        rows.append(
            Row(f"{row['size']}: parameters (M)", PARAMETERS.format("unisegformer"), row["total (M)"], None, note)
        )
    return rows + not_covered(
        [
            ("1.2 billion pairs, 64 GPUs, six weeks", "", "not repeatable here; `--dry_run` prints the plan's cost"),
            ("mIoU on held-out splits", "", "nothing is printed; the recipe evaluates it on each dataset"),
            (
                "The proprietary panoptic set",
                "",
                "not public; `unisegformer-*-panoptic-folder` takes any of that format",
            ),
        ]
    )


def meddensevit_rows() -> list[Row]:
    """Everything of the medical model's page."""
    from benchmarks.medical_cost import parameter_table

    name = "meddensevit-base-ct"
    settings = recipe(name)
    rows = [
        Row("Warm-up, share of the updates", train(name), settings.schedule.warmup_steps / settings.run.max_steps, 0.1),
        Row("Learning rate at the end", train(name), rate(name, 1.0), 1e-6),
        Row("Global batch", train(name), settings.run.global_batch_size, 256, "checked against processes x batch x "
            "accumulation"),
        Row("Precision", train(name), settings.run.mixed_precision, "fp16"),
        Row(
            "Modalities in one recipe",
            train("meddensevit-base-ct-mr-xray"),
            ", ".join(sorted(one["modality"] for one in recipe("meddensevit-base-ct-mr-xray").data.train["datasets"])),
            "CT, MR, XR",
        ),
        Row("Input", train(name), "x".join(map(str, settings.data.collator["size"])), "512x512"),
    ]  # fmt: skip
    for row in parameter_table():
        note = f"nothing is printed; this project's specification says {row['specified (M)']}"
        rows.append(
            Row(f"{row['model']}: parameters (M)", PARAMETERS.format("meddensevit"), row["total (M)"], None, note)
        )
    return rows + not_covered(
        [
            ("1.8 million annotated images", "", "the larger part is not public; recipes for public sets"),
            ("DSC and ASSD of prostate and nodules", "", "no figure is printed; " + NO_WEIGHTS),
        ]
    )


def cris_rows() -> list[Row]:
    """Everything of CRIS (CVPR 2022, and chapter 2 of the thesis)."""
    from benchmarks.cris import parameter_table

    name = "cris-r50-refcoco"
    settings = recipe(name)
    batch = settings.data.batch_size * settings.run.gradient_accumulation_steps
    rows = [
        Row(f"Table 2.1, {row['row']}: parameters (M)", PARAMETERS.format("cris"), row["total (M)"],
            row["published (M)"])
        for row in parameter_table()
        if row["published (M)"] is not None
    ]  # fmt: skip
    rows += [
        Row("Epochs", train(name), settings.run.epochs, 50),
        Row("Batch", train(name), batch, 64, "one process: 8 x accumulation of 8"),
        Row("Learning rate", train(name), settings.optimizer.learning_rate, 1e-4, "of all but CLIP's towers, which "
            "move at a tenth from epoch 2 on, as in the official code"),
        Row("Drop of the learning rate at epoch", train(name), settings.schedule.milestones[0] * settings.run.epochs,
            35),
        Row("Drop of the learning rate, factor", train(name), settings.schedule.gamma, 0.1),
        Row("Words per expression, RefCOCO", train(name), settings.data.collator["max_length"], 17),
        Row("Words per expression, RefCOCOg", train("cris-r50-refcocog"),
            recipe("cris-r50-refcocog").data.collator["max_length"], 22),
    ]  # fmt: skip
    return rows + not_covered(
        [
            ("RefCOCO, RefCOCO+, G-Ref: mean IoU", "69.52, 61.39, 59.35", NO_WEIGHTS + "; `hfseg evaluate --dataset "
             "refcoco:ROOT` gives mean IoU, overall IoU and Pr@X"),
            ("Table 2.1: IoU and Pr@X of its rows", "62.66 to 69.52", NO_WEIGHTS + "; every row is an option"),
            ("Table 2.1: images per second on a V100", "17.84 to 27.30", "no such device; beside the official code on "
             "one core: the cards"),
            ("Training sizes of RefCOCO+", "120,624", "the thesis contradicts its own totals, from which follow "
             "120,191"),
        ]
    )  # fmt: skip


def unpairseg_rows() -> list[Row]:
    """Everything of Unpair-Seg (arXiv 2402.08960, and chapter 3 of the thesis)."""
    from benchmarks.unpairseg import parameter_table
    from hfseg import UnpairSegConfig, UnpairSegImageProcessor

    total = next(row["parameters"] for row in parameter_table() if row["part"].startswith("sum"))
    names = ("unpairseg-thesis-stage1", "unpairseg-thesis-stage2")
    first, second = (recipe(name) for name in names)
    weights, config, processor = first.model.config, UnpairSegConfig(), UnpairSegImageProcessor()
    points = "hfseg evaluate --task promptable"
    rows = [
        Row("Table 3.3: parameters (M)", PARAMETERS.format("unpairseg"), total / 1e6, 221, "without the text tower"),
        Row("Stage 1: updates", train(names[0]), first.run.max_steps, 200_000),
        Row("Stage 1: batch", train(names[0]), first.data.batch_size, 64),
        Row("Stage 1: learning rate", train(names[0]), first.optimizer.learning_rate, 1e-4),
        Row("Stage 1: weight decay", train(names[0]), first.optimizer.weight_decay, 0.05),
        Row("Stage 1: share of SA-1B", train(names[0]), first.data.train["share"], 0.5),
        Row("Stage 1: crop", train(names[0]), first.data.collator["size"], 1024),
        Row("Stage 1: weight of binary cross-entropy", train(names[0]), weights["mask_weight"], 2),
        Row("Stage 1: weight of Dice", train(names[0]), weights["dice_weight"], 1),
        Row("Stage 1: weight of the score", train(names[0]), weights["iou_weight"], 5, "the released configuration: 1"),
        Row("Stage 2: updates", train(names[1]), second.run.max_steps, 30_000),
        Row("Stage 2: batch", train(names[1]), second.data.batch_size, 32),
        Row("Stage 2: learning rate", train(names[1]), second.optimizer.learning_rate, 2e-5),
        Row("Stage 2: sizes of regions", train(names[1]), " / ".join(map(str, second.model.config["region_sizes"])),
            "896 / 1024 / 1152", "the released configuration: 896 and 1024"),
        Row("Grid of points per side", points, config.points_per_side, 20),
        Row("Suppression: IoU", "hfseg predict", processor.iou_threshold, 0.5, "the released code's"),
        Row("Suppression: cover", "hfseg predict", processor.cover_threshold, 0.7, "the released code's"),
    ]  # fmt: skip
    return rows + not_covered(
        [
            ("Table 3.3: 1-pt and 1-box IoU, COCO and ADE20K", "80.8 and 76.9, 76.9 and 77.3", NOT_HERE + "; "
             "`hfseg evaluate --task promptable --dataset promptable-sets:ROOT` measures both"),
            ("Table 3.4: 1-pt and 1-box IoU of eleven sets", "see the cards", NOT_HERE + "; the same command, "
             "each set apart"),
            ("Open vocabulary: mIoU of seven sets", "14.6 to 92.8", NO_WEIGHTS + "; stage 2 was never released"),
            ("Open vocabulary: PQ of COCO, ADE20K, Cityscapes", "29.0, 22.8, 26.2", NO_WEIGHTS),
            ("Ablations: captions, matching, adapter, scales", "26.0 to 29.0 PQ", NO_WEIGHTS + "; all are options"),
            ("109 and 7 hours on eight H100", "", "not repeatable here"),
            ("Rank and inputs of the semantic adapter, milestones", "", "not published: ours are marked in the "
             "configuration"),
        ]
    )  # fmt: skip


def lavin_dit_rows() -> list[Row]:
    """Everything of LaVin-DiT (arXiv 2411.11505, and chapter 4 of the thesis)."""
    from benchmarks.lavin_dit import COUNTED, cost_row, parameter_table
    from hfseg.data.readers.in_context import PAPER_TASKS
    from hfseg.models.lavin_dit.transformer_lavin_dit import PUBLISHED_SIZES

    printed = {"0.1B": (512, 12, 8), "1.0B": (1024, 28, 16), "3.4B": (2304, 22, 32)}
    rows = []
    for row in parameter_table()[:3]:
        size = row["model"].removeprefix("J-DiT ")
        note = "printed: the official class, counted; the paper rounds"
        rows.append(Row(f"Table 4.1, {size}: parameters (M)", PARAMETERS.format("lavin_dit"), row["parameters"] / 1e6,
                        row["authors' class"] / 1e6, note))  # fmt: skip
        fields = PUBLISHED_SIZES[size]
        widths = (fields["num_attention_heads"] * fields["attention_head_dim"], fields["num_layers"],
                  fields["num_attention_heads"])  # fmt: skip
        for what, own, theirs in zip(("width", "blocks", "heads"), widths, printed[size]):
            rows.append(Row(f"Table 4.1, {size}: {what}", PARAMETERS.format("lavin_dit"), own, theirs))
    for (side, pairs), counted in COUNTED.items():
        own = cost_row("3.4B", side, pairs)["forward"]
        note = f"nothing is printed; the official class counts {counted}"
        item = f"3.4B, {side} x {side}, {pairs} pairs: TFLOP of a forward"
        rows.append(Row(item, COUNT.format("lavin_dit"), own, None, note))
    names = ("lavin-dit-3.4b-stage1", "lavin-dit-3.4b-stage2")
    first, second = (recipe(name) for name in names)
    tasks = len(set(first.data.train["tasks"]) & set(PAPER_TASKS))
    rows += [
        Row("Table 4.2: tasks in the mixture", train(names[0]), tasks, 22),
        Row("Stage 1: steps", train(names[0]), first.run.max_steps, 100_000),
        Row("Stage 1: learning rate", train(names[0]), first.optimizer.learning_rate, 1e-4),
        Row("Stage 1: pixels", train(names[0]), first.data.collator["height"], 256),
        Row("Stage 2: steps", train(names[1]), second.run.max_steps, 20_000),
        Row("Stage 2: learning rate", train(names[1]), second.optimizer.learning_rate, 5e-5),
        Row("Stage 2: pixels", train(names[1]), second.data.collator["height"], 512),
        Row("Batch", train(names[0]), 64 * first.data.batch_size, 640, "64 processes"),
        Row("Weight decay", train(names[0]), first.optimizer.weight_decay, 0.01),
        Row("Second beta of AdamW", train(names[0]), first.optimizer.betas[1], 0.95),
        Row("Gradient clipping", train(names[0]), first.optimizer.clip_norm, 1),
        Row("EMA", train(names[0]), str(first.run.ema_decay), "0.9999"),
        Row("Share without examples", train(names[0]), first.model.config["unconditional_ratio"], 0.1),
        Row("Figure 4.18: latency with the VAE", "python scripts/benchmark.py lavin-curves --parts latency", None,
            "4.67 s, 20.1 s", "the command draws the curve; no accelerator here to compare with an A100"),
    ]  # fmt: skip
    return rows + not_covered(
        [
            ("Figure 4.16: model size", "0.609, 0.311, 0.273", NO_WEIGHTS + " of 0.1B and 1.0B; `lavin-curves --parts "
             "scaling` draws three small ones (learning.md)"),
            ("Figure 4.19: number of examples", "", NOT_HERE + "; `lavin-curves --parts context` draws it of a "
             "small model (learning.md)"),
            ("Colorization: MSE of 3.4B", "0.24 or 0.273", "the table and the figure contradict each other; "
             + NOT_HERE),
            ("Foreground segmentation, Pascal-5i: mIoU", "67.87, 75.80, 66.98, 66.90", NOT_HERE),
            ("Single object detection, Pascal-5i: mIoU", "67.85, 69.32, 68.76, 68.88", NOT_HERE + "; called not "
             "trained in the text, trained in Table 4.2"),
            ("NYUv2: AbsRel, delta1, normals", "6.2, 96.1, 15.901", NOT_HERE),
            ("Inpainting: FID", "1.65", NOT_HERE),
            ("ST-VAE: losses of reconstruction", "", "the paper names the terms without weights; ours are marked"),
        ]
    )  # fmt: skip


PAPERS = {
    "PRO-SCALE (arXiv 2404.14657)": proscale_rows,
    "VPNeXt (arXiv 2502.16654)": vpnext_rows,
    "UniSegFormer": unisegformer_rows,
    "MedDenseViT": meddensevit_rows,
    "CRIS (arXiv 2111.15174)": cris_rows,
    "Unpair-Seg (arXiv 2402.08960)": unpairseg_rows,
    "LaVin-DiT (arXiv 2411.11505)": lavin_dit_rows,
}


def shown(value: float | str | None) -> str:
    """A figure as it stands in the table."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if value and abs(value) < 0.01:
        return f"{value:.3g}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}" if abs(value) >= 10 else f"{value:.3f}"


def deviation(row: Row) -> str:
    """By how much ours differs, in percent, where both are numbers."""
    if row.ours is None:
        return "not covered"
    if isinstance(row.printed, str) and row.printed.startswith("> "):  # a bound
        return "below" if float(row.ours) <= float(row.printed[2:]) else "within"
    if isinstance(row.ours, str) or isinstance(row.printed, str):
        return (
            "-" if row.printed is None else "same" if str(row.ours).lower() == str(row.printed).lower() else "differs"
        )
    if row.printed is None:
        return "-"
    if row.printed == 0:
        return f"{row.ours:+.2g}"
    return f"{100 * (row.ours / row.printed - 1):+.2f} %"


def render(tables: dict[str, list[Row]]) -> str:
    """Writes the page."""
    lines = [
        "# Paper by paper",
        "",
        "What seven papers print, the command that gives ours, and both. Written by",
        "`python scripts/benchmarks/papers.py`, which computes every figure from the code: models are counted by",
        "shapes alone, recipes are read. GFLOPs count one multiply-add once. What is not covered says why.",
    ]
    for title, rows in tables.items():
        compared = [row for row in rows if row.ours is not None and row.printed is not None]
        missing = sum(row.ours is None for row in rows)
        lines += ["", f"## {title}", "", f"{len(compared)} items compared, {missing} not covered.", ""]
        lines += ["| item | command | ours | printed | difference | note |", "|---|---|---|---|---|---|"]
        for row in rows:
            command = f"`{row.command}`" if row.command else "-"
            cells = (row.item, command, shown(row.ours), shown(row.printed), deviation(row), row.note or "-")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(file: Path = PAGE) -> None:
    """Computes all rows and writes the page."""
    from hfseg.files.writing import write_text

    write_text(file, render({title: rows() for title, rows in PAPERS.items()}))
    print(f"{file} is written.")


if __name__ == "__main__":
    sys.path.append(str(ROOT / "scripts"))  # behind the packages: its evaluate.py would hide one of that name
    main(*map(Path, sys.argv[1:2]))
