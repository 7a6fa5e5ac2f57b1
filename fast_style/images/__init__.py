"""Pictures from files and to files."""
