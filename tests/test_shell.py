"""Text for shells: quoted words, and how the user calls this program."""

import sys
from pathlib import Path

import pytest
from training_runs import ODD_NAMES, pasted

from fast_style import shell


@pytest.mark.parametrize(
    "text", [*ODD_NAMES, "", "'", "it's \\ $HOME `ls` !x", "tab\there"], ids=ascii
)
def test_a_quoted_text_is_one_word_of_a_shell(text: str) -> None:
    assert pasted(f"{shell.quote(text)} end") == [text, "end"]
    shell.quote(text).encode()  # is text that can be printed


def test_programs_are_named_as_the_users_shell_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "project" / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").touch()
    (scripts / "fast-style").touch(0o755)
    monkeypatch.setattr(sys, "prefix", str(scripts.parent))
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("PATH", f"{scripts}:/usr/bin:/bin")
    assert shell.program() == "fast-style"  # in an activated environment
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert shell.program() == "uv run fast-style"
    monkeypatch.setenv("PATH", f"{scripts}:{scripts}:/usr/bin:/bin")
    assert shell.program() == "fast-style"  # with uv run in an activated environment
    monkeypatch.setenv("PATH", f"{scripts}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    assert pasted(shell.program())[:4] == ["uv", "run", "--project", str(tmp_path / "project")]
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert shell.program() == str(scripts / "fast-style")  # started by its path
    (scripts / "fast-style").unlink()
    assert shell.program().endswith("-m fast_style.cli")
