"""Options that say which server and how to reach it; shared by the verbs that talk to one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.model import Target

_Command = TypeVar("_Command", bound=Callable[..., Any])

DEFAULT_KEY_ENV = "OPENAI_API_KEY"

_FILE = click.Path(exists=True, dir_okay=False)

_OPTIONS = (
    click.option("-m", "--model", default="", help="Model name. Default: the only one served."),
    click.option(
        "--endpoint",
        type=click.Choice(
            ["chat", "completions", "responses", "tgi", "infer", "triton", "generate"]
        ),
        default="chat",
        show_default=True,
        help="API to use: OpenAI's three; TGI's /generate_stream; MindIE's /infer; Triton's "
        "generate_stream; vLLM's first /generate.",
    ),
    click.option(
        "--api-key-env",
        metavar="NAME",
        help=f"Environment variable with the API key. Default: {DEFAULT_KEY_ENV}, if it is set.",
    ),
    click.option(
        "--api-key-file", metavar="PATH", help="File with the API key; - reads it from stdin."
    ),
    click.option(
        "-H",
        "--header",
        "headers",
        multiple=True,
        metavar="NAME:VALUE",
        help="A request header; may be repeated. ${ENV} in the value is expanded; a key has to "
        "stand there.",
    ),
    click.option(
        "--ca", type=_FILE, metavar="PEM", help="CA that signed the server's certificate."
    ),
    click.option("--cert", type=_FILE, metavar="PEM", help="Client certificate (mutual TLS)."),
    click.option("--key", type=_FILE, metavar="PEM", help="Key of the client certificate."),
    click.option("--insecure", is_flag=True, help="Accept any server certificate."),
)


url_option = click.option(
    "-t", "--target", "url", required=True, metavar="URL", help="Server, with or without /v1."
)


def target_options(command: _Command) -> _Command:
    """Adds the options; the command takes them as keywords, for `make_target`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_target(
    url: str,
    *,
    model: str,
    endpoint: str,
    api_key_env: str | None,
    api_key_file: str | None,
    headers: tuple[str, ...],
    ca: str | None,
    cert: str | None,
    key: str | None,
    insecure: bool,
) -> Target:
    """The target the options describe.

    Raises UsageError for a missing key, a malformed header, or --key without --cert.
    """
    from bench.model import Target, Tls

    if key and not cert:
        raise UsageError("--key was given without --cert", "give both, or one PEM as --cert")
    secret = read_key(api_key_env, api_key_file)
    sent = {"Authorization": f"Bearer {secret}"} if secret else {}
    return Target(
        base_url=url,
        model=model,
        endpoint=endpoint,
        headers={**sent, **_headers(headers)},
        tls=Tls(ca_file=ca, cert_file=cert, key_file=key, verify=not insecure),
    )


def read_key(env_name: str | None, path: str | None) -> str | None:
    """The API key from the variable or file named, else from the usual variable; None without.

    The file `-` is stdin.  Raises UsageError when both are named, or what is named can't be read
    or is empty.
    """
    if env_name and path:
        raise UsageError("--api-key-env and --api-key-file were both given", "give one of them")
    if path:
        return _key_in(path)
    if env_name:
        if not (secret := os.environ.get(env_name, "").strip()):
            raise UsageError(f"--api-key-env {env_name}: the variable is not set")
        return secret
    return os.environ.get(DEFAULT_KEY_ENV, "").strip() or None


def _key_in(path: str) -> str:
    try:
        secret = (sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")).strip()
    except OSError as error:
        raise UsageError(f"--api-key-file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"--api-key-file {path}: expected a key as text, got other bytes"
        ) from None
    if not secret:
        raise UsageError(f"--api-key-file {path}: the file is empty")
    return secret


def _headers(pairs: tuple[str, ...]) -> Mapping[str, str]:
    """The headers, `${NAME}` expanded.

    Raises UsageError for a malformed one, without showing it, for a variable that is not set, and
    for a secret that stands in the command, where every user of the machine can read it.
    """
    from bench.record.redact import names_secret
    from bench.yamlfile import expand_env

    headers: dict[str, str] = {}
    for pair in pairs:
        name, colon, value = pair.partition(":")
        if not colon or not name.strip():
            raise UsageError("-H: expected NAME:VALUE, got no name or no colon", "-H 'X-Tenant: a'")
        name, value = name.strip(), value.strip()
        headers[name] = expand_env(value, os.environ, f"-H {name}")
        if names_secret(name) and headers[name] == value:
            raise UsageError(
                f"-H {name}: a secret in the command can be read by every user of this machine",
                f"put it into the environment: -H '{name}: ${{MY_KEY}}'; "
                "or use --api-key-env, --api-key-file",
            )
    return headers
