"""Move MLflow objects between tracking servers: export to a directory, import from it, or copy in one go."""

__version__ = "1.0.0"
