"""Hyper-parameters, from defaults, TOML and arguments."""

from __future__ import annotations

import dataclasses

import pytest

from edge_emotion import EdgeEmotionError, UnknownNameError, UsageError
from edge_emotion.training.config import (
    ARCHITECTURE_DEFAULTS,
    RANGES,
    TrainConfig,
    make_config,
    same_settings,
)


@pytest.fixture
def toml(tmp_path):
    def write(text: str):
        path = tmp_path / "settings.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_arguments_win_over_the_file_and_the_file_over_the_defaults(toml):
    config = make_config(toml("epochs = 7\nseed = 5\n"), {"epochs": 9, "batch_size": None})
    assert (config.epochs, config.seed, config.batch_size) == (9, 5, TrainConfig().batch_size)


@pytest.mark.parametrize("place", ["file", "argument"])
def test_an_architecture_brings_its_own_defaults_that_can_be_changed(toml, place):
    name = "baseline-cnn"
    if place == "file":
        config = make_config(toml(f"architecture = '{name}'\nepochs = 3\n"), {})
    else:
        config = make_config(None, {"architecture": name, "epochs": 3})
    own = ARCHITECTURE_DEFAULTS[name] | {"epochs": 3, "architecture": name}
    assert {field: value for field, value in config.as_dict().items() if field in own} == own


def test_what_a_card_records_makes_the_same_configuration_again():
    config = make_config(None, {"labels": ["sad", "happy"], "width": 2, "dropout": 0.0})
    recorded = {k: v for k, v in config.as_dict().items() if v is not None}
    assert make_config(None, recorded) == config


def test_every_number_has_a_range():
    kinds = {field.name: field.type for field in dataclasses.fields(TrainConfig)}
    numbers = {name for name, kind in kinds.items() if kind.split(" | ")[0] in ("int", "float")}
    assert numbers == RANGES.keys()


def test_records_of_one_training_are_told_from_others_whatever_options_came_later():
    record = TrainConfig().as_dict() | {"initial": "edge-cnn 0", "teachers": None}
    older = {name: value for name, value in record.items() if name != "mixup"}
    assert same_settings(record, older)
    assert not same_settings(record | {"mixup": 0.1}, older)
    assert same_settings(record, record | {"cross_fit": False})
    assert not same_settings(record, record | {"cross_fit": True})
    assert not same_settings(record | {"epochs": 3}, record)


def test_misspelt_hyper_parameter_suggests_the_nearest(toml):
    with pytest.raises(UnknownNameError, match="did you mean 'learning_rate'"):
        make_config(toml("learning_rat = 0.1"), {})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("epochs = 0", "epochs must be 1 to 1000000, not 0"),
        ("epochs = '7'", "Expected `int`"),
        ("epochs = 7.5", "Expected `int`"),
        ("seed = -1", "seed"),
        ("seed = 4294967296", "seed"),
        ("flip = 'no'", "Expected `bool`"),
        ("learning_rate = nan", "learning_rate"),
        ("learning_rate = inf", "learning_rate"),
        ("weight_decay = -0.1", "weight_decay"),
        ("valid_fraction = 0", "valid_fraction"),
        ("test_fraction = 0.5", "test_fraction"),
        ("brightness = 5", "brightness"),
        ("zoom = 1", "zoom"),
        ("erase = nan", "erase"),
        ("architecture = ['edge-cnn']", "Expected `str`"),
        ("labels = 'happy'", "Expected `array | null`"),
        ("labels = [1, 2]", "Expected `str`"),
        ("size = 4", "size"),
    ],
)
def test_impossible_values_are_usage_errors_that_name_the_field(toml, line, words):
    with pytest.raises(UsageError, match=r"hyper-parameters: ") as caught:
        make_config(toml(line), {})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("channels = 2", "unknown channels '2': known: 1, 3"),
        ("resize = 'cubic'", "unknown resize 'cubic': did you mean 'bicubic'"),
        ("optimizer = 'sgd'", "unknown optimizer 'sgd': known: adam, adamw"),
    ],
)
def test_a_value_that_is_no_choice_names_the_choices(toml, line, words):
    with pytest.raises(UnknownNameError, match=words):
        make_config(toml(line), {})


@pytest.mark.parametrize("text", ["epochs 7", "[train", "a = \n", "\x00"])
def test_a_file_that_is_no_toml(toml, text):
    with pytest.raises(EdgeEmotionError, match=r"settings\.toml: not a TOML file: ") as caught:
        make_config(toml(text), {})
    assert caught.value.exit_code == 4


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(EdgeEmotionError, match="No such file"):
        make_config(tmp_path / "missing.toml", {})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(EdgeEmotionError, match=r"binary\.toml: not a TOML file"):
        make_config(binary, {})
