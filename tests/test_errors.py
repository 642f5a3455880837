"""The error tree, its exit codes, and the public names."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

import edge_emotion
from edge_emotion import EdgeEmotionError, MissingExtraError, UnknownNameError, errors

EXIT_CODES = {
    "CheckError": 1, "BudgetError": 1, "ChecksumError": 1, "ConversionError": 1,
    "UsageError": 2, "UnknownNameError": 2,
    "MissingExtraError": 3,
    "InputError": 4, "PictureError": 4, "ModelError": 4, "DataError": 4,
    "OutputError": 5,
}  # fmt: skip


def subclasses(cls: type) -> set[type]:
    direct = set(cls.__subclasses__())
    return direct.union(*(subclasses(c) for c in direct))


OURS = {c for c in subclasses(EdgeEmotionError) if c.__module__ == errors.__name__}


def test_exit_codes_are_the_documented_ones():
    assert {c.__name__: c.exit_code for c in OURS} == EXIT_CODES


def test_no_other_room_adds_to_the_tree():
    """A user who reads errors.py has seen every error that there is."""
    import edge_emotion.artefacts
    import edge_emotion.cli
    import edge_emotion.training.loading  # noqa: F401

    package = {c for c in subclasses(EdgeEmotionError) if c.__module__.startswith("edge_emotion")}
    assert {c for c in package if not c.__name__.startswith("_")} == OURS


def test_the_tree_in_the_docstring_is_the_tree():
    drawn, path = {}, []
    for line in (errors.__doc__ or "").splitlines():
        match = re.search(r"([A-Z]\w+Error)(?:\s+(\d))?", line)
        if match is None:
            continue
        depth = match.start() // 4
        path = [*path[: depth - 1], match[1]]
        code = EXIT_CODES.get(match[1])
        if match[2] is not None:
            assert int(match[2]) == code
        drawn[match[1]] = path[-2] if len(path) > 1 else None
    real = {c.__name__: c.__base__.__name__ for c in OURS}
    assert drawn == {"EdgeEmotionError": None, **real}


def test_every_error_is_public():
    assert {c.__name__ for c in OURS} <= set(edge_emotion.__all__)


def test_public_names_are_sorted_there_and_documented():
    assert sorted(edge_emotion.__all__) == sorted(set(edge_emotion.__all__))
    for name in edge_emotion.__all__:
        member = getattr(edge_emotion, name)
        if inspect.isclass(member) or inspect.isfunction(member):
            own = vars(member).get("__doc__") if inspect.isclass(member) else member.__doc__
            assert own, name
            assert not own.startswith(f"{name}("), f"{name}: only what dataclass wrote"


def test_public_classes_document_their_public_methods():
    for name in edge_emotion.__all__:
        member = getattr(edge_emotion, name)
        if not inspect.isclass(member):
            continue
        for method_name, method in vars(member).items():
            if inspect.isroutine(method) and not method_name.startswith("_"):
                assert inspect.getdoc(method), f"{name}.{method_name}"


@pytest.mark.parametrize("error", sorted(OURS, key=lambda c: c.__name__), ids=lambda c: c.__name__)
def test_except_edge_emotion_error_catches_all(error):
    arguments = {UnknownNameError: ("recipe", "x", ["y"]), MissingExtraError: ("this", "train")}
    with pytest.raises(EdgeEmotionError):
        raise error(*arguments.get(error, ("words",)))


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("onx-int8", "'onnx-int8'"), ("ONNX-INT8", "'onnx-int8'"), ("tflite_int8", "'tflite-int8'")],
)
def test_a_mistyped_name_suggests_the_nearest_and_lists_all(typed, hint):
    known = ["onnx-f32", "onnx-int8", "tflite-int8"]
    assert str(UnknownNameError("recipe", typed, iter(known))) == (
        f"unknown recipe {typed!r}: did you mean {hint}? known: onnx-f32, onnx-int8, tflite-int8"
    )


def test_a_name_like_none_suggests_nothing():
    assert str(UnknownNameError("label", "42", ["happy", "sad"])) == (
        "unknown label '42': known: happy, sad"
    )


def test_a_missing_extra_gives_the_pip_command():
    error = MissingExtraError("running x.tflite", "litert")
    assert str(error) == "running x.tflite needs an extra: pip install 'edge-emotion[litert]'"


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("recipe", "onx", ["onnx"]),
        MissingExtraError("training", "train"),
        errors.PictureError("face.jpg: empty"),
    ],
)
def test_errors_cross_process_borders(error):
    """An error that cannot be unpickled kills a multiprocessing pool instead of reaching it."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.exit_code) == (type(error), str(error), error.exit_code)
