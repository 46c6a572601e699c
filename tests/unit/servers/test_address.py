"""A target's URL is taken in the spellings people use, and refused with a reason otherwise."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.servers.address import root_url


@pytest.mark.parametrize(
    "url",
    [
        "http://host:8000",
        "http://host:8000/",
        "http://host:8000/v1",
        "http://host:8000/v1/",
        " http://host:8000/v1/chat/completions",
        "http://host:8000/v1/completions",
        "http://host:8000/v1/models",
    ],
)
def test_v1_and_slashes_may_be_there_or_not(url: str) -> None:
    """Each spelling means the same server."""
    assert root_url(url) == "http://host:8000"


def test_a_path_in_front_of_v1_is_kept() -> None:
    """A gateway's route stays part of the address."""
    assert root_url("https://[::1]:443/team/qwen/v1/") == "https://[::1]:443/team/qwen"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("host:8000", "expected http:// or https://"),
        ("ftp://host", "expected http:// or https://"),
        ("http:///v1", "expected a host"),
        ("http://host:99999", "range"),
        ("http://host/v1?key=abc", "expected no query"),
    ],
)
def test_what_is_no_address_is_refused(url: str, said: str) -> None:
    """The error says what was expected."""
    with pytest.raises(UsageError, match=said):
        root_url(url)


@pytest.mark.parametrize("url", ["http://user:hunter2@host", "ftp://user:hunter2@host?k=hunter2"])
def test_an_error_never_repeats_a_secret(url: str) -> None:
    """Credentials in a URL are refused without being shown."""
    with pytest.raises(UsageError) as caught:
        root_url(url)
    assert "hunter2" not in caught.value.message + caught.value.hint
