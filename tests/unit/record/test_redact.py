"""What is kept out of a run folder."""

from __future__ import annotations

from typing import Any

import pytest

from bench.record.redact import redact, redact_text


@pytest.mark.parametrize(
    "key",
    ["Authorization", "api_key", "apiKey", "X-API-Key", "api-key", "token", "access_token",
     "hf_token", "AuthToken", "password", "client_secret", "Cookie", "set-cookie", "credentials"],
)  # fmt: skip
def test_keys_that_name_a_secret(key: str) -> None:
    """The text under such a key is removed, at any depth."""
    assert redact({"a": [{key: "value"}]}) == {"a": [{key: "***"}]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_tokens", 5),
        ("prompt_tokens", "5"),
        ("token_method", "events"),
        ("tokenizer", "local"),
        ("api_key_env", "OPENAI_API_KEY"),
        ("key_file", "client.pem"),
        ("return_token_ids", True),
        ("cache_salt", "none"),
        ("token", 17),
        ("password", None),
        ("authorization", ""),
    ],
)
def test_keys_that_only_look_like_it(key: str, value: Any) -> None:
    """Counts, methods, names of variables and files, and empty values stay."""
    assert redact({key: value}) == {key: value}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://user:pw@host/v1", "http://***@host/v1"),
        ("https://user:p@w@host:1/", "https://***@host:1/"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host?to=a@b", "http://host?to=a@b"),
        ("http://h/v1?model=m&api_key=xyz&n=1", "http://h/v1?model=m&api_key=***&n=1"),
        ("http://h/?access_token=xyz#top", "http://h/?access_token=***#top"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ('{"authorization": "Basic dTpw"}', '{"authorization": "***"}'),
        ("got Bearer abcdef123 instead", "got Bearer *** instead"),
        ("x-api-key: abc", "x-api-key: ***"),
        ("--api-key=abc", "--api-key=***"),
        ("Incorrect key sk-abcdefgh12 given", "Incorrect key *** given"),
        ("the tokens of a basic task", "the tokens of a basic task"),
    ],
)
def test_credentials_inside_texts(text: str, clean: str) -> None:
    """Credentials go, what stands around them stays."""
    assert redact_text(text) == clean


def test_known_secrets_go_wherever_they_stand() -> None:
    """A secret of the run is removed from values, but a short one can't eat ordinary words."""
    value = {"text": "x hunter2222 y", "words": ("hunter2222", "abc")}
    assert redact(value, ["hunter2222", "abc"]) == {"text": "x *** y", "words": ["***", "abc"]}


@pytest.mark.parametrize("length", [6, 7, 15])
def test_a_secret_that_was_cut_with_its_text(length: int) -> None:
    """An error text is cut after so many characters, perhaps inside the key."""
    secret = "0123456789abcdef"
    text = "wrong key " + secret[:length]
    assert redact_text(text, (secret,)) == "wrong key ***"
    assert redact_text("wrong key 01234", (secret,)) == "wrong key 01234"
