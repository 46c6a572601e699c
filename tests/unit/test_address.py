"""A target's URL is taken in the spellings people use, and refused with a reason otherwise."""

from __future__ import annotations

import pytest

from bench.address import Origin, parse_origin
from bench.errors import UsageError


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
    assert parse_origin(url) == Origin(tls=False, host="host", port=8000, prefix="")
    assert parse_origin(url).url == "http://host:8000"


def test_a_path_in_front_of_v1_is_kept() -> None:
    """A gateway's route stays part of the address."""
    origin = parse_origin("https://[::1]:8443/team/qwen/v1/")
    assert origin == Origin(tls=True, host="::1", port=8443, prefix="/team/qwen")
    assert origin.url == "https://[::1]:8443/team/qwen"


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://host", "host"),
        ("https://host:443/v1", "host"),
        ("http://host:443", "host:443"),
        ("http://HOST", "host"),
    ],
)
def test_a_default_port_is_left_out(url: str, authority: str) -> None:
    """The Host header has the port only where the scheme does not imply it."""
    assert parse_origin(url).authority == authority


def test_names_and_paths_outside_ascii_can_be_sent() -> None:
    """A host becomes IDNA and a path percent-encoded; neither can end the request line early."""
    origin = parse_origin("http://服务.cn/a b/模型/v1")
    assert origin.url == "http://xn--zfr188b.cn/a%20b/%E6%A8%A1%E5%9E%8B"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("host:8000", "expected http:// or https://"),
        ("ftp://host", "expected http:// or https://"),
        ("http:///v1", "expected a host"),
        ("http://host:99999", "range"),
        ("http://[::1", "Invalid IPv6"),
        ("http://host/v1?key=abc", "expected no query"),
    ],
)
def test_what_is_no_address_is_refused(url: str, said: str) -> None:
    """The error says what was expected."""
    with pytest.raises(UsageError, match=said):
        parse_origin(url)


@pytest.mark.parametrize("url", ["http://user:hunter2@host", "ftp://user:hunter2@host?k=hunter2"])
def test_an_error_never_repeats_a_secret(url: str) -> None:
    """Credentials in a URL are refused without being shown."""
    with pytest.raises(UsageError) as caught:
        parse_origin(url)
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("host:8000", "http://host:8000"),
        ("httpserver:80", "http://httpserver:80"),
        ("http//127.0.0.1", "http://127.0.0.1"),
        ("https:/host/v1", "https://host/v1"),
        ("//host", "http://host"),
    ],
)
def test_a_torn_scheme_is_put_right_in_the_advice(url: str, meant: str) -> None:
    """What is suggested can be used as it stands."""
    with pytest.raises(UsageError) as caught:
        parse_origin(url)
    assert caught.value.hint == f"did you mean {meant}?"
    parse_origin(meant)
