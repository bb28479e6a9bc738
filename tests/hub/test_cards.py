# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Cards: what is built is what the Hub reads, and every gap is named."""

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

import write_cards as command
from hfseg.hub.cards import Measurement, build_card, card_problems, result_files, split_card, with_evaluation
from hub_stand_in import CARD
from write_cards import CardSourceError, measured_results, render_cards

METADATA = {
    "license": "apache-2.0",
    "library_name": "transformers",
    "pipeline_tag": "image-segmentation",
    "tags": ["vision"],
    "base_model": None,
}
SECTIONS = {"Training": "By hand.", "Limits": "Many."}
ONE = Measurement("mean_iou", 49.25, "streets", "hfseg evaluate --model x", split="val", dataset_id="me/streets")


def built(*measurements, **metadata):
    parts = {"title": "tiny", "about": "A model.", "use": "print(1)", "sections": SECTIONS}
    return build_card({**METADATA, **metadata}, **parts, measurements=measurements)


def test_built_cards_are_complete(tmp_path):
    built(ONE).save(tmp_path / "README.md")
    card = ModelCard.load(tmp_path / "README.md")
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.dataset_split, result.metric_value) == ("me/streets", "val", 49.25)
    assert result.metric_args == {"command": "hfseg evaluate --model x"}
    assert card_problems(card.content) == []
    assert "base_model" not in card.data.to_dict()
    without = built(model_name="left out without results")
    assert card_problems(without.content) == [] and "model-index" not in without.content


def test_no_number_without_its_command():
    with pytest.raises(ValueError, match="has no command"):
        built(Measurement("pq", 1.0, "streets", " "))
    text = built(ONE).content.replace("command: hfseg evaluate --model x", "note: none")
    assert "says no command" in card_problems(text)[0]


@pytest.mark.parametrize(
    "old, new, problem",
    [
        ("license: apache-2.0\n", "", "no license"),
        ("pipeline_tag: image-segmentation\n", "", "no pipeline_tag"),
        ("pipeline_tag: image-segmentation", "pipeline_tag: segmentation", "pipeline_tag is 'segmentation'"),
        ("library_name: transformers", "library_name: hfseg", "library_name is 'hfseg'"),
        ("- vision\n", "- vision\n- vision\n", "twice"),
        ("tags:\n- vision\n- proscale\n", "tags: vision\n", "list of strings"),
        ("license: apache-2.0", "license: apache-2.0\nbase_model: ./my/folder", "dead link"),
        ("license: apache-2.0", "license: apache-2.0\ndatasets:\n- /data/streets", "dead link"),
        ("value: 49.25", "value: .nan", "finite number"),
        ("value: 49.25", "value: true", "finite number"),
        ("      value: 49.25\n", "", "model-index cannot be read"),
        ("## Limits", "## End", "no section on limits"),
        ("## Training", "## Before", "no section on training"),
        ("```python", "```text", "shows no Python"),
        ('print("hello")', "print(", "does not parse"),
        ("Streets only.", "[More Information Needed]", "fill it in"),
    ],
)
def test_gaps_are_named(old, new, problem):
    assert old in CARD
    assert any(problem in found for found in card_problems(CARD.replace(old, new, 1)))


def test_result_files_name_the_data_set_of_the_hub():
    metadata, _ = split_card(built(ONE).content)
    ((path, text),) = result_files(metadata).items()
    assert path == ".eval_results/me--streets--mean_iou.yaml"
    (entry,) = yaml.safe_load(text)
    assert entry["dataset"] == {"id": "me/streets", "task_id": "default"} and entry["value"] == 49.25
    assert entry["notes"] == "mean_iou, split val; hfseg evaluate --model x"


def files_of(dataset_ids, *more):
    """Result files of three metrics of one dataset, and of more, as the Hub's client reads them."""
    base = {"dataset": "our streets", "split": "val", "command": "hfseg evaluate"}
    ours = [Measurement(name, value, **base) for name, value in (("pq", 30.0), ("mean_iou", 50.0), ("ap", 20.0))]
    metadata, _ = split_card(built(*ours, *more).content)
    files = result_files(metadata, dataset_ids)
    found = {}
    for path, text in files.items():
        (entry,) = parse_eval_result_entries(yaml.safe_load(text))
        assert path.startswith(".eval_results/") and path.endswith(".yaml") and "hfseg evaluate" in entry.notes
        found[f"{entry.dataset_id}#{entry.task_id}"] = entry.value
    assert len(found) == len(files)  # one number per task
    return found


def test_a_benchmarks_task_has_one_number():
    assert files_of({}) == {}  # no benchmark of the Hub: `model-index` alone
    assert files_of({"our streets": "o/streets"}) == {"o/streets#default": 30.0}
    assert files_of({"our-streets": "o/streets#a"}) == {"o/streets#a": 30.0}  # by type
    assert files_of({"our streets:ap": "o/streets"}) == {"o/streets#default": 20.0}
    both = {"our streets:mean_iou": "o/streets#semantic", "our streets:pq": "o/streets#panoptic"}
    assert files_of(both) == {"o/streets#semantic": 50.0, "o/streets#panoptic": 30.0}
    assert files_of({"our streets": "o/streets", "our streets:ap": "o/streets"}) == {"o/streets#default": 20.0}
    assert files_of({"our-streets": "o/streets"}, ONE) == {"o/streets#default": 30.0, "me/streets#default": 49.25}
    for given, message in (
        ({"our streets:ap": "o/streets", "our streets:pq": "o/streets"}, "Two metrics are to be the number of o/str"),
        ({"our streets:dice": "o/streets"}, "no result of our streets:dice; it has our streets:ap, our"),
        ({"roads": "o/streets"}, "no result of roads"),
        ({"our streets": "a folder"}, "'our streets' is to be 'a folder', which is no id on the Hub"),
    ):
        with pytest.raises(ValueError, match=message):
            files_of(given)


def test_an_evaluation_replaces_its_own_earlier_result():
    new = Measurement("mean_iou", 50.5, "streets", "hfseg evaluate --model y", split="val", dataset_id="me/streets")
    other = Measurement("pq", 30.0, "streets", "hfseg evaluate --model y", split="val", dataset_id="me/streets")
    metadata, _ = split_card(built(new, other).content)
    text = with_evaluation(built(ONE).content, yaml.safe_dump({"model-index": metadata["model-index"]}))
    results = ModelCard(text).data.eval_results
    assert {result.metric_type: result.metric_value for result in results} == {"mean_iou": 50.5, "pq": 30.0}
    assert "| mean_iou | 50.5 |" in text and "hfseg evaluate --model y" in text and card_problems(text) == []
    # Another split, or another way to measure, is another number.
    test = Measurement("mean_iou", 51.0, "streets", "hfseg evaluate", split="test", dataset_id="me/streets")
    tiled = Measurement(
        "mean_iou", 52.0, "streets", "hfseg evaluate", split="val", dataset_id="me/streets", config="tiled"
    )
    metadata, _ = split_card(built(test, tiled).content)
    text = with_evaluation(built(ONE).content, yaml.safe_dump({"model-index": metadata["model-index"]}))
    assert sorted(result.metric_value for result in ModelCard(text).data.eval_results) == [49.25, 51.0, 52.0]
    silent = yaml.safe_dump({"model-index": metadata["model-index"]}).replace("command:", "note:")
    with pytest.raises(ValueError, match="results without their command"):
        with_evaluation(CARD, silent)
    for broken in ("a: [", "{}", "model-index: 3"):
        with pytest.raises(ValueError, match=r"model_index\.yml"):
            with_evaluation(CARD, broken)


def write_source(folder, template, cards="- {name: one}"):
    (folder / "sources").mkdir(exist_ok=True)
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / "r.json").write_text(
        '{"command": "c", "tables": {"T": [{"k": 1, "v": 2.5}, {"k": 2, "v": 3}]}}'
    )
    (folder / "sources" / "x.md").write_text(template)
    (folder / "sources" / "x.yaml").write_text(f"cards:\n{cards}\n")


@pytest.mark.parametrize(
    "template, problem",
    [
        ("{{ card.missing }}", "no attribute 'missing'"),
        ("{{ measured('none.json', 'T', 'v', k=1) }}", r"none\.json"),
        ("{{ measured('r.json', 'U', 'v', k=1) }}", "no table 'U'"),
        ("{{ measured('r.json', 'T', 'v') }}", "2 rows"),
        ("{{ measured('r.json', 'T', 'v', k=1, v=3) }}", "0 rows"),
        ("{{ measured('r.json', 'T', 'w', k=1) }}", "one with 'w'"),
        ("{% if %}", "x.yaml, card one"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, template, problem):
    write_source(tmp_path, template)
    with pytest.raises(CardSourceError, match=problem):
        render_cards(tmp_path)


def test_cards_command(tmp_path, capsys):
    assert command.main(["--folder", str(tmp_path)]) == 1 and "no folder sources" in capsys.readouterr().err
    write_source(tmp_path, "{{ card.name }}: {{ measured('r.json', 'T', 'v', k=1) }} by {{ command('r.json') }}\n")
    assert (
        command.main(["--folder", str(tmp_path), "--check"]) == 1
        and "run python scripts/write_cards.py" in capsys.readouterr().err
    )
    assert command.main(["--folder", str(tmp_path)]) == 0
    assert (tmp_path / "one.md").read_text() == "one: 2.5 by c\n"
    assert command.main(["--folder", str(tmp_path), "--check"]) == 0
    write_source(tmp_path, "", "- {name: one}\n- {name: one}")
    with pytest.raises(CardSourceError, match="Two cards"):
        render_cards(tmp_path)


MEASURED_SOURCE = """
cards:
  tiny:
    title: Tiny
    results:
      - {file: r.json, table: T, dataset: streets, split: val,
         metrics: {mean_iou: {title: mean IoU (%), column: v, factor: 100, where: {k: 1}},
                   other: {type: pq, title: PQ, column: v, where: {k: 2}}}}
"""


def test_results_of_hand_written_cards(tmp_path, capsys):
    """They come from the result file, with its command, into `model-index`, and the rest of the card stays."""
    write_source(tmp_path, "{{ card.name }}\n")
    (tmp_path / "sources/measured.yaml").write_text(MEASURED_SOURCE)
    with pytest.raises(CardSourceError, match=r"there is no card .*tiny\.md"):
        measured_results(tmp_path)
    card = tmp_path / "tiny.md"
    card.write_text(CARD)
    assert command.main(["--folder", str(tmp_path), "--check"]) == 1 and "tiny.md differs" in capsys.readouterr().err
    assert command.main(["--folder", str(tmp_path)]) == 0
    written = ModelCard.load(card)
    assert written.text.strip() == ModelCard(CARD).text.strip() and card_problems(card.read_text()) == []
    found = {result.metric_type: (result.metric_value, result.metric_args) for result in written.data.eval_results}
    assert found == {"mean_iou": (250.0, {"command": "c"}), "pq": (3.0, {"command": "c"})}
    assert command.main(["--folder", str(tmp_path), "--check"]) == 0
    assert not (tmp_path / "eval_results").exists()  # the data are no benchmark of the Hub
    (tmp_path / "sources/measured.yaml").write_text(MEASURED_SOURCE.replace("split: val", "split: val, hub: o/s#a"))
    assert command.main(["--folder", str(tmp_path)]) == 0
    (file,) = (tmp_path / "eval_results/tiny").iterdir()
    (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value, entry.notes) == (
        "o/s",
        "a",
        250.0,
        "mean IoU (%), split val; c",
    )
    for old, new, message in (
        ("{k: 1}", "{k: 9}", "0 rows"),
        ("title: PQ, ", "", "'title' is missing"),
        ("r.json", "none.json", r"none\.json"),
    ):
        (tmp_path / "sources/measured.yaml").write_text(MEASURED_SOURCE.replace(old, new))
        with pytest.raises(CardSourceError, match=message):
            measured_results(tmp_path)
