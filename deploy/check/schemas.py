"""The schema of Google's Terraform provider, read from the npm package @cdktf/provider-google."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.check.processes import run

PACKAGE = "@cdktf/provider-google@16.12.1"
# The version of the provider from which the package was made; versions.tf pins the same one.
PROVIDER_VERSION = "6.50.0"
# The package's SHA-512 digest in base64, as in npm's integrity field.
SHA512 = "KqNA/5RiFT07r0PSZ6/07cJ2zESUgbj1JchVj21iBFBZVUbD+578xA/k8eq/r0cbyEgLmg9eYWeVslaYah4DCQ=="

_SIMPLE = {"string": "string", "number": "number", "boolean": "bool"}
_GETTERS = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "NumberMap": ["map", "number"],
    "BooleanMap": ["map", "bool"],
}
_INTERFACE = re.compile(r"^export interface (\w+)[^{]*\{(.*?)^\}", re.MULTILINE | re.DOTALL)
_PROPERTY = re.compile(r"#(\w+) \w+#\w+\}.*?readonly \w+(\??):", re.DOTALL)
_FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_CLASS = re.compile(r"^class (\w+) extends cdktf\.(\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_ARGUMENT = re.compile(
    r'^\s+(\w+): \{\s+value: [^\n]*\s+isBlock: (true|false),\s+type: "(\w+)",\s+storageClassType: "(\w+)"', re.MULTILINE
)
_GETTER = re.compile(r"this\.get(\w+)Attribute\('(\w+)'\)")
_MEMBER = re.compile(r'this\._\w+ = new (?:cdktf\.)?(\w+)\(this, "(\w+)"')


@dataclass(slots=True)
class Attribute:
    """An attribute: its type in the notation of Terraform's protocol, and whether users or the provider set it."""

    type: object
    required: bool
    optional: bool
    computed: bool
    write_only: bool = False


@dataclass(slots=True)
class Block:
    """The schema of a resource or of a nested block."""

    attributes: dict[str, Attribute] = field(default_factory=dict)
    blocks: dict[str, NestedBlock] = field(default_factory=dict)


@dataclass(slots=True)
class NestedBlock:
    """A block inside another block."""

    block: Block
    # ``list``, ``set`` or ``struct``.
    nesting: str
    required: bool
    single: bool


class Types:
    """The npm package, downloaded once into a cache folder. Its construction raises ValueError for a wrong digest."""

    def __init__(self, cache: Path) -> None:
        self._archive = cache / f"{PACKAGE.replace('/', '-')}.tgz"
        if not self._archive.exists():
            _fetch(self._archive)
        if _sha512(self._archive) != SHA512:
            raise ValueError(f"{self._archive} is not {PACKAGE}: its SHA-512 differs")

    def schemas(self, names: set[str]) -> dict[str, Block]:
        """Return the schemas by name: ``resource_TYPE``, ``data_TYPE`` or ``provider``; raises LookupError."""
        wanted = {_folder(name): name for name in names}
        found: dict[str, dict[str, str]] = {}
        with tarfile.open(self._archive) as archive:
            for member in archive:
                parts = member.name.split("/")
                if len(parts) == 4 and parts[2] in wanted and parts[3] in ("index.js", "index.d.ts"):
                    content = archive.extractfile(member)
                    found.setdefault(parts[2], {})[parts[3]] = content.read().decode() if content else ""
        if absent := sorted(wanted[folder] for folder in wanted.keys() - found.keys()):
            raise LookupError(f"the provider has no {', '.join(absent)}")
        return {
            wanted[folder]: _Module(files["index.js"], files["index.d.ts"]).block() for folder, files in found.items()
        }


def _folder(name: str) -> str:
    """Return the name of the package's folder that holds a schema, such as ``data-google-project``."""
    kind, _, of = name.partition("_")
    words = of.removeprefix("google_") if kind == "resource" else f"{kind}_{of}".removesuffix("_")
    return words.replace("_", "-")


def _fetch(archive: Path) -> None:
    with TemporaryDirectory(dir=archive.parent) as folder:
        run("npm", "pack", PACKAGE, "--silent", "--pack-destination", folder)
        os.replace(next(Path(folder).glob("*.tgz")), archive)


def _sha512(file: Path) -> str:
    with file.open("rb") as opened:
        return base64.b64encode(hashlib.file_digest(opened, "sha512").digest()).decode()


class _Module:
    """The parsed source of one resource in the package."""

    def __init__(self, code: str, declarations: str) -> None:
        self._structs = {name.lower(): body for name, body in _FUNCTION.findall(code)}
        self._classes = {name: (base, body) for name, base, body in _CLASS.findall(code)}
        self._required = {
            name: {argument: not mark for argument, mark in _PROPERTY.findall(body)}
            for name, body in _INTERFACE.findall(declarations)
        }

    def block(self) -> Block:
        """Return the schema of the whole resource."""
        name, body = next((name, body) for name, (base, body) in self._classes.items() if base.startswith("Terraform"))
        return self._block(f"{name}Config", body, body)

    def _block(self, interface: str, arguments: str, members: str) -> Block:
        """Return the schema of a block.

        ``interface`` is the name of its TypeScript interface. ``arguments`` is the code that passes its arguments to
        Terraform, and ``members`` is the code of its class.
        """
        block, required = Block(), self._required.get(interface, {})
        kinds = {name: kind for kind, name in _MEMBER.findall(members)}
        for name, is_block, shape, storage in _ARGUMENT.findall(arguments):
            must = required.get(name, False)
            if is_block == "true":
                single = shape == "struct" or kinds.get(name, "").endswith("OutputReference")
                nested = self._nested(storage.removesuffix("List"))
                block.blocks[name] = NestedBlock(nested, shape, must and shape != "struct", single)
            else:
                written = name.endswith("_wo")
                type_ = self._type(shape, storage)
                block.attributes[name] = Attribute(type_, must, not must, not must and not written, written)
        for kind, name in _GETTER.findall(members):
            if name not in block.attributes:
                block.attributes[name] = Attribute(_GETTERS[kind], False, False, True)
        for name, kind in kinds.items():
            if name not in block.attributes and name not in block.blocks:
                block.attributes[name] = Attribute(self._computed(kind), False, False, True)
        return block

    def _nested(self, struct: str) -> Block:
        _, members = self._classes.get(f"{struct}OutputReference", ("", ""))
        return self._block(struct, self._structs.get(struct.lower(), ""), members)

    def _type(self, shape: str, storage: str) -> object:
        if shape == "simple":
            return _SIMPLE[storage]
        element = storage.removesuffix("List").removesuffix("Map")
        return [shape, _SIMPLE.get(element) or _object(self._nested(element))]

    def _computed(self, kind: str) -> object:
        if simple := _GETTERS.get(kind):
            return simple
        shape = "map" if kind.endswith("Map") else "list"
        return [shape, _object(self._nested(kind.removesuffix("List").removesuffix("Map")))]


def _object(block: Block) -> object:
    """Return a block as an object type in Terraform's notation, for computed attributes with nested values."""
    attributes = {name: attribute.type for name, attribute in block.attributes.items()}
    nested = {name: [nested.nesting, _object(nested.block)] for name, nested in block.blocks.items()}
    return ["object", attributes | nested]
