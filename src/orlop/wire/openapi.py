"""OpenAPI 3.0 and 3.1 documents, read: each operation as a tool's schemas, and as an HTTP request.

What can't be offered faithfully (a multipart body, a parameter in a style of its own) is refused by
name, and the other operations of the document work.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from orlop.abi.errors import BadCall
from orlop.wire.openapi_schemas import Document, mapping, schema_with_definitions

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SAFE: Final = frozenset({"get", "head", "options", "trace"})
"""Methods that change nothing, by RFC 9110."""

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
IGNORED_HEADERS: Final = frozenset({"accept", "content-type", "authorization"})
"""Parameters of these names mean nothing, says the specification."""

Place = Literal["path", "query", "header"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    place: Place
    joined: bool = False
    """A list is one value with commas; else it is repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One of a document's operations.  wrong: why it can't be a tool; empty: it can."""

    name: str
    method: str
    path: str
    description: str = ""
    parameters: Sequence[Parameter] = ()
    arguments: Mapping[str, object] = field(default_factory=dict)
    """JSON schema of its parameters by name, and of `body`."""
    results: Mapping[str, object] = field(default_factory=dict)
    body: str = ""
    """The media type of its body; empty: none."""
    wrong: str = ""

    @property
    def is_safe(self) -> bool:
        return self.method in SAFE

    def manifest(self) -> dict[str, object]:
        """All that its digest is taken over: a description that models read, and where it goes."""
        return {
            "name": self.name,
            "method": self.method,
            "path": self.path,
            "description": self.description,
            "arguments": dict(self.arguments),
            "results": dict(self.results),
            "body": self.body,
            "places": {one.name: one.place for one in self.parameters},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent: `path` is below the base URL and has its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Scheme:
    """Where a credential goes.  place: `header` or `query`."""

    place: str
    name: str
    prefix: str = ""
    is_basic: bool = False

    def value(self, key: str) -> str:
        return self.prefix + (base64.b64encode(key.encode()).decode() if self.is_basic else key)


BEARER: Final = Scheme("header", "Authorization", "Bearer ")


def read(text: bytes) -> Document:
    """Raises `BadCall` for what is no OpenAPI 3 document."""
    try:
        root = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadCall(f"the document is no JSON (YAML is not read): {error}") from error
    version = root.get("openapi") if isinstance(root, dict) else None
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
        raise BadCall(f"the document says openapi: {str(version)[:20]!r}; 3.0 and 3.1 are read")
    return Document(root, is_old=version.startswith("3.0"))


def server(document: Document) -> str:
    """The first server's URL, or nothing."""
    servers = document.root.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else {}
    url = mapping(first).get("url")
    return url if isinstance(url, str) and url.startswith(("http://", "https://")) else ""


def scheme(document: Document) -> Scheme:
    """Where the document wants its credential; bearer where it does not say."""
    schemes = mapping(mapping(document.root.get("components")).get("securitySchemes"))
    for one in schemes.values():
        said = mapping(document.resolved(one))
        if said.get("type") == "apiKey" and said.get("in") in ("header", "query"):
            return Scheme(str(said["in"]), str(said.get("name")))
        if said.get("type") == "http" and str(said.get("scheme")).lower() == "basic":
            return Scheme("header", "Authorization", "Basic ", is_basic=True)
        if said.get("type") in ("http", "oauth2", "openIdConnect"):
            return BEARER
    return BEARER


def operations(document: Document) -> Iterator[Operation]:
    """All, in the document's order."""
    for path, item in mapping(document.root.get("paths")).items():
        shared = mapping(document.resolved(item))
        for method in METHODS:
            if method in shared:
                yield _operation(document, path, method, shared, mapping(shared[method]))


def _operation(
    document: Document,
    path: str,
    method: str,
    shared: Mapping[str, object],
    said: Mapping[str, object],
) -> Operation:
    given = said.get("operationId")
    name = given if isinstance(given, str) else re.sub(r"[^A-Za-z0-9]+", "_", f"{method}{path}")
    name = name.strip("_")[:64]
    words = [said.get("summary"), said.get("description")]
    description = "\n".join(word for word in words if isinstance(word, str) and word)
    bare = Operation(name=name, method=method, path=path, description=description)
    if not NAME.fullmatch(name):
        return _refused(bare, "its operationId has other characters than letters, digits, _ and -")
    try:
        parameters, properties, required = _parameters(document, shared, said)
        body, body_schema, needs_body = _body(document, said)
        if body:
            properties["body"] = body_schema
            required += ["body"] if needs_body else []
        arguments = {"type": "object", "properties": properties, "additionalProperties": False}
        if required:
            arguments["required"] = required
        return Operation(
            name=name,
            method=method,
            path=path,
            description=description,
            parameters=parameters,
            arguments=schema_with_definitions(document, arguments),
            results=_results(document, said),
            body=body,
        )
    except BadCall as error:
        return _refused(bare, error.message)


def _refused(bare: Operation, reason: str) -> Operation:
    return Operation(
        name=bare.name,
        method=bare.method,
        path=bare.path,
        description=bare.description,
        wrong=reason,
    )


def _parameters(
    document: Document, shared: Mapping[str, object], said: Mapping[str, object]
) -> tuple[list[Parameter], dict[str, object], list[str]]:
    """Those of the path, then those of the operation in their place."""
    found: dict[tuple[str, str], Mapping[str, object]] = {}
    for group in (shared.get("parameters"), said.get("parameters")):
        for raw in group if isinstance(group, list) else []:
            one = mapping(document.resolved(raw))
            found[str(one.get("name")), str(one.get("in"))] = one
    parameters: list[Parameter] = []
    properties: dict[str, object] = {}
    required: list[str] = []
    for (name, place), one in found.items():
        needed = bool(one.get("required")) or place == "path"
        if place == "header" and name.lower() in IGNORED_HEADERS:
            continue
        if place not in ("path", "query", "header"):
            if needed:
                raise BadCall(f"its parameter {name!r} lies in a {place}")
            continue
        if name in properties or name == "body":
            raise BadCall(f"two of its arguments are called {name!r}")
        parameters.append(_parameter(name, place, one))
        schema = dict(mapping(one.get("schema"))) or {"type": "string"}
        if isinstance(text := one.get("description"), str) and "$ref" not in schema:
            schema.setdefault("description", text)
        properties[name] = schema
        required += [name] if needed else []
    return parameters, properties, required


def _parameter(name: str, place: str, said: Mapping[str, object]) -> Parameter:
    """Raises `BadCall` for a style that is not written here."""
    usual = "form" if place == "query" else "simple"
    style, explode = said.get("style", usual), said.get("explode", usual == "form")
    if style != usual or "schema" not in said:
        raise BadCall(f"its parameter {name!r} is written in the style {style!r}, or has no schema")
    if place == "path":
        return Parameter(name=name, place="path", joined=True)
    if place == "header":
        return Parameter(name=name, place="header", joined=True)
    return Parameter(name=name, place="query", joined=not explode)


def _body(document: Document, said: Mapping[str, object]) -> tuple[str, object, bool]:
    """Its media type, its schema, and whether it is needed."""
    if "requestBody" not in said:
        return "", None, False
    body = mapping(document.resolved(said["requestBody"]))
    content = mapping(body.get("content"))
    for media in content:
        kind = media.partition(";")[0].strip().lower()
        if kind == JSON or kind.endswith("+json"):
            return media, mapping(content[media]).get("schema", {}), bool(body.get("required"))
    if FORM in content:
        return FORM, mapping(content[FORM]).get("schema", {}), bool(body.get("required"))
    if body.get("required"):
        raise BadCall(f"its body is {', '.join(content) or 'of no media type'}, not JSON")
    return "", None, False


def _results(document: Document, said: Mapping[str, object]) -> Mapping[str, object]:
    """What it answers when it succeeds; nothing where the document leaves that open."""
    schemas: list[object] = []
    for status, raw in mapping(said.get("responses")).items():
        if not status.startswith("2"):
            continue
        content = mapping(mapping(document.resolved(raw)).get("content"))
        if not content:
            schemas.append({"type": "null"})
        for media, one in content.items():
            if media.partition(";")[0].strip().lower() != JSON or "schema" not in mapping(one):
                return {}
            schemas.append(mapping(one)["schema"])
    if not schemas or schemas == [{"type": "null"}]:
        return {}
    whole = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return schema_with_definitions(document, mapping(whole))


def request(operation: Operation, arguments: Mapping[str, object]) -> Request:
    """The call with these arguments, which fit its schema.  Raises `BadCall`."""
    path, query, headers = operation.path, list[tuple[str, str]](), dict[str, str]()
    for one in operation.parameters:
        if one.name not in arguments:
            continue
        values = _texts(one, arguments[one.name])
        match one.place:
            case "path":
                text = ",".join(quote(value, safe="") for value in values)
                if text in ("", ".", ".."):  # Would be another path than the document's.
                    raise BadCall(f"{one.name}: can't be {text!r} in a path")
                path = path.replace("{" + one.name + "}", text)
            case "query":
                query += [(one.name, value) for value in values]
            case "header":
                text = ",".join(values)
                if not text.isprintable() or not text.isascii():
                    raise BadCall(f"{one.name}: a header holds printable ASCII only")
                headers[one.name] = text
    if "{" in path:
        raise BadCall(f"{operation.path}: the document names no parameter for a part of its path")
    body: bytes | None = None
    if operation.body and "body" in arguments:
        headers["content-type"] = operation.body
        body = _encoded(operation.body, arguments["body"])
    where = f"{path}?{urlencode(query)}" if query else path
    return Request(method=operation.method.upper(), path=where, headers=headers, body=body)


def _encoded(media: str, body: object) -> bytes:
    if media != FORM:
        return msgspec.json.encode(body)
    pairs = [
        (name, value)
        for name, given in mapping(body).items()
        for value in _texts(Parameter(name=name, place="query"), given)
    ]
    return urlencode(pairs).encode()


def _texts(parameter: Parameter, value: object) -> list[str]:
    """A value as it is written; a list may be several."""
    if isinstance(value, dict):
        raise BadCall(f"{parameter.name}: an object can't be written there")
    if not isinstance(value, list):
        return [_text(value)]
    texts = [_text(one) for one in value]
    return [",".join(texts)] if parameter.joined and parameter.place == "query" else texts


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
