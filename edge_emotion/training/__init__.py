"""Data sets, splits, architectures, fitting: the workstation side (extra: train)."""
