"""What networks train on."""

from fast_style.data.content import ContentData
from fast_style.data.datasets import ContentImages

__all__ = ["ContentData", "ContentImages"]
