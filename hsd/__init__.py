"""hsd: fine-tune language models to detect hate speech and judge them without being fooled."""

__version__ = "0.2.0"
