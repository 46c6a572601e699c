"""The options that say which server: keys, headers, certificates."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from bench.cli.target import make_target, read_key
from bench.errors import UsageError

DEFAULTS: dict[str, Any] = {
    "model": "",
    "endpoint": "chat",
    "api_key_env": None,
    "api_key_file": None,
    "headers": (),
    "ca": None,
    "cert": None,
    "key": None,
    "insecure": False,
}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_the_usual_variable_is_used_when_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_API_KEY becomes a bearer token, and is not shown by the record."""
    monkeypatch.setenv("OPENAI_API_KEY", " hunter2 ")
    target = make_target("http://h", **DEFAULTS)
    assert target.headers == {"Authorization": "Bearer hunter2"}
    assert "hunter2" not in repr(target)


def test_without_a_key_nothing_is_sent() -> None:
    """No variable and no file: no Authorization header."""
    assert make_target("http://h", **DEFAULTS).headers == {}


def test_a_key_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    """Files end in a line feed that is no part of the key."""
    path = tmp_path / "key"
    path.write_text("hunter2\n")
    assert read_key(None, str(path)) == "hunter2"


def test_headers_expand_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret in a header stays out of the shell history."""
    monkeypatch.setenv("TENANT_KEY", "hunter2")
    target = make_target("http://h", **{**DEFAULTS, "headers": ("X-Tenant: ${TENANT_KEY}",)})
    assert target.headers == {"X-Tenant": "hunter2"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"headers": ("hunter2",)}, "expected NAME:VALUE"),
        ({"api_key_env": "NOT_SET"}, "NOT_SET: the variable is not set"),
        ({"headers": ("X-Tenant: ${NOT_SET}",)}, "variable NOT_SET is not set"),
        ({"api_key_env": "A", "api_key_file": "b"}, "both given"),
        ({"key": "k.pem"}, "--key was given without --cert"),
    ],
)
def test_mistakes_are_named(changed: dict[str, Any], said: str) -> None:
    """Each wrong combination is refused before anything is sent."""
    with pytest.raises(UsageError, match=said) as caught:
        make_target("http://h", **{**DEFAULTS, **changed})
    assert "hunter2" not in caught.value.message


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    """An empty key would be sent as no key at all."""
    path = tmp_path / "key"
    path.write_text("\n")
    with pytest.raises(UsageError, match="the file is empty"):
        read_key(None, str(path))


def test_a_key_comes_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--api-key-file -`: for a key that a program prints."""
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    assert read_key(None, "-") == "hunter2"


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "X-Auth-Token"])
def test_a_secret_in_the_command_is_refused(name: str) -> None:
    """`ps` shows it to every user: it belongs into the environment, a file or stdin."""
    with pytest.raises(UsageError, match=f"-H {name}: a secret in the command") as caught:
        make_target("http://h", **{**DEFAULTS, "headers": (f"{name}: Bearer hunter2",)})
    assert "hunter2" not in caught.value.message + caught.value.hint
    assert "${MY_KEY}" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"\xff\xfe\x00", "got other bytes")]
)
def test_a_key_file_that_holds_none(tmp_path: Path, content: bytes | None, said: str) -> None:
    """A file that is not there, or is no text, is a mistake that is told."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_key(None, str(path))
