"""Read the expression on a face with a small int8 network, on a Raspberry Pi or a laptop.

>>> from edge_emotion import Predictor
>>> Predictor().predict("face.jpg").label  # doctest: +SKIP
'happy'
"""

import os

# onnxruntime's Linux wheels report to Microsoft unless told not to before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from edge_emotion.card import FaceCrop, InputSpec, ModelCard
from edge_emotion.errors import (
    BudgetError,
    CheckError,
    ChecksumError,
    ConversionError,
    DataError,
    EdgeEmotionError,
    InputError,
    MissingExtraError,
    ModelError,
    OutputError,
    PictureError,
    UnknownNameError,
    UsageError,
)
from edge_emotion.faces import Face, Finder, open_finder
from edge_emotion.photographs import FacePrediction, PhotoPrediction, Prediction, combine
from edge_emotion.predictor import Predictor
from edge_emotion.preprocess import Picture, preprocess

__version__ = "0.1.0"

__all__ = [
    "BudgetError",
    "CheckError",
    "ChecksumError",
    "ConversionError",
    "DataError",
    "EdgeEmotionError",
    "Face",
    "FaceCrop",
    "FacePrediction",
    "Finder",
    "InputError",
    "InputSpec",
    "MissingExtraError",
    "ModelCard",
    "ModelError",
    "OutputError",
    "PhotoPrediction",
    "Picture",
    "PictureError",
    "Prediction",
    "Predictor",
    "UnknownNameError",
    "UsageError",
    "__version__",
    "combine",
    "open_finder",
    "preprocess",
]
