"""The server behind the page in a browser."""
