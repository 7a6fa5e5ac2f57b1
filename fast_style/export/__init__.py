"""A style in other formats, and styles of other programs as ours."""
