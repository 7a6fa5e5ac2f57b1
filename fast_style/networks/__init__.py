"""The networks, and what is known of them without PyTorch, which takes seconds to import."""

MIN_SIDE = 16
"""Pictures have at least so many px a side, for PyTorch's form of the network and OpenVINO's."""
