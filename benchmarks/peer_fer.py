"""Worker for `fer`: its TFLite file by LiteRT. A CropRequest on stdin, CropTimes on stdout.

A script of its own, that imports nothing of edge_emotion, so that neither its import time nor its
memory holds any of ours. `peers` starts it. The steps are those of ``FER.detect_emotions`` in
``fer/fer.py`` of 25.10.3, for a face that has been found: BGR to grey, `cv2.resize` to 64 x 64,
``(x / 255 - 0.5) * 2``, one face at a time. Its margin of 10 pixels around a detector's box is not
added, since the face is given cut out, and its rounding of scores to two digits is left out.
"""

import time

started = time.perf_counter()

import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402


def main() -> None:
    """Answer the request on stdin."""
    answer_to = os.dup(1)  # LiteRT prints what it likes on file descriptor 1
    os.dup2(2, 1)
    request = json.load(sys.stdin.buffer)
    try:
        answer = measure(request)
    except (ImportError, ValueError, RuntimeError, OSError) as error:
        message = f"fer: {' '.join(str(error).split())}"
        answer = {"type": "failure", "kind": "check", "message": message}
    with os.fdopen(answer_to, "wb") as stdout:
        stdout.write(json.dumps(answer).encode())


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a CropRequest; `root` is the folder that `--fetch` filled."""
    sys.path.insert(0, str(Path(request["root"]) / "python"))
    import cv2
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    imported = time.perf_counter()
    cv2.setNumThreads(1)
    interpreter = Interpreter(model_path=request["path"], num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    loaded = time.perf_counter()

    shapes = request["shapes"]
    sizes = [height * width * 3 for height, width in shapes]
    starts = [0, *np.cumsum(sizes).tolist()]

    def bgr(i: int) -> Any:
        """A face as OpenCV holds it; not of a mapped file, whose pages would count as memory."""
        i %= len(shapes)
        face = np.fromfile(request["crops"], np.uint8, sizes[i], offset=starts[i])
        return np.ascontiguousarray(face.reshape(*shapes[i], 3)[:, :, ::-1])

    def probabilities(face: Any) -> Any:
        grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), (64, 64))
        grey = np.array([grey], dtype="float32") / 255.0
        grey = np.expand_dims((grey - 0.5) * 2.0, -1)
        interpreter.set_tensor(source, grey.astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(target)[0]

    face = bgr(0)
    before = time.perf_counter()
    probabilities(face)
    first = time.perf_counter()
    gc.collect()
    gc.disable()
    for i in range(request["warmup"]):
        probabilities(bgr(i))
    latency = []
    for i in range(request["runs"]):
        face = bgr(i)
        start = time.perf_counter_ns()
        probabilities(face)
        latency.append((time.perf_counter_ns() - start) / 1e6)
    peak = peak_rss()
    if request["out"] is not None:
        rows = [probabilities(bgr(i)) for i in range(len(shapes))]
        np.array(rows, np.float32).tofile(request["out"])
    import importlib.metadata

    return {
        "type": "crop-times",
        "engine": "ai-edge-litert",
        "engine_version": importlib.metadata.version("ai-edge-litert"),
        "import_s": imported - started,
        "load_s": loaded - imported,
        "first_prediction_s": first - before,
        "latency": latency,
        "peak_rss": peak,
    }


def peak_rss() -> int:
    """Bytes. On Linux not by getrusage, whose maximum begins with that of the parent process."""
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if "VmHWM" in fields:
            return int(fields["VmHWM"].split()[0]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
