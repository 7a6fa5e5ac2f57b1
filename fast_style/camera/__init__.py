"""The stylized camera in a window: frames in, keys in, pictures out."""

from fast_style.camera.capture import Capture
from fast_style.camera.live import Controls, Live, Window

__all__ = ["Capture", "Controls", "Live", "Window"]
