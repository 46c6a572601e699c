"""Options that say which server and how to reach it; shared by the verbs that talk to one."""

from __future__ import annotations

import os
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
    click.option("--api-key-file", type=_FILE, metavar="PATH", help="File with the API key."),
    click.option(
        "-H",
        "--header",
        "headers",
        multiple=True,
        metavar="NAME:VALUE",
        help="A request header; may be repeated. ${ENV} in the value is expanded.",
    ),
    click.option(
        "--ca", type=_FILE, metavar="PEM", help="CA that signed the server's certificate."
    ),
    click.option("--cert", type=_FILE, metavar="PEM", help="Client certificate (mutual TLS)."),
    click.option("--key", type=_FILE, metavar="PEM", help="Key of the client certificate."),
    click.option("--insecure", is_flag=True, help="Accept any server certificate."),
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

    Raises UsageError when both are named, or what is named is missing or empty.
    """
    if env_name and path:
        raise UsageError("--api-key-env and --api-key-file were both given", "give one of them")
    if path:
        secret = Path(path).read_text(encoding="utf-8").strip()
        if not secret:
            raise UsageError(f"--api-key-file {path}: the file is empty")
        return secret
    if env_name:
        if not (secret := os.environ.get(env_name, "").strip()):
            raise UsageError(f"--api-key-env {env_name}: the variable is not set")
        return secret
    return os.environ.get(DEFAULT_KEY_ENV, "").strip() or None


def _headers(pairs: tuple[str, ...]) -> Mapping[str, str]:
    """Raises UsageError for a malformed one, without showing it: it may be a secret."""
    headers: dict[str, str] = {}
    for pair in pairs:
        name, colon, value = pair.partition(":")
        if not colon or not name.strip():
            raise UsageError("-H: expected NAME:VALUE, got no name or no colon", "-H 'X-Tenant: a'")
        headers[name.strip()] = os.path.expandvars(value.strip())
    return headers
