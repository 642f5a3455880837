"""The card: JSON and back, and errors that say where."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_emotion import InputSpec, ModelCard, ModelError, UnknownNameError
from edge_emotion.card import (
    CARD_NAME,
    RECIPES,
    SCHEMA_VERSION,
    Agreement,
    CalibrationRecord,
    ClassMetrics,
    Confidence,
    DataRecord,
    Evaluation,
    ExportRecord,
    SplitCount,
    TrainingRecord,
    check_recipe,
)
from tests.tiny import make_card, make_record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SHARE = st.floats(0, 1)
COUNT = st.integers(0, 2**53)
INTERVAL = st.tuples(SHARE, SHARE)
TOOLS = st.dictionaries(TEXT, TEXT, max_size=2)

NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


def evaluations(labels: list[str]) -> st.SearchStrategy[Evaluation]:
    n = len(labels)
    return st.builds(
        Evaluation, TEXT, st.sampled_from(["held-out", "cross-validation", "training-set"]), COUNT,
        SHARE, INTERVAL, SHARE, SHARE, SHARE,
        st.fixed_dictionaries(
            dict.fromkeys(labels, st.builds(ClassMetrics, SHARE, SHARE, SHARE, COUNT))
        ),
        st.lists(st.lists(COUNT, min_size=n, max_size=n), min_size=n, max_size=n),
    )  # fmt: skip


def splits(labels: list[str]) -> st.SearchStrategy[list[SplitCount]]:
    count = st.builds(SplitCount, TEXT, COUNT, st.fixed_dictionaries(dict.fromkeys(labels, COUNT)))
    return st.lists(count, max_size=2)


LABELS = st.lists(NAME, min_size=1, max_size=3, unique=True)
DATA = st.builds(
    DataRecord, TEXT, TEXT, TEXT, TEXT, TEXT, COUNT,
    LABELS.flatmap(splits),
    st.dictionaries(TEXT, COUNT, max_size=2), st.dictionaries(TEXT, COUNT, max_size=2),
)  # fmt: skip
EVALUATION = LABELS.flatmap(evaluations)
AGREEMENT = st.builds(
    Agreement, TEXT, COUNT, SHARE, SHARE, SHARE, st.floats(0, 99),
    st.none() | SHARE, st.none() | SHARE, st.none() | st.floats(-1, 1), st.none() | INTERVAL,
    st.none() | SHARE,
)  # fmt: skip
EXPORT = st.builds(
    ExportRecord, st.sampled_from(list(RECIPES)), st.just("model.onnx"), st.none() | TEXT,
    st.none() | COUNT, TOOLS,
    st.none()
    | st.builds(
        CalibrationRecord, st.sampled_from(["pictures", "distilled"]), TEXT, COUNT, COUNT, TEXT
    ),
    st.none() | AGREEMENT, st.lists(AGREEMENT, max_size=1),
)  # fmt: skip
CARD = st.builds(
    ModelCard, NAME, st.lists(NAME, min_size=2, max_size=4, unique=True),
    st.builds(InputSpec, st.integers(1, 4096), st.integers(1, 4096), st.sampled_from([1, 3])),
    TEXT, TEXT, TEXT,
    st.builds(
        TrainingRecord, TEXT, COUNT, COUNT,
        st.dictionaries(TEXT, st.none() | st.booleans() | COUNT | TEXT | st.lists(TEXT)),
        COUNT, COUNT, TEXT, TOOLS,
    ),
    DATA, TEXT,
    st.builds(Confidence, st.floats(0.01, 100), SHARE, SHARE, TEXT, COUNT),
    st.lists(EVALUATION, max_size=2), st.lists(EXPORT, max_size=2),
)  # fmt: skip


@given(CARD)
def test_card_survives_json(card):
    assert ModelCard.from_json(card.to_json(), "here") == card


def test_card_survives_a_folder(tmp_path):
    card = make_card(labels=["zornig", "fröhlich", "悲しい"])
    card.write(tmp_path / "new" / "folder")
    assert ModelCard.read(tmp_path / "new" / "folder") == card
    text = (tmp_path / "new" / "folder" / CARD_NAME).read_text("utf-8")
    assert "悲しい" in text, "a person can read it"
    assert text.endswith("}\n")


def changed(**changes):
    return json.dumps(json.loads(make_card().to_json()) | changes)


DATA_RECORD = json.loads(make_card().to_json())["data"]
OTHER_LABELS = DATA_RECORD | {
    "splits": [
        {"name": name, "pictures": 1, "per_label": {label: 1}}
        for name, label in (("train", "sad"), ("test", "happy"))
    ]
}
NOT_SQUARE = {
    "data": "d", "protocol": "held-out", "samples": 1, "accuracy": 1, "accuracy_interval": [0, 1],
    "balanced_accuracy": 1, "macro_f1": 1, "ece": 0, "confusion": [[1]],
    "per_label": {
        x: {"precision": 1, "recall": 1, "f1": 1, "support": 1} for x in ("sad", "happy")
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a model card"),
        (b"\x93NUMPY", "not a model card"),
        (b"\xff\xfe{}", "not a model card"),
        ("\ud800", "not a model card"),
        (b"[" * 100_000, "not a model card"),
        (b'{"training": {"config": {"deep": ' + b"[" * 100_000, "recursion"),
        (b"null", "Expected `object`"),
        (b"{}", "name"),
        (changed(schema_version=2), "schema_version 2 is not 1"),
        (changed(schema_version="1"), "$.schema_version"),
        (changed(labels="angry"), "$.labels"),
        (changed(labels=["angry"]), "labels must be two or more"),
        (changed(labels=["sad", "sad"]), "labels must be two or more, each once"),
        (changed(input={"height": 0, "width": 8, "channels": 1}), "input size 0 x 8"),
        (changed(input={"height": 8, "width": 8, "channels": 2}), "$.input.channels"),
        (changed(input={"height": 8, "width": 8}), "channels"),
        (changed(input={"height": 8, "width": 8, "channels": 1, "resize": "cubic"}), "resize"),
        (changed(output="probabilities"), "$.output"),
        (changed(confidence={"temperature": 0}), "temperature 0"),
        (changed(confidence={"temperature": 1e-320}), "temperature 1e-320"),
        (changed(confidence={"threshold": -5}), "threshold -5.0"),
        (changed(confidence={"coverage": 9}), "coverage 9.0"),
        (changed(name="x/../../y"), "name 'x/../../y' is no file's name"),
        (changed(name=".."), "is no file's name"),
        (changed(name="a\nb"), "is no file's name"),
        (changed(labels=["sad", "x\n\u001b[31m"]), "are not printable"),
        (changed(data=OTHER_LABELS), "the splits count other labels"),
        (changed(evaluations=[NOT_SQUARE]), "the confusion matrix is not one of"),
        (changed(exports=[{"recipe": "onnx-int4"}]), "$.exports[0]"),
    ],
)
def test_what_is_no_card_is_refused_with_where(data, words):
    with pytest.raises(ModelError) as caught:
        ModelCard.from_json(data, "face.onnx")
    assert str(caught.value).startswith("face.onnx: not a model card: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("field", ["name", "labels", "input", "licence", "training", "data"])
def test_missing_field_is_named(field):
    fields = json.loads(make_card().to_json())
    del fields[field]
    with pytest.raises(ModelError, match=field):
        ModelCard.from_json(json.dumps(fields), "face.onnx")


def test_field_of_a_later_minor_version_is_ignored():
    assert ModelCard.from_json(changed(poetry="none"), "here") == make_card()


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": "onnx-int4"},
        {"file": "../model.onnx"},
        {"file": "/model.onnx"},
        {"file": ".."},
        {"file": ""},
    ],
)
def test_an_export_is_a_known_recipe_in_the_model_s_own_folder(changes):
    record = json.loads(make_card().with_export(make_record("onnx-f32")).to_json())["exports"][0]
    with pytest.raises(ModelError, match=r"\$\.exports\[0\]"):
        ModelCard.from_json(changed(exports=[record | changes]), "here")


def test_no_card_in_a_folder(tmp_path):
    with pytest.raises(ModelError, match=r"is not a model folder: card\.json: No such file"):
        ModelCard.read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="Not a directory"):
        ModelCard.read(tmp_path / "file")


def test_card_of_another_schema_cannot_be_made():
    with pytest.raises(ValueError, match="schema_version"):
        make_card(schema_version=SCHEMA_VERSION + 1)


@given(st.permutations(list(RECIPES)))
def test_exports_stand_in_the_order_of_the_recipes_however_they_came(order):
    card = make_card()
    for recipe in order:
        card = card.with_export(make_record(recipe))
    assert [e.recipe for e in card.exports] == list(RECIPES)


def test_exporting_again_replaces_the_record():
    card = make_card().with_export(make_record("onnx-f32", b"old"))
    card = card.with_export(make_record("tflite-f32")).with_export(make_record("onnx-f32", b"new"))
    assert len(card.exports) == 2
    assert card.export("onnx-f32") == make_record("onnx-f32", b"new")
    assert card.export("onnx-int8") is None


def test_card_inside_a_file_is_of_that_file_only_and_vouches_for_what_is_before_it():
    card = make_card().with_export(make_record("onnx-f32")).with_export(make_record("onnx-int8"))
    inside = card.for_embedding(make_record("onnx-int8", b"data"), b"before")
    assert inside.exports == [make_record("onnx-int8", b"before")]
    assert replace(inside, exports=card.exports) == card


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("onnx_int8", "onnx-int8"), ("tflite-int8-dyn", "tflite-int8-dynamic"), ("ONNX", "onnx-f32")],
)
def test_mistyped_recipe_never_becomes_another(typed, meant):
    with pytest.raises(UnknownNameError, match=f"did you mean '{meant}'"):
        check_recipe(typed)


def test_recipes_are_given_back():
    assert [check_recipe(name) for name in RECIPES] == list(RECIPES)


def test_training_set_figure_carries_its_caveat():
    evaluation = Evaluation("x", "training-set", 1, 1.0, (0.2, 1.0), 1.0, 1.0, 0.0, {}, [])
    assert "pictures the model was trained on" in evaluation.caveat
    assert replace(evaluation, protocol="held-out").caveat == ""
