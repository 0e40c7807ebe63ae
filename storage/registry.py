"""The models of a pipeline: ONNX files, their manifests, and which one serves at an issue time.

Nothing is ever unpickled, and a file whose sha256 is not its manifest's is never handed out.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from storage import layout
from storage.schemas import DataError
from storage.store import Store


def add(store: Store, pipeline: str, as_of: datetime, onnx: bytes, facts: dict[str, Any]) -> str:
    """Store a trained model with its manifest; returns its version, `<as_of>-<hash>`.

    The ONNX file goes first: a version without a manifest is one that a crash left, and does not exist.
    """
    sha256 = hashlib.sha256(onnx).hexdigest()
    version = f"{layout.stamp(as_of)}-{sha256[:8]}"
    store.put(layout.model(pipeline, version), onnx)
    manifest = {"version": version, "as_of": as_of.isoformat(), "sha256": sha256, **facts}
    store.put(layout.manifest(pipeline, version), _json(manifest))
    return version


def manifests(store: Store, pipeline: str) -> list[dict[str, Any]]:
    """The manifest of every version, oldest as-of first."""
    found = [_read(store, key) for key in store.keys(layout.models(pipeline), "manifest.json")]
    return sorted(found, key=lambda m: (m["as_of"], m["version"]))


def manifest(store: Store, pipeline: str, version: str) -> dict[str, Any]:
    """The manifest of one version."""
    return _read(store, layout.manifest(pipeline, version))


def promote(store: Store, pipeline: str, version: str) -> None:
    """Let `version` serve every issue time from its as-of on, until a later champion's."""
    record = manifest(store, pipeline, version)
    entry = {"version": version, "as_of": record["as_of"]}
    kept = [e for e in _champions(store, pipeline) if e["as_of"] != entry["as_of"]]
    _serve(store, pipeline, [*kept, entry])


def roll_back(store: Store, pipeline: str, version: str) -> None:
    """Make `version` the champion again: it serves from its own as-of on, and no later one does."""
    record = manifest(store, pipeline, version)
    entry = {"version": version, "as_of": record["as_of"]}
    _serve(store, pipeline, [*(e for e in _champions(store, pipeline) if e["as_of"] < entry["as_of"]), entry])


def champions(store: Store, pipeline: str, as_of: datetime | None = None) -> list[str]:
    """Versions that may serve an issue at `as_of`, the serving one first, then its predecessors.

    A model trained on data later than `as_of` never serves it: that would be a leak.
    """
    entries = _champions(store, pipeline)
    if as_of is not None:
        entries = [e for e in entries if datetime.fromisoformat(e["as_of"]) <= as_of]
    return [e["version"] for e in reversed(entries)]


def load(store: Store, pipeline: str, version: str) -> bytes:
    """The ONNX bytes of `version`. Raises DataError if they are not those that were stored."""
    record = manifest(store, pipeline, version)
    key = layout.model(pipeline, version)
    onnx = store.get(key)
    if hashlib.sha256(onnx).hexdigest() != record["sha256"]:
        raise DataError(f"{store.path(key)} is not the file that was stored (sha256 differs); not loaded")
    return onnx


def _champions(store: Store, pipeline: str) -> list[dict[str, str]]:
    if not store.has(layout.champion(pipeline)):
        return []
    return _read(store, layout.champion(pipeline))["served"]


def _serve(store: Store, pipeline: str, served: list[dict[str, str]]) -> None:
    served = sorted(served, key=lambda e: e["as_of"])
    store.put(layout.champion(pipeline), _json({"version": served[-1]["version"], "served": served}))


def _read(store: Store, key: str) -> dict[str, Any]:
    try:
        return json.loads(store.get(key))
    except json.JSONDecodeError as error:
        raise DataError(f"{store.path(key)} is not valid JSON ({error}); restore it from a copy") from None


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"
