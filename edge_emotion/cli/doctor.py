"""``edge-emotion doctor``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

#: Extra -> the packages that show that it is installed, and what it is for.
EXTRAS = {
    "litert": (("ai-edge-litert",), "runs .tflite files"),
    "faces": (("dlib-bin",), "finds faces until YuNet is fetched"),
    "export": (("tensorflow", "tf2onnx", "onnx", "scikit-learn"), "makes .onnx and .tflite files"),
    "train": (
        ("keras", "tensorflow", "scikit-learn", "imagehash", "matplotlib"),
        "trains; runs .keras files",
    ),
    "tune": (("optuna",), "searches for a better network"),
    "bench": (("scikit-learn", "matplotlib"), "measures accuracy, draws the report"),
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell what this machine has: CPU, instruction sets, engines, shipped models, extras."""
    report = _examine()
    if as_json:
        print(json.dumps(report, indent=2))
        return
    machine = report["machine"]
    flags = machine["int8_flags"]
    print(f"machine    {machine['board'] or machine['cpu']}, {machine['arch']}, "
          f"{machine['cores']} cores, {machine['os']}, Python {machine['python']}")  # fmt: skip
    known = "the kernel does not say" if flags is None else " ".join(flags) or "no such flags"
    print(f"int8       {known}: {report['int8']}")
    print(f"export     {report['advice']['recipe']}: {report['advice']['why']}")
    print(f"models     {', '.join(report['models']) or 'none'}")
    print(f"faces      {report['faces']}")
    for name, version in machine["packages"].items():
        print(f"package    {name} {version}")
    for extra in report["extras"]:
        state = "installed" if not extra["missing"] else f"missing: {extra['get']}"
        print(f"extra      {extra['name']} ({extra['purpose']}): {state}")


def _examine() -> dict[str, Any]:
    import dataclasses

    from edge_emotion.artefacts import shipped_models
    from edge_emotion.chips import advice_for
    from edge_emotion.files import tool_versions
    from edge_emotion.machine import read_machine

    machine = read_machine()
    words = {
        True: "a dot-product instruction: expect int8 to be faster than float",
        False: "no dot-product instruction: int8 wins less than it could",
        None: "whether int8 is faster is not known before a bench",
    }
    advice = advice_for(machine)
    extras = []
    for name, (packages, purpose) in EXTRAS.items():
        installed = {package.lower() for package in tool_versions(packages)}
        missing = [package for package in packages if package not in installed]
        get = f"pip install 'edge-emotion[{name}]'"
        extras.append({"name": name, "purpose": purpose, "missing": missing, "get": get})
    return {
        "machine": dataclasses.asdict(machine),
        "int8": words[machine.has_dot_product],
        "advice": {"recipe": advice.order[0], "why": advice.why},
        "models": list(shipped_models()),
        "faces": _faces(),
        "extras": extras,
    }


def _faces() -> str:
    """What finds faces here, in words."""
    from edge_emotion.errors import EdgeEmotionError
    from edge_emotion.faces import best_finder, detector_path

    try:
        finder = best_finder()
    except EdgeEmotionError as error:
        return str(error)
    if finder is None:
        return "no finder: edge-emotion fetch yunet, or pip install 'edge-emotion[faces]'"
    if finder.name == "yunet":
        return f"yunet, {detector_path()}"
    return "hog, of dlib; edge-emotion fetch yunet gets a finder that sees more"
