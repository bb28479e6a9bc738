# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""How cost grows: with the side of an image, targets, live queries, names, and images in a folder.

Each part gives a table whose first column is what grows. `growth_plots.py` draws the figures of the documentation from
the written results.
"""

import contextlib
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from .waits import Row, loss_rows, paired, postprocess_rows

NOTES = [
    "CPU time of one thread. With a peer: both sides in one process, in turns, medians over rounds; ratio: median over "
    "rounds of ours / peer.",
    "side: forward pass of PRO-SCALE (3,3,3), ResNet-50, beside transformers' Mask2Former of the same backbone, square "
    "images of noise; MiB: peak of tensor memory during a forward pass.",
    "targets: loss of ten predictions of 300 queries with gradients, 64x88 maps, beside transformers' Mask2FormerLoss.",
    "queries: post-processing of one 480x640 image from 300 queries, of which some show objects, beside transformers' "
    "Mask2FormerImageProcessor.",
    "names: image: of the shipped open-vocabulary model, a 128x128 scene, names embedded before; embedding: of "
    "the 14 sentences per name of the set `vild` in a text encoder of CLIP ViT-B/32's size, then again (from the disk, "
    "where there are many).",
    "folder: `hfseg predict` of 64x64 images with a small PRO-SCALE, in a process of its own; MiB: peak of that "
    "process, libraries included.",
]


# ---------------------------------------------------------------------------------------------------------------- side
def side_rows(rounds: int, tiny: bool = False) -> list[Row]:
    """Forward passes by the side of the image."""
    from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation

    from .published import encoder_fields
    from .speed import SpeedOptions, build_mask2former, measure_memory, pixel_values

    theirs = build_mask2former("R50")
    ours = ProScaleForUniversalSegmentation.from_mask2former(theirs, **encoder_fields("3,3,3")).eval()
    rows = []
    for side in (64, 96) if tiny else (256, 384, 512, 768, 1024, 1536):
        settings = SpeedOptions(size=(side, side), device="cpu")
        images = pixel_values(settings, 1)

        def run(model: Any, images: torch.Tensor = images) -> None:
            with torch.no_grad():
                model(pixel_values=images)

        row = paired(str(side), lambda run=run: run(ours), lambda run=run: run(theirs), rounds, "")
        memory = [measure_memory(lambda run=run, model=model: run(model), settings) for model in (ours, theirs)]
        rows.append({"side": side, **_figures(row), "ours MiB": memory[0], "peer MiB": memory[1]})
    return rows


def _figures(row: Row) -> Row:
    """The figures of a row of `waits`, without its words."""
    return {name: row[name] for name in ("ours ms", "peer ms", "ratio", "ratios")}


# ---------------------------------------------------------------------------------------------------- targets, queries
def target_rows(rounds: int, tiny: bool = False) -> list[Row]:
    """Losses by the number of targets."""
    counts = (1, 3) if tiny else (1, 10, 100, 300)
    rows = loss_rows(rounds, tiny, counts, queries=10 if tiny else 300)
    return [{"targets": count, **_figures(row)} for count, row in zip(counts, rows)]


def query_rows(rounds: int, tiny: bool = False) -> list[Row]:
    """Post-processing by the number of queries that show an object."""
    queries, size = (8, (48, 64)) if tiny else (300, (480, 640))
    counts = (1, 8) if tiny else (1, 10, 100, 300)
    rows = postprocess_rows(rounds, tiny, [(count, queries, size) for count in counts])
    tasks = ("panoptic", "instance", "semantic")
    return [
        {"queries": counts[number // 3], "task": tasks[number % 3], **_figures(row)} for number, row in enumerate(rows)
    ]


# --------------------------------------------------------------------------------------------------------------- names
class TextEncoder(nn.Module):
    """A text encoder with random weights, as an open-vocabulary processor uses one."""

    def __init__(self, tiny: bool) -> None:
        super().__init__()
        sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1} if tiny else {}
        torch.manual_seed(0)
        self.text_model: Any = CLIPTextModelWithProjection(CLIPTextConfig(projection_dim=512, **sizes)).eval()
        self.device = torch.device("cpu")

    @torch.no_grad()
    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Shape: `(N, L)`, `(N, L)` -> `(N, 512)`."""
        return self.text_model(input_ids=input_ids, attention_mask=attention_mask).text_embeds


def _seconds(function: Callable[[], Any]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def name_rows(rounds: int, tiny: bool = False) -> list[Row]:
    """An image of the open-vocabulary model, and the embedding of names, by the number of names."""
    from transformers import pipeline

    import hfseg
    from hfseg.data.synthetic.shapes import render_scene

    segmenter: Any = pipeline("open-vocabulary-segmentation", model=str(hfseg.checkpoint("unpairseg-tiny-shapes")))
    scene = Image.fromarray(render_scene(0, image_size=(128, 128), split="test").image)
    encoder, rows = TextEncoder(tiny), []
    before = os.environ.get("HFSEG_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HFSEG_CACHE"] = folder
        for count in (1, 5) if tiny else (1, 10, 100, 1000):
            names = [f"star {number}" for number in range(count)]

            def image(names: list[str] = names) -> Any:
                return segmenter(scene, candidate_labels=names)

            def embedding(names: list[str] = names) -> Any:
                return segmenter.processor.embed_labels(encoder, names)

            image()
            rows.append({
                "names": count, "image ms": 1e3 * statistics.median(_seconds(image) for _ in range(rounds)),
                "embedding ms": 1e3 * _seconds(embedding), "from disk ms": 1e3 * _seconds(embedding),
            })  # fmt: skip
    os.environ.pop("HFSEG_CACHE")
    if before is not None:
        os.environ["HFSEG_CACHE"] = before
    return rows


# -------------------------------------------------------------------------------------------------------------- folder
def _small_model(folder: str) -> None:
    from hfseg.models.proscale.configuration_proscale import ProScaleConfig
    from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor
    from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation

    torch.manual_seed(0)
    backbone = {"model_type": "resnet", "embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1] * 4}
    widths = dict.fromkeys(("feature_size", "mask_feature_size", "hidden_size"), 32)
    config = ProScaleConfig(
        backbone_config={**backbone, "layer_type": "basic", "out_features": [f"stage{n}" for n in range(1, 5)]},
        encoder_stage_layers=(1, 1, 1), num_attention_heads=4,
        decoder_layers=1, dim_feedforward=64, encoder_feedforward_dim=64, num_queries=10, num_labels=5, **widths,
    )  # fmt: skip
    ProScaleForUniversalSegmentation(config).save_pretrained(folder)
    ProScaleImageProcessor(size={"shortest_edge": 64, "longest_edge": 64}).save_pretrained(folder)


def _predict_folder(count: int) -> tuple[int, int, float, float, float]:
    """Writes images and a model, and segments the images as the command does, in a process of its own.

    Returns:
        Exit code, number of files, CPU seconds, seconds that passed, and peak memory in MiB.
    """
    from hfseg.commands import predict

    from .pipelines import _high_water

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        writer = multiprocessing.get_context("fork").Process(target=_write_folder, args=(folder, count))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise RuntimeError(f"Writing {count} images failed with code {writer.exitcode}.")
        words = [f"{folder}/photos", "--model", f"{folder}/model", "-o", f"{folder}/out", "--device", "cpu", "--quiet"]
        start, waited = time.process_time(), time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            code = predict.main(words)
        seconds = time.process_time() - start
        files = len(os.listdir(f"{folder}/out"))
        return code, files, seconds, time.perf_counter() - waited, _high_water() * 1024


def _write_folder(folder: str, count: int) -> None:
    _small_model(f"{folder}/model")
    (Path(folder) / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(f"{folder}/photos/{number}.png")


def folder_rows(rounds: int, tiny: bool = False) -> list[Row]:
    """`hfseg predict` by the number of images."""
    context = multiprocessing.get_context("spawn")
    rows: list[Row] = []
    for count in (1, 3) if tiny else (1, 10, 100, 1000, 10000):
        with ProcessPoolExecutor(1, mp_context=context) as pool:  # which fails where its process dies
            code, files, seconds, waited, peak = pool.submit(_predict_folder, count).result()
        if code or files != 3 * count:
            raise RuntimeError(f"{count} images ended in code {code} and left {files} files.")
        rows.append({"images": count, "CPU s": seconds, "wall s": waited, "peak MiB": peak})
    return [*rows[:1], *(_per_image(row, rows[0]["CPU s"]) for row in rows[1:])]


def _per_image(row: Row, one_image: float) -> Row:
    """Adds what each image after the first takes; loading and the first image take `one_image` seconds."""
    return {**row, "ms per image after the first": 1e3 * (row["CPU s"] - one_image) / (row["images"] - 1)}


PARTS: dict[str, Callable[[int, bool], list[Row]]] = {
    "side": side_rows,
    "targets": target_rows,
    "queries": query_rows,
    "names": name_rows,
    "folder": folder_rows,
}


def growth_tables(parts: list[str], rounds: int, tiny: bool = False) -> tuple[dict[str, list[Row]], list[str]]:
    """Runs some parts on one thread; the machine's load average before and after goes to the notes."""
    torch.set_num_threads(1)
    before = os.getloadavg()[0]
    tables = {part: PARTS[part](rounds, tiny) for part in parts}
    load = f"Load average of the machine: {before:.1f} before, {os.getloadavg()[0]:.1f} after ({os.cpu_count()} CPUs)."
    return tables, [NOTES[0], *(note for note in NOTES if note.partition(":")[0] in parts), load]
