"""Everything that a Raspberry Pi needs to run offline, in one folder or archive."""

from edge_emotion.bundle.make import Bundle, make_bundle
from edge_emotion.bundle.targets import TARGETS, Target

__all__ = ["TARGETS", "Bundle", "Target", "make_bundle"]
