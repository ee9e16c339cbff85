"""The pages: ``/docs.json``, what a program may ask, and ``/``, where a person can try it."""

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from .requests import Reply

if TYPE_CHECKING:
    from .requests import Requests

PROBLEM = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "description": "one sentence"},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
    },
}
MOST_CHOICES = 200  # a list of more is no help to who must choose
ERRORS = {
    "400": "no JSON, or the connection was closed",
    "401": "no valid key",
    "405": "another method",
    "408": "the body took too long",
    "413": "the body is too large",
    "415": "another content type",
    "422": "a field is missing, unknown, of another type, or out of range",
    "429": "too many requests; wait for Retry-After",
}


def make(requests: "Requests", *, keys: bool, precomputed: bool = False) -> dict[str, Reply]:
    """Path -> reply of both pages."""
    document = openapi(requests, keys=keys, precomputed=precomputed)
    return {
        "/": _page(requests, keys=keys),
        "/docs.json": Reply(200, json.dumps(document).encode()),
    }


def openapi(requests: "Requests", *, keys: bool, precomputed: bool = False) -> dict[str, Any]:
    """The OpenAPI document of the service."""
    models = [
        (requests.row, "validation"), (requests.body, "validation"),
        (requests.answer, "serialization"), (requests.answers, "serialization"),
    ]  # fmt: skip
    _, definitions = models_json_schema(
        models,  # type: ignore[arg-type]
        ref_template="#/components/schemas/{model}",
    )
    components: dict[str, Any] = {"schemas": definitions["$defs"] | {"Problem": PROBLEM}}
    ref = "#/components/schemas/"
    many = {
        "oneOf": [
            {"type": "array", "items": {"$ref": ref + "Prediction"}},
            {"$ref": ref + "Predictions"},
        ]
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Predictions of {requests.predictor.schema.target}",
            "version": requests.predictor.digest,
        },
        "paths": {
            "/predict": {
                "post": _operation("Predict one row", "Row", {"$ref": ref + "Prediction"})
            },
            "/predict_batch": {"post": _operation("Predict rows or columns", "Batch", many)},
            "/livez": {"get": _plain("Is the process alive?", "200")},
            "/readyz": {"get": _plain("Does it take requests?", "200", "503")},
            "/metrics": {"get": _plain("Counts, for Prometheus", "200", "401", "429")},
        },
        "components": components,
    }
    if requests.hooks.explain is not None:
        document["paths"]["/predict"]["post"]["parameters"] = [
            {"name": "explain", "in": "query", "schema": {"enum": [1]}}
        ]
    if precomputed:
        document["paths"]["/predictions/{key}"] = {"get": _lookup()}
    if keys:
        components["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
        for path in ("/predict", "/predict_batch"):
            document["paths"][path]["post"]["security"] = [{"key": []}, {"bearer": []}]
        if precomputed:
            found = document["paths"]["/predictions/{key}"]["get"]
            found["security"] = [{"key": []}, {"bearer": []}]
    return document


def _operation(summary: str, body: str, answer: dict[str, Any]) -> dict[str, Any]:
    ref = "#/components/schemas/"
    asked: dict[str, Any] = {"application/json": {"schema": {"$ref": ref + body}}}
    problem = {"application/json": {"schema": {"$ref": ref + "Problem"}}}
    told = {"description": "the answer", "content": {"application/json": {"schema": answer}}}
    return {
        "summary": summary,
        "operationId": summary.lower().replace(" ", "_"),
        "requestBody": {"required": True, "content": asked},
        "responses": {
            "200": told,
            **{code: {"description": text, "content": problem} for code, text in ERRORS.items()},
        },
    }


def _lookup() -> dict[str, Any]:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    told = {"description": "the answer", "content": {"application/json": {}}}
    refused = {code: {"description": ERRORS[code], "content": problem} for code in ("401", "429")}
    refused["404"] = {"description": "there is no prediction for this key", "content": problem}
    refused["503"] = {"description": "they cannot be read now", "content": problem}
    key = {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "summary": "The prediction that a batch made for a key",
        "operationId": "look_up",
        "parameters": [key],
        "responses": {"200": told, **refused},
    }


def _plain(summary: str, *codes: str) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        code: {"application/json": {}} if code in ERRORS else {"text/plain": {}} for code in codes
    }
    answers = {code: {"description": summary, "content": kind} for code, kind in kinds.items()}
    return {"summary": summary, "responses": answers}


def _page(requests: "Requests", *, keys: bool) -> Reply:
    folder = files(__package__)
    html = (folder / "page.html").read_text(encoding="utf-8")
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    schema = requests.predictor.schema
    facts = {
        "target": schema.target,
        "digest": requests.predictor.digest,
        "keys": keys,
        "most_choices": MOST_CHOICES,
        "columns": [
            {"name": name, **column.model_dump(include={"type", "nullable", "min", "max"}),
             "categories": (column.categories or [])[: MOST_CHOICES + 1]}
            for name, column in schema.features.items()
        ],
    }  # fmt: skip
    # "<" in a name must not end the element that holds the facts, nor any name be a place to fill.
    text = json.dumps(facts).replace("<", "\\u003c")
    html = html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    html = html.replace("/*FACTS*/", text)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    kind, headers = b"text/html; charset=utf-8", [(b"content-security-policy", policy.encode())]
    return Reply(200, html.encode(), kind, headers)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
