"""`bench sim`: serve the simulated inference server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.errors import ConfigError, UsageError

_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)
_PORTS = {"port": (8000, 1025), "management_port": (0, 1026), "metrics_port": (0, 1027)}
"""Default ports: of a family with one, and of MindIE."""


@click.command(name="sim", no_args_is_help=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--family",
    type=click.Choice(["vllm", "mindie", "sglang", "llamacpp", "tgi"]),
    default="vllm",
    show_default=True,
    help="The kind of server to be: streams, errors, metric names, ports.",
)
@click.option("--port", type=int, help="Port; 0 takes a free one.  [default: 8000; mindie 1025]")
@click.option("--management-port", type=int, help="MindIE's management port.  [default: 1026]")
@click.option("--metrics-port", type=int, help="MindIE's metrics port.  [default: 1027]")
@click.option("--tls-cert", type=_PEM, help="Speak TLS with this certificate (PEM).")
@click.option("--tls-key", type=_PEM, help="Key of the certificate.")
@click.option("--tls-client-ca", type=_PEM, help="Ask clients for a certificate of this CA.")
@click.option(
    "--monitoring/--no-monitoring",
    default=True,
    help="MindIE: without, metrics answer 500, as when MIES_SERVICE_MONITOR_MODE is not set.",
)
@click.option(
    "--benchmark",
    is_flag=True,
    help="MindIE: usage tells batch sizes and waits, as with MINDIE_LLM_BENCHMARK_ENABLE.",
)
@click.option("--model", default="sim", show_default=True, help="Served model name.")
@click.option("--replicas", default=1, show_default=True, help="Engines behind the port.")
@click.option("--step-ms", default=5.0, show_default=True, help="Least time of one engine step.")
@click.option(
    "--prefill-us", default=20.0, show_default=True, help="Added to a step by a prefill token."
)
@click.option(
    "--decode-us", default=20.0, show_default=True, help="Added to a step by a decoding request."
)
@click.option(
    "--noise", default=0.0, show_default=True, help="Standard deviation of a step's time, as share."
)
@click.option("--max-num-seqs", default=256, show_default=True, help="Requests in a batch.")
@click.option(
    "--max-num-batched-tokens", default=8192, show_default=True, help="Token budget of a step."
)
@click.option("--kv-blocks", default=32_768, show_default=True, help="KV blocks of an engine.")
@click.option(
    "--block-tokens",
    type=int,
    help="Tokens in a KV block.  [default: 16; mindie 128; sglang, llamacpp 1]",
)
@click.option(
    "--max-model-len",
    type=int,
    help="Longest prompt and reply together.  [default: what the KV blocks hold, up to 131072]",
)
@click.option(
    "--prefix-caching/--no-prefix-caching", default=True, show_default=True, help="Reuse blocks."
)
@click.option(
    "--natural-output-tokens",
    default=256,
    show_default=True,
    help="Mean length of a reply that ends by itself (without ignore_eos).",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[:WHEN][:PARAM=VALUE]",
    help="Answer wrongly; may be repeated.  `bench sim --list-faults` names the kinds.",
)
@click.option("--list-faults", is_flag=True, help="List the kinds of faults, and stop.")
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write each request's true times to this file, as JSON lines.",
)
@click.option(
    "--api-key-env",
    metavar="NAME",
    help="Environment variable that holds the key clients must send for /v1.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of noise, faults and lengths.")
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as a JSON object.")
def command(list_faults: bool, as_json: bool, **options: Any) -> None:
    """Serve a simulated inference server with an OpenAI-compatible API.

    It batches continuously over paged KV blocks with a prefix cache, as vLLM does, and takes for
    each step the time that --step-ms, --prefill-us and --decode-us give.  It streams, counts and
    names its metrics as vLLM 0.32 does, or as another --family.  What it says is made up; when it
    said it is recorded exactly (--truth), so that a client's measurements can be held against it.

    One line on stdout says when it is ready, with its URL.  Ctrl-C stops it.

    \b
    Examples:
      bench sim
      bench sim --port 0 --kv-blocks 2000 --truth truth.jsonl
      bench sim --fault http_503:0.01:retry_after=2 \\
                --fault stall:every=50:seconds=3
      bench sim --fault refuse:at=10s-15s
      bench sim --family mindie --tls-cert server.pem --tls-key server.key \\
                --tls-client-ca ca.pem
    """
    from bench.sim.faults import KINDS, STATUS_HELP

    if list_faults:
        rows = [(STATUS_HELP, "Answer with this status.", "retry_after")]
        rows += [(name, kind.what, ", ".join(kind.params)) for name, kind in KINDS.items()]
        for name, what, params in rows:
            click.echo(f"{name}\n    {what}" + (f"  Parameters: {params}." if params else ""))
        return
    _serve(_config(options), as_json)


def _config(options: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from bench.sim.config import SimConfig

    fields = dict(options)
    for name, (usual, mindie) in _PORTS.items():
        if fields[name] is None:
            fields[name] = mindie if fields["family"] == "mindie" else usual
    cert, key, client_ca = (fields.pop(f"tls_{name}") for name in ("cert", "key", "client_ca"))
    if (cert is None) != (key is None) or (client_ca and not cert):
        raise UsageError("--tls-cert and --tls-key belong together", "give both PEM files")
    if cert is not None:
        fields["tls"] = {"cert": cert, "key": key, "client_ca": client_ca}
    fields["step_s"] = fields.pop("step_ms") / 1e3
    fields["prefill_token_s"] = fields.pop("prefill_us") / 1e6
    fields["decode_seq_s"] = fields.pop("decode_us") / 1e6
    fields["noise_fraction"] = fields.pop("noise")
    try:
        return SimConfig(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "options"
        raise ConfigError(
            f"bench sim: {where}: {first['msg']}", "see `bench sim --help` for the limits"
        ) from None


def _serve(config: Any, as_json: bool) -> None:
    import asyncio
    import json

    from bench.sim.http import SimServer
    from bench.sim.serve import serve

    def ready(server: SimServer) -> None:
        line = {
            "url": server.url,
            "urls": server.urls,
            "family": config.family,
            "model": config.model,
            "replicas": config.replicas,
        }
        said = f"bench sim ready at {server.url}"
        said += "".join(
            f", {role} at {url}" for role, url in server.urls.items() if url != server.url
        )
        click.echo(json.dumps(line) if as_json else said)

    asyncio.run(serve(config, ready))
