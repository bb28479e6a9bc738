# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Which function measures what: kind of measurement, and of some kinds the architecture, to a function of the options.

A new table is one function here, below `@measures`. Modules are imported when their function runs.
"""

import argparse
from collections.abc import Callable

import torch
import yaml

Result = tuple[dict[str, list[dict]], list[str]]
Measurement = Callable[[argparse.Namespace], Result]

REGISTRY: dict[tuple[str, str | None], Measurement] = {}
# Kind -> the option that says whose.
CHOICES = {"params": "table", "flops": "table", "speed": "model", "learn": "architecture"}


def measures(kind: str, *whose: str) -> Callable[[Measurement], Measurement]:
    """Registers a function for a kind of measurement, and of some kinds for architectures."""

    def register(function: Measurement) -> Measurement:
        for name in whose or (None,):
            REGISTRY[kind, name] = function
        return function

    return register


def find(options: argparse.Namespace) -> Measurement:
    """Looks up what serves the options.

    Raises:
        ValueError: If there is no such table.
    """
    whose = getattr(options, CHOICES[options.what]) if options.what in CHOICES else None
    function = REGISTRY.get((options.what, whose))
    if function is None:
        raise ValueError(f"There is no table of {options.what} of {whose}; the paper prints none.")
    return function


# ------------------------------------------------------------------------------------------------- counts of the papers
@measures("params", "proscale")
def proscale_parameters(options: argparse.Namespace) -> Result:
    from .parameters import NOTES, parameter_table

    return {"Parameters": parameter_table()}, NOTES


@measures("flops", "proscale")
def proscale_flops(options: argparse.Namespace) -> Result:
    from .flops import NOTES, cost_tables

    return cost_tables(options.data), NOTES


@measures("params", "vpnext")
def vpnext_parameters(options: argparse.Namespace) -> Result:
    from .vpnext_cost import NOTES, vpnext_parameter_table

    return {"Parameters": vpnext_parameter_table()}, NOTES[:1]


@measures("flops", "vpnext")
def vpnext_flops(options: argparse.Namespace) -> Result:
    from .vpnext_cost import NOTES, vpnext_cost_tables

    return vpnext_cost_tables(), NOTES


@measures("params", "cris", "unpairseg")
def text_model_parameters(options: argparse.Namespace) -> Result:
    from . import cris, unpairseg

    module = cris if options.table == "cris" else unpairseg
    return {"Parameters": module.parameter_table()}, module.PARAMETER_NOTES


@measures("flops", "cris")
def cris_flops(options: argparse.Namespace) -> Result:
    from .cris import COST_NOTES, cost_tables

    return cost_tables(), COST_NOTES


@measures("params", "lavin_dit")
def lavin_dit_parameters(options: argparse.Namespace) -> Result:
    from .lavin_dit import NOTES, parameter_table

    return {"Parameters": parameter_table()}, NOTES


@measures("flops", "lavin_dit")
def lavin_dit_flops(options: argparse.Namespace) -> Result:
    from .lavin_dit import NOTES, cost_tables

    return cost_tables(), NOTES


@measures("params", "meddensevit")
def meddensevit_parameters(options: argparse.Namespace) -> Result:
    from .medical_cost import NOTES, parameter_table

    return {"Parameters": parameter_table()}, NOTES


@measures("params", "unisegformer")
def unisegformer_parameters(options: argparse.Namespace) -> Result:
    from .unisegformer_cost import NOTES, parameter_table

    return {"Parameters": parameter_table()}, NOTES[:1]


@measures("flops", "unisegformer")
def unisegformer_flops(options: argparse.Namespace) -> Result:
    from .unisegformer_cost import NOTES, cost_table

    return {"Multiply-adds": cost_table()}, NOTES


# ------------------------------------------------------------------------------------- speed, compared with other code
@measures("speed", "proscale")
def proscale_speed(options: argparse.Namespace) -> Result:
    from .speed import SpeedOptions, forward_table, postprocess_table

    options.backbone, options.rows = options.backbone or "Swin-T", options.rows or ["3,3,3", "1,1,1", "full"]
    if options.against not in (None, ["transformers:mask2former"]):
        raise ValueError("--model proscale is measured against transformers:mask2former only.")
    settings = SpeedOptions.from_namespace(options)
    if options.training:
        from .training_step import training_table

        return training_table(settings)
    return (postprocess_table if options.postprocess else forward_table)(settings)


@measures("speed", "unisegformer")
def unisegformer_speed(options: argparse.Namespace) -> Result:
    from .speed import SpeedOptions
    from .unisegformer import speed_table

    options.backbone, options.rows = options.backbone or "Swin-T", options.rows or ["3,3,3", "1,1,1", "full"]
    return speed_table(SpeedOptions.checked(options))


@measures("speed", "vpnext")
def vpnext_speed(options: argparse.Namespace) -> Result:
    from .semantic_speed import PEERS, VARIANTS, semantic_speed_table, vit
    from .speed import SpeedOptions

    options.backbone, options.rows = options.backbone or "ViT-S", options.rows or list(VARIANTS)
    peers = [name.partition(":")[2] for name in options.against or ()] or list(PEERS)
    vit(options.backbone)  # a wrong name ends here
    return semantic_speed_table(SpeedOptions.checked(options), options.rows, peers)


@measures("speed", "cris")
def cris_speed(options: argparse.Namespace) -> Result:
    from .cris import speed_table
    from .speed import SpeedOptions

    if options.authors_code is None:
        raise ValueError("--model cris needs --authors_code DIR, a checkout of CRIS.pytorch.")
    options.backbone, options.rows = "Swin-T", []
    return speed_table(SpeedOptions.checked(options), options.authors_code)


@measures("speed", "lavin_dit")
def lavin_dit_speed(options: argparse.Namespace) -> Result:
    from .lavin_dit import speed_tables

    return speed_tables(options)


@measures("masks")
def mask_generation_speed(options: argparse.Namespace) -> Result:
    from .unpairseg import speed_table

    torch.set_num_threads(options.threads or torch.get_num_threads())
    grid = (options.size, options.points, options.rounds)
    return speed_table(
        *grid,
        options.against,
        options.authors_code,
        warmup=options.warmup,
        device=options.device,
        dtype=options.dtype,
    )


@measures("data")
def input_pipeline(options: argparse.Namespace) -> Result:
    from .data import DataOptions, data_tables

    return data_tables(DataOptions.from_namespace(options))


@measures("volume")
def volume_speed(options: argparse.Namespace) -> Result:
    from .volumes import volume_table

    return volume_table(tuple(options.shape), tuple(options.size), options.batch, options.rounds)


# ----------------------------------------------------------------------------------------------------- what is learned
@measures("learn", "proscale")
def universal_learning_of_peers(options: argparse.Namespace) -> Result:
    from .learning import learning_table

    return learning_table(options.data, options.minutes, options.overrides, options.sides)


@measures("learn", "vpnext")
def semantic_learning(options: argparse.Namespace) -> Result:
    from .semantic_learning import DEFAULT_MODES, semantic_learning_table

    modes = options.modes or list(DEFAULT_MODES)
    return semantic_learning_table(options.data, options.overrides, modes, options.seeds, options.finished)


@measures("learn", "unisegformer")
def universal_learning(options: argparse.Namespace) -> Result:
    from .universal_learning import universal_learning_table

    modes = options.modes or ["exchange", "no-exchange", *(["pretrained"] if options.pretrained else [])]
    chosen = (modes, options.seeds, options.pretrained, options.keep, options.finished)
    return universal_learning_table(options.data, options.overrides, *chosen)


@measures("variants")
def variants(options: argparse.Namespace) -> Result:
    from .variants import parse_variants, variant_tables

    return variant_tables(
        options.recipe,
        parse_variants(options.variants),
        options.overrides,
        options.seeds,
        options.metrics,
        tuple(options.image_size) if options.image_size else None,
        options.keep,
        options.again,
        options.finished,
    )


@measures("pipelines")
def pipelines(options: argparse.Namespace) -> Result:
    from .pipelines import pipeline_table

    height_and_width = [tuple(map(int, text.split("x"))) for text in options.sizes]
    return pipeline_table(height_and_width, options.rounds, options.finished)


@measures("distill")
def distillation(options: argparse.Namespace) -> Result:
    from .distillation import distillation_tables

    chosen = (options.teacher, options.minutes, options.seeds, options.teacher_updates)
    return distillation_tables(*chosen, options.finished)


@measures("medical")
def medical_learning(options: argparse.Namespace) -> Result:
    from .medical import medical_learning_table

    arguments = (options.data, options.minutes, options.sides, options.overrides, options.keep)
    return medical_learning_table(*arguments)


@measures("open-vocabulary")
def open_vocabulary(options: argparse.Namespace) -> Result:
    if options.model is not None:
        from .mask_names import mask_names_table

        return mask_names_table(options.model, options.scenes, options.image)
    from .open_vocabulary import open_vocabulary_table

    return open_vocabulary_table(options.folder, options.scenes, options.finished)


@measures("oracle")
def oracle(options: argparse.Namespace) -> Result:
    from .unpairseg import oracle_table

    given = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.arguments)}
    return oracle_table(options.model, options.reader, given, options.points)


@measures("in-context")
def in_context(options: argparse.Namespace) -> Result:
    from .in_context import in_context_table

    return in_context_table(options.model, options.scenes, options.points, options.guidance, options.image)


@measures("pretraining")
def pretraining(options: argparse.Namespace) -> Result:
    from .pretraining import pretraining_tables

    return pretraining_tables(options.model, options.overrides, options.image)


@measures("referring")
def referring(options: argparse.Namespace) -> Result:
    from .referring import referring_tables

    return referring_tables(options.model, options.scenes, options.grid, options.scene_size)


@measures("waits")
def waits(options: argparse.Namespace) -> Result:
    from .waits import waits_table

    return waits_table(options.parts, options.rounds, options.tiny)


@measures("gpu")
def gpu(options: argparse.Namespace) -> Result:
    from .arguments import build_parser
    from .gpu_tables import gpu_tables

    return gpu_tables(options, build_parser().parse_args, find)


@measures("growth")
def growth(options: argparse.Namespace) -> Result:
    from .growth import growth_tables

    return growth_tables(options.parts, options.rounds, options.tiny)


@measures("precision")
def half_precision(options: argparse.Namespace) -> Result:
    from .half_precision import half_precision_table

    return half_precision_table(options.architectures, options.rounds, options.scenes, options.volumes)


@measures("lavin-curves")
def lavin_curves(options: argparse.Namespace) -> Result:
    from .lavin_dit_curves import curve_tables

    return curve_tables(options)
