"""The card inside each exported file, so that one file copied to a device is enough."""

from __future__ import annotations

import io
import zipfile

from edge_emotion.card import CARD_NAME, ExportRecord, ModelCard
from edge_emotion.errors import MissingExtraError
from edge_emotion.runtimes.onnx import METADATA_KEY

try:
    import onnx
except ImportError as error:
    raise MissingExtraError("exporting", "export") from error


def embed_in_onnx(model: onnx.ModelProto, card: ModelCard, record: ExportRecord) -> bytes:
    """An ONNX file with the card in its ``metadata_props``, which are the last bytes of it.

    Protobuf reads two messages behind each other as one, so that the card can have the hash of the
    first.
    """
    bare, behind = onnx.ModelProto(), onnx.ModelProto()
    bare.CopyFrom(model)
    bare.ClearField("metadata_props")
    before = bytes(bare.SerializeToString(deterministic=True))
    text = card.for_embedding(record, before).to_json().decode()
    onnx.helper.set_model_props(behind, {METADATA_KEY: text})
    return before + bytes(behind.SerializeToString(deterministic=True))


def embed_in_tflite(model: bytes, card: ModelCard, record: ExportRecord) -> bytes:
    """A .tflite file with ``card.json`` zipped behind it.

    LiteRT reads from the front, zip from the end. TFLite Metadata's associated files have the same
    form, so ``unzip`` shows the card.
    """
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        # A fixed date: the same model and card make the same bytes.
        entry = zipfile.ZipInfo(CARD_NAME, (1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, card.for_embedding(record, model).to_json())
    return file.getvalue()
