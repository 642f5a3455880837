"""The models that come with edge-emotion: one folder each, described by its card.json."""
