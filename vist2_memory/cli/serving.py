"""``vist2 serve`` and ``vist2 key``: memory and model for others, and who they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from vist2_memory.cli.common import AsJson, Model, Ratio, StoreURL, emit, note, show
from vist2_memory.cli.engines import EngineName, EngineOption, read_options
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory import VisualMemory

keys_app = typer.Typer(help="The API keys of a server.", no_args_is_help=True)

KeyFilePath = Annotated[
    Path,
    typer.Option("--keys", dir_okay=False, help="The file that has the keys, hashed."),
]


def serve(
    store: StoreURL = None,
    model: Model = None,
    ratio: Ratio = None,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    keys: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="The keys that may come in, see `vist2 key create`. [default: $VIST2_API_KEYS, "
            "their JSON itself; with neither, who is on this machine may]",
        ),
    ] = None,
    ttl: Annotated[
        int | None, typer.Option(min=1, help="Seconds after its last use that a session is kept.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Answers that are generated at once. [default: 64 where vLLM or another server "
            "puts them together, else 8]",
        ),
    ] = None,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait for the model.")] = 256,
    drain: Annotated[
        float, typer.Option(min=0, help="Seconds for answers in progress when told to end.")
    ] = 30.0,
    kv_cache: Annotated[
        int | None,
        typer.Option(min=0, help="MiB of keys and values to keep between turns. [default: 1024]"),
    ] = None,
    cors: Annotated[
        list[str] | None, typer.Option(help="Another site whose pages may call; once for each.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    engine: EngineName = None,
    engine_option: EngineOption = None,
) -> None:
    """Serve memory and model over HTTP, as OpenAI's chat API and sessions."""
    try:
        from vist2_memory.serving import allocation, logs, run, telemetry
        from vist2_memory.serving.app import create_app
        from vist2_memory.serving.keys import find_keyring
        from vist2_memory.serving.settings import ServerSettings, check_host
        from vist2_memory.serving.tenants import Tenants
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"vist2 serve needs {error.name}: pip install 'vist2-memory[server]'"
        ) from error
    options = read_options(engine_option)
    ring = find_keyring(keys, os.environ.get("VIST2_API_KEYS"))
    check_host(host, ring)
    if ring is None:
        note(
            f"WARNING: no keys. Whoever is on this machine reads and writes all memory at "
            f"http://{host}:{port}; for anything else: vist2 key create"
        )
    logs.set_up(log_level)
    telemetry.set_up()
    allocation.bound_arenas()
    if kv_cache is not None:
        options = {**(options or {}), "kv_cache_bytes": kv_cache * 2**20}
    with VisualMemory.open(
        store, model=model, ratio=ratio, ttl=ttl, engine=engine, engine_options=options
    ) as memory:
        settings = ServerSettings(
            ring,
            concurrency or memory.engine.at_once,
            queue,
            drain_s=drain,
            cors_origins=tuple(cors or ()),
        )
        app = create_app(Tenants(memory.store, memory.engine), settings)
        run.run(app, host, port, settings)


@keys_app.command("create")
def create_key(
    keys: KeyFilePath = Path("vist2-keys.json"),
    namespace: Annotated[str, typer.Option(help="Whose memory the key opens.")] = "default",
    rights: Annotated[
        str,
        typer.Option(help="With commas: read (look), write (add, ask), admin (delete, figures)."),
    ] = "read,write",
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it: it is shown this once, the file has its hash alone."""
    from vist2_memory.serving.keys import new_key, read_keys, write_keys

    wanted = [right.strip() for right in rights.split(",")]
    told, key = new_key(namespace, wanted)  # type: ignore[arg-type]
    write_keys(keys, [*read_keys(keys), key])
    if as_json:
        emit({"key": told, "id": key.id, "namespace": namespace, "rights": wanted})
        return
    note(f"{key.id} opens {namespace!r} to {', '.join(wanted)}; its hash is in {keys}")
    show(told)


@keys_app.command("list")
def list_keys(keys: KeyFilePath = Path("vist2-keys.json"), as_json: AsJson = False) -> None:
    """The keys in a file, without their secrets, which it does not have."""
    from vist2_memory.serving.keys import read_keys

    rows = [
        {"id": key.id, "namespace": key.namespace, "rights": list(key.rights), "rate": key.rate}
        for key in read_keys(keys)
    ]
    if as_json:
        emit(rows)
        return
    for row in rows:
        show(f"{row['id']}  {row['namespace']}  {','.join(row['rights'])}  {row['rate']}")


@keys_app.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(metavar="ID")], keys: KeyFilePath = Path("vist2-keys.json")
) -> None:
    """Take a key out of a file; a running server notices within a second or two."""
    from vist2_memory.serving.keys import read_keys, write_keys

    found = read_keys(keys)
    if all(key.id != id for key in found):
        raise InvalidInputError(f"{keys} has no key {id!r}: see vist2 key list")
    write_keys(keys, [key for key in found if key.id != id])
