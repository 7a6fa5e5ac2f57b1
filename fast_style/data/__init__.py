"""What networks train on."""

from fast_style.data.content import ContentData

__all__ = ["ContentData"]
