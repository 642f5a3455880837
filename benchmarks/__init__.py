"""What an export cost in accuracy and won in speed (extra: bench)."""
