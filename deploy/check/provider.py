"""A stand-in for Google's Terraform provider, so that Terraform validates and plans offline. It has only the schema.

Terraform finds this provider by TF_REATTACH_PROVIDERS and downloads nothing. In its plans, attributes that only Google
can compute are unknown. It does not make the checks that Google's provider makes beyond the schema.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import msgpack

from deploy.check.schemas import Attribute, Block

SOURCE = "hashicorp/google"
_UNKNOWN = msgpack.ExtType(0, b"\0")
_NESTING = {"struct": "SINGLE", "list": "LIST", "set": "SET"}
# The attributes that reading a data source sets; all others stay as they are configured.
_READ = {"number": "123456789012"}

_messages, _services = grpc.protos_and_services("deploy/check/tfplugin5.proto")


def _schema(block: Block) -> Any:
    return _messages.Schema(block=_block(block))


def _block(block: Block) -> Any:
    attributes = [_attribute(name, attribute) for name, attribute in block.attributes.items()]
    nested = [
        _messages.Schema.NestedBlock(
            type_name=name,
            block=_block(inner.block),
            nesting=_NESTING[inner.nesting],
            min_items=int(inner.required),
            max_items=int(inner.single and inner.nesting != "struct"),
        )
        for name, inner in block.blocks.items()
    ]
    return _messages.Schema.Block(attributes=attributes, block_types=nested)


def _attribute(name: str, attribute: Attribute) -> Any:
    return _messages.Schema.Attribute(
        name=name,
        type=json.dumps(attribute.type).encode(),
        required=attribute.required,
        optional=attribute.optional,
        computed=attribute.computed,
        write_only=attribute.write_only,
    )


def _planned(block: Block, values: dict[str, Any]) -> dict[str, Any]:
    """Return the planned state for a proposed state: computed attributes that are not set become unknown.

    Write-only attributes become null. Blocks with the nesting ``struct`` stay as they are proposed.
    """
    planned = dict(values)
    for name, attribute in block.attributes.items():
        if attribute.write_only:
            planned[name] = None
        elif attribute.computed and planned[name] is None:
            planned[name] = _UNKNOWN
    for name, nested in block.blocks.items():
        if nested.nesting != "struct" and isinstance(planned[name], list):
            planned[name] = [_planned(nested.block, inner) for inner in planned[name]]
    return planned


class _Provider(_services.ProviderServicer):
    """The calls of Terraform's plug-in protocol."""

    def __init__(self, schemas: Mapping[str, Block]) -> None:
        self._schemas = schemas

    def GetSchema(self, _: Any, __: grpc.ServicerContext) -> Any:  # noqa: N802  # the protocol's name
        of = {
            kind: {n[len(kind) + 1 :]: _schema(b) for n, b in self._schemas.items() if n.startswith(f"{kind}_")}
            for kind in ("resource", "data")
        }
        return _messages.Schemas(
            provider=_schema(self._schemas["provider"]),
            resource_schemas=of["resource"],
            data_source_schemas=of["data"],
        )

    def PrepareProviderConfig(self, request: Any, _: grpc.ServicerContext) -> Any:  # noqa: N802
        return _messages.PreparedConfig(prepared_config=request.config)

    def ValidateResourceTypeConfig(self, _: Any, __: grpc.ServicerContext) -> Any:  # noqa: N802
        return _messages.Diagnostics()

    ValidateDataSourceConfig = Configure = ValidateResourceTypeConfig

    def PlanResourceChange(self, request: Any, _: grpc.ServicerContext) -> Any:  # noqa: N802
        values = msgpack.unpackb(request.proposed_new_state.msgpack)
        if values is None:
            return _messages.PlanResponse(planned_state=request.proposed_new_state)
        planned = _planned(self._schemas[f"resource_{request.type_name}"], values)
        return _messages.PlanResponse(planned_state={"msgpack": msgpack.packb(planned)})

    def ReadDataSource(self, request: Any, _: grpc.ServicerContext) -> Any:  # noqa: N802
        values = msgpack.unpackb(request.config.msgpack)
        return _messages.ReadResponse(state={"msgpack": msgpack.packb(values | _READ)})

    def Stop(self, _: Any, __: grpc.ServicerContext) -> Any:  # noqa: N802
        return _messages.StopResponse()


@contextmanager
def serving(schemas: Mapping[str, Block]) -> Iterator[dict[str, str]]:
    """Serve the provider; yield the environment variables by which Terraform finds it."""
    with TemporaryDirectory() as folder:
        socket = str(Path(folder) / "provider")
        server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_send_message_length", -1)])
        _services.add_ProviderServicer_to_server(_Provider(schemas), server)
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        address = {"Network": "unix", "String": socket}
        plugin = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": address}
        try:
            yield {"TF_REATTACH_PROVIDERS": json.dumps({SOURCE: plugin})}
        finally:
            server.stop(None)
