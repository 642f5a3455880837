"""Predicts each new picture of a folder once, across restarts and power cuts.

The results file is the only memory: a picture is new until a whole line of it is there. A line is
written and synchronised before the next picture is read, so whatever ends the process can cost
the last line at most, and that picture is then predicted again.
"""

from edge_emotion.watch.results import Results
from edge_emotion.watch.run import Watcher
from edge_emotion.watch.stop import Stop

__all__ = ["Results", "Stop", "Watcher"]
