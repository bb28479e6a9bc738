# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The contract: what every model class of the zoo passes, whatever it computes.

A test class of an architecture derives from `ModelContract` and says how to build a tiny model, its inputs and its
labels; everything else is here. Example: `models/proscale/test_modeling_proscale.py`.

Comparisons run with weights drawn large enough for attention to be peaked (`peaked`): at initial scale softmax is
nearly uniform, and a wrong scale or an ignored mask would pass.
"""

import copy
import math
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, Trainer, TrainingArguments
from transformers.modeling_layers import GradientCheckpointingLayer

from hfseg.auto import find_auto_class  # importing hfseg registers the Auto classes

# The graph is what can fail; torch.export's tests run the same operations through functionalization and decomposition.
CAPTURE = "eager"


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Walks through nested outputs."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def assert_same(actual: Any, expected: Any, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Compares all tensors of two outputs; by default bit by bit."""
    actual, expected = list(tensors_in(actual)), list(tensors_in(expected))
    assert len(actual) == len(expected) > 0
    for a, b in zip(actual, expected):
        scale = max(1.0, b.abs().max().item()) if b.is_floating_point() and b.numel() else 1.0
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol * scale)


def assert_finite(value: Any) -> None:
    """Checks that no tensor holds NaN or infinity, and that there is a tensor."""
    tensors = [tensor for tensor in tensors_in(value) if tensor.is_floating_point()]
    assert tensors
    assert all(torch.isfinite(tensor).all() for tensor in tensors)


def select(value: Any, index: int, shared: tuple[str, ...] = ()) -> Any:
    """Takes one image, as a batch of one, from inputs or labels; `shared` entries have no axis of images."""
    return {key: entry if key in shared else entry[index : index + 1] for key, entry in value.items()}


@torch.no_grad()
def peaked(model: PreTrainedModel) -> PreTrainedModel:
    """Redraws all weights so that activations keep their size and attention is far from uniform."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            parameter.copy_(noise * 1.5 * math.prod(parameter.shape[1:]) ** -0.5)
        else:
            parameter.add_(noise * 0.2)
    return model


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """Counts inputs and outputs of a weight (outputs, inputs / groups, kernel ...)."""
    kernel = math.prod(weight.shape[2:])
    return weight.shape[1] * kernel, weight.shape[0] * kernel


def xavier(weight: torch.Tensor, gain: float = 1.0) -> float:
    """Root mean square of Glorot's initialization."""
    return gain * (2 / sum(fans(weight))) ** 0.5


def kaiming(weight: torch.Tensor, gain: float = 1.0) -> float:
    """Root mean square of He's initialization by the number of inputs; PyTorch's default has gain 3^-0.5."""
    return gain * fans(weight)[0] ** -0.5


class ModelContract:
    """Tests shared by all models. Subclasses set the attributes and implement `config`, `labels`, `shapes` and `fresh`.

    Attributes:
        model_class: The class under test.
        auto_classes: Names of the Auto classes that must load it.
        recorded: Output fields that `output_hidden_states` and `output_attentions` fill, with their number of entries.
        size: `(height, width)` of the usual inputs.
        odd_size: Inputs that no stride divides.
        other_size: Another size for programs that were exported at `size`.
        reload_tolerance: Of outputs after saving and loading; weights are always compared bit by bit.
        tolerance: Of comparisons between two ways to compute the same, relative to the largest value of a tensor.
        shared_inputs: Names of inputs without an axis of images, such as texts that all images are compared with.
        zero_gradients: Ends of names of parameters whose gradient is zero by construction (a bias that softmax
            cancels).
        library: Patterns of names of parameters that a library's own class initializes.
        not_applicable: Test name to the reason why it cannot apply. A defect is no reason.
    """

    model_class: type[PreTrainedModel]
    auto_classes: tuple[str, ...] = ()
    recorded: dict[str, int] = {}
    size = (64, 96)
    odd_size = (33, 47)
    other_size = (96, 128)
    tolerance = 1e-4
    shared_inputs: tuple[str, ...] = ()
    reload_tolerance = 0.0
    zero_gradients: tuple[str, ...] = ()
    library: tuple[str, ...] = ("*backbone*",)
    not_applicable: dict[str, str] = {}

    def config(self) -> PreTrainedConfig:
        """Builds the configuration of a tiny model."""
        raise NotImplementedError

    def dynamic_size_config(self) -> PreTrainedConfig:
        """Builds the configuration for programs with dynamic height and width: a symbol takes long per operation.

        Override it with the shallowest model that has every kind of layer; with another backbone only where a library's
        is the obstacle, and say why.
        """
        return self.config()

    def inputs(self, batch_size: int, height: int, width: int) -> dict[str, Any]:
        """Draws inputs; image i is smaller than the batch and zero-padded at right and bottom, except the first."""
        generator = torch.Generator().manual_seed(1)
        pixel_values = torch.randn(batch_size, 3, height, width, generator=generator)
        for index in range(1, batch_size):
            pixel_values[index, :, height - 8 * index :] = 0
            pixel_values[index, :, :, width - 5 * index :] = 0
        return {"pixel_values": pixel_values}

    def labels(self, batch_size: int, height: int, width: int, empty: bool = False) -> dict[str, Any]:
        """Builds training targets; an empty dictionary for models without a loss. `empty`: images without targets."""
        raise NotImplementedError

    def shapes(self, batch_size: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """Gives the expected shapes of output tensors."""
        raise NotImplementedError

    def fresh(self) -> dict[str, float | Callable[[torch.Tensor], float] | None]:
        """Gives the root mean square of fresh parameters by pattern of names; the first pattern that fits counts.

        Written from the paper or the official code, never from ours. Every parameter outside a library's backbone
        (names that `library` matches) needs an entry; None where no figure can be given, with the reason.
        """
        raise NotImplementedError

    # Helpers.

    @pytest.fixture(autouse=True)
    def _skip_what_cannot_apply(self, request: pytest.FixtureRequest) -> None:
        reason = self.not_applicable.get(request.node.originalname)
        if reason:
            pytest.skip(reason)

    def build(self, attention: str | None = None, **fields: Any) -> PreTrainedModel:
        """Builds a seeded model in evaluation mode."""
        config = self.config()
        if attention is not None:
            config._attn_implementation = attention
        for name, value in fields.items():
            setattr(config, name, value)
        torch.manual_seed(0)
        return self.model_class(config).eval()

    def predict(self, model: PreTrainedModel, inputs: dict[str, Any], **kwargs: Any) -> Any:
        """Runs without gradients."""
        with torch.no_grad():
            return model(**inputs, **kwargs)

    def example(self, with_labels: bool = True, empty: bool = False) -> dict[str, Any]:
        """Builds a batch of two, with labels where the model has a loss."""
        inputs = self.inputs(2, *self.size)
        if with_labels:
            inputs |= self.labels(2, *self.size, empty=empty)
        return inputs

    def train_step(self, model: PreTrainedModel, inputs: dict[str, Any]) -> torch.Tensor:
        """Computes the loss (without one: the mean square of all outputs) under one seed, and its gradients."""
        model.zero_grad()
        torch.manual_seed(2)
        outputs = model(**copy.deepcopy(inputs))
        loss = outputs.get("loss")
        if loss is None:
            loss = sum(t.float().square().mean() for t in tensors_in(outputs.to_tuple()) if t.requires_grad)
        assert loss.dim() == 0
        loss.backward()
        return loss.detach()

    def needs_loss(self) -> None:
        """Skips a test that is about the loss."""
        if not self.labels(1, *self.size):
            pytest.skip(f"{self.model_class.__name__} has no loss")

    # Saving and loading.

    @pytest.mark.parametrize("shard_size", ["5GB", "50KB"])
    def test_save_and_load_is_exact(self, tmp_path, shard_size):
        model, inputs = peaked(self.build()), self.example(with_labels=False)
        model.save_pretrained(tmp_path, max_shard_size=shard_size)
        assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard_size == "50KB")
        again, info = self.model_class.from_pretrained(tmp_path, output_loading_info=True)
        for keys in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not info[keys]
        # Buffers too, stored or not: from_pretrained builds on the meta device, where nothing has a value.
        for kind in ("named_parameters", "named_buffers"):
            before, after = dict(getattr(model, kind)()), dict(getattr(again, kind)())
            assert before.keys() == after.keys()
            for name in before:
                assert torch.equal(before[name], after[name]), name
        predicted = self.predict(again, inputs), self.predict(model, inputs)
        assert_same(*predicted, self.reload_tolerance, self.reload_tolerance)
        AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
        assert (tmp_path / "again" / "config.json").read_text() == (tmp_path / "config.json").read_text()

    def test_auto_classes_load_the_folder(self, tmp_path):
        model = self.build()
        model.save_pretrained(tmp_path)
        assert type(AutoConfig.from_pretrained(tmp_path)) is type(model.config)
        assert self.auto_classes
        for name in self.auto_classes:
            assert type(find_auto_class(name).from_pretrained(tmp_path)) is self.model_class, name

    def test_base_model_loads_from_the_folder_of_a_head(self, tmp_path):
        model = self.build()
        if model.base_model is model:
            pytest.skip(f"{self.model_class.__name__} is the base model")
        model.save_pretrained(tmp_path)
        base, info = type(model.base_model).from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"]
        inputs = self.example(with_labels=False)
        assert_same(self.predict(base, inputs), self.predict(model.base_model, inputs))

    def test_everything_is_initialized(self, monkeypatch):
        """Loading nothing must initialize like building does: no value may come from outside `_init_weights`."""
        initialize = PreTrainedModel._initialize_weights

        def seeded(*args, **kwargs):  # the two ways visit modules in one order, but draw different amounts in between
            torch.manual_seed(0)
            return initialize(*args, **kwargs)

        monkeypatch.setattr(PreTrainedModel, "_initialize_weights", seeded)
        config = self.config()
        fresh = self.model_class(config)
        loaded = self.model_class.from_pretrained(None, config=config, state_dict={})
        for kind in ("named_parameters", "named_buffers"):
            for (name, expected), (_, actual) in zip(getattr(fresh, kind)(), getattr(loaded, kind)()):
                assert torch.isfinite(expected).all() and torch.equal(actual, expected), name

    def test_fresh_weights_have_the_size_the_source_states(self):
        """Against a closed form: a class compared with itself cannot show that a rule is never reached."""
        torch.manual_seed(0)
        patterns = self.fresh()
        used = set()
        for name, parameter in self.model_class(self.config()).named_parameters():
            if any(fnmatchcase(name, pattern) for pattern in self.library):
                continue
            pattern = next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)
            assert pattern is not None, f"{name} has no expected size"
            used.add(pattern)
            expected = patterns[pattern]
            if expected is None:
                continue
            expected = expected(parameter) if callable(expected) else expected
            # Five standard errors of a root mean square over n normal (or uniform) draws.
            tolerance = 5 * 0.71 * parameter.numel() ** -0.5
            actual = parameter.detach().double().square().mean().sqrt().item()
            assert actual == pytest.approx(expected, rel=tolerance, abs=1e-7), name
        assert used == set(patterns), "patterns without a parameter"

    # Values.

    def test_output_shapes(self):
        model = self.build()
        for size in (self.size, self.odd_size):
            outputs = self.predict(model, self.inputs(2, *size))
            assert_finite(outputs)
            for name, shape in self.shapes(2, *size).items():
                assert tuple(outputs[name].shape) == shape, (name, size)

    def test_is_deterministic(self):
        model, inputs = peaked(self.build()), self.example()
        torch.manual_seed(2)
        first = self.predict(model, inputs)
        torch.manual_seed(2)
        assert_same(self.predict(model, inputs), first)

    def test_batch_equals_singles(self):
        """An image's result does not depend on its neighbors, given the size to which the batch is padded."""
        model, inputs = peaked(self.build()), self.example(with_labels=False)
        together = self.predict(model, inputs)
        for index in range(2):
            alone = self.predict(model, select(inputs, index, self.shared_inputs))
            for name in self.shapes(1, *self.size):
                assert_same(together[name][index : index + 1], alone[name], self.tolerance, self.tolerance)

    def test_return_dict_false(self):
        model, inputs = self.build(), self.example()
        torch.manual_seed(2)
        expected = self.predict(model, inputs).to_tuple()
        torch.manual_seed(2)
        actual = self.predict(model, inputs, return_dict=False)
        assert isinstance(actual, tuple)
        assert_same(actual, expected)

    def test_eager_equals_sdpa(self, monkeypatch):
        calls, outputs = {}, {}
        sdpa = torch.nn.functional.scaled_dot_product_attention
        for attention in ("eager", "sdpa"):
            calls[attention] = 0

            def counted(*args, _attention=attention, **kwargs):
                calls[_attention] += 1
                return sdpa(*args, **kwargs)

            monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
            outputs[attention] = self.predict(peaked(self.build(attention)), self.example(with_labels=False))
        assert calls["sdpa"] > calls["eager"]
        assert_same(outputs["sdpa"], outputs["eager"], self.tolerance, self.tolerance)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
    def test_half_precision_is_finite(self, tmp_path, dtype):
        self.build().save_pretrained(tmp_path)
        model = self.model_class.from_pretrained(tmp_path, dtype=dtype)
        inputs = self.example(with_labels=False)
        inputs = {k: v.to(dtype) if torch.is_tensor(v) and v.is_floating_point() else v for k, v in inputs.items()}
        try:
            outputs = self.predict(model, inputs)
        except RuntimeError as error:
            if "not implemented for 'Half'" not in str(error):
                raise
            pytest.skip(f"this CPU build of torch lacks a float16 operation: {error}")
        assert_finite(outputs)

    def test_autocast_trains(self):
        model, inputs = self.build().train(), self.example()
        expected = self.train_step(model, inputs)
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.train_step(model, inputs)
        assert_finite([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
        torch.testing.assert_close(loss, expected, rtol=0.1, atol=0.1)

    # Recording.

    @pytest.mark.parametrize("by_config", [False, True])
    def test_hidden_states_and_attentions_on_request(self, by_config):
        inputs, flags = self.example(with_labels=False), {"output_hidden_states": True, "output_attentions": True}
        unasked = self.predict(self.build("eager"), inputs)
        assert not [name for name in self.recorded if unasked.get(name) is not None]
        model = self.build("eager", **(flags if by_config else {}))
        outputs = self.predict(model, inputs, **({} if by_config else flags))
        assert self.recorded
        for name, number in self.recorded.items():
            assert isinstance(outputs[name], tuple), name
            assert len(outputs[name]) == number, name
            assert_finite(outputs[name])
            if name.endswith("attentions"):  # rows of weights; the padded ones of windows included
                for weights in outputs[name]:
                    assert weights.min() >= 0 and weights.max() <= 1 + 1e-5, name

    # Training.

    def test_every_parameter_gets_a_gradient(self):
        model = peaked(self.build()).train()
        loss = self.train_step(model, self.example())
        assert torch.isfinite(loss)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        assert trained
        without = [name for name, parameter in trained.items() if parameter.grad is None]
        assert not without
        assert_finite([parameter.grad for parameter in trained.values()])
        zero = [name for name, p in trained.items() if not p.grad.any() and not name.endswith(self.zero_gradients)]
        assert not zero

    def test_gradient_checkpointing_changes_nothing(self):
        model, inputs, calls = peaked(self.build()).train(), self.example(), [0]
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        assert layers and model.supports_gradient_checkpointing

        def count(*_):
            calls[0] += 1

        # On the parts: some releases of transformers recompute `forward` of the layer itself, past its hooks.
        for part in (part for layer in layers for part in layer.children()):
            part.register_forward_pre_hook(count)
        expected = self.train_step(model, inputs)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        plain, calls[0] = calls[0], 0
        # Until 5.x the method had another name.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
        loss = self.train_step(model, inputs)
        assert calls[0] > plain, "nothing was computed a second time"
        assert_same(loss, expected, 1e-6, 1e-6)
        for name, parameter in model.named_parameters():
            if name in gradients:
                assert_same(parameter.grad, gradients[name], self.tolerance, self.tolerance)

    @pytest.mark.parametrize("all_images", [True, False])
    def test_images_without_targets(self, all_images):
        self.needs_loss()
        model, inputs = self.build().train(), self.example(empty=True)
        if not all_images:  # the first image has targets, the second none
            full = self.labels(2, *self.size)
            inputs |= {name: [full[name][0], inputs[name][1]] for name in full if isinstance(full[name], list)}
        loss = self.train_step(model, inputs)
        assert torch.isfinite(loss)
        assert_finite([parameter.grad for parameter in model.parameters() if parameter.grad is not None])

    def test_trains_at_odd_size(self):
        self.needs_loss()
        inputs = self.inputs(2, *self.odd_size) | self.labels(2, *self.odd_size)
        assert torch.isfinite(self.train_step(self.build().train(), inputs))

    def test_loss_is_the_sum_of_its_parts(self):
        self.needs_loss()
        outputs = self.predict(self.build(), self.example())
        assert outputs.loss_dict
        torch.testing.assert_close(outputs.loss, sum(outputs.loss_dict.values()))

    def test_trainer_takes_a_step(self, tmp_path):
        self.needs_loss()
        model, inputs = self.build(), self.example()
        before = copy.deepcopy(model.state_dict())
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            learning_rate=1e-2,
            logging_steps=1,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=[{"index": index} for index in range(4)],
            data_collator=lambda examples: copy.deepcopy(inputs),
        )
        trainer.train()
        with torch.no_grad():
            expected = self.build().train()(**inputs).loss.item()
        # Accumulation over two batches must not double the loss; its points are random, hence the tolerance.
        assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=0.3)
        assert any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    def test_the_text_configuration_is_a_configuration(self):
        """transformers looks for one by names like `decoder`, and reads its fields when weights are tied and saved."""
        for ends in ({}, {"decoder": True}, {"encoder": True}):
            assert isinstance(self.config().get_text_config(**ends), PreTrainedConfig)

    # Compilation and export.

    def test_compiles_to_one_graph(self):
        model = peaked(self.build())
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend=CAPTURE, dynamic=False)
        inputs = self.example(with_labels=False)
        assert_same(self.predict(compiled, inputs), self.predict(model, inputs), self.tolerance, self.tolerance)

    def test_exports_with_dynamic_shapes(self):
        """One program serves several batch sizes and image sizes."""
        torch.manual_seed(0)
        model, inputs = peaked(self.model_class(self.dynamic_size_config())).eval(), self.example(with_labels=False)
        axes: dict[str, tuple[int, ...]] = {model.main_input_name: (0, 2, 3), **dict.fromkeys(self.shared_inputs, ())}
        free = {name: dict.fromkeys(axes.get(name, (0,)), torch.export.Dim.DYNAMIC) or None for name in inputs}
        program = torch.export.export(model, (), inputs, dynamic_shapes=free).module()
        for batch_size, size in ((2, self.size), (3, self.other_size), (1, self.odd_size)):
            inputs = self.inputs(batch_size, *size)
            assert_same(self.predict(program, inputs), self.predict(model, inputs), self.tolerance, self.tolerance)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="host synchronization can only be seen on a CUDA device")
    def test_forward_does_not_wait_for_the_device(self):
        model = self.build().cuda()
        inputs = {name: value.cuda() for name, value in self.example(with_labels=False).items()}
        self.predict(model, inputs)  # fills the caches of position codes
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            self.predict(model, inputs)
        finally:
            torch.cuda.set_sync_debug_mode("default")


class OneCompiledProgram:
    """A stronger test, mixed in before `ModelContract`: for models whose compiled program also serves all sizes."""

    test_compiles_to_one_graph = None

    def test_compiles_once_for_all_sizes(self: Any):
        """With dynamic shapes, images of another number and size meet the program that is there."""
        torch.manual_seed(0)
        model = peaked(self.model_class(self.dynamic_size_config())).eval()
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend=CAPTURE, dynamic=True)
        # Constant floats stay constants: else everything is traced twice, the second time to find that out.
        with torch._dynamo.config.patch(specialize_float=True):
            self.predict(compiled, self.inputs(2, *self.size))
            for batch_size, size in ((3, self.other_size), (2, self.odd_size)):
                inputs = self.inputs(batch_size, *size)
                with torch._dynamo.config.patch(error_on_recompile=True):
                    outputs = self.predict(compiled, inputs)
                assert_same(outputs, self.predict(model, inputs), self.tolerance, self.tolerance)
