"""The models of a pipeline: ONNX files, their manifests, and which one serves at an issue time.

Nothing is ever unpickled, and a file whose sha256 is not its manifest's is never handed out.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from storage import layout
from storage.schemas import DataError, Missing
from storage.schemas.records import ChampionEntry, ChampionState, Manifest
from storage.store import Store

logger = logging.getLogger(__name__)

# Keys of manifests written before version 0.2.0, and their present names.
_RENAMED_KEYS = {
    "stretch": "interval_scale",
    "stretch_asked": "required_scale",
    "went_on_from": "warm_start_from",
}


def add(store: Store, pipeline: str, as_of: datetime, onnx: bytes, facts: dict[str, Any]) -> str:
    """Store a trained model with its manifest; returns its version, `<as_of>-<hash>`.

    The ONNX file goes first: a version without a manifest is one that a crash left, and does not exist.
    """
    sha256 = hashlib.sha256(onnx).hexdigest()
    version = model_version(as_of, onnx)
    store.put(layout.model(pipeline, version), onnx)
    manifest = {"version": version, "as_of": as_of.isoformat(), "sha256": sha256, **facts}
    store.put(layout.manifest(pipeline, version), _json(manifest))
    return version


def model_version(as_of: datetime, onnx: bytes) -> str:
    """The version that `add` gives a model."""
    return f"{layout.stamp(as_of)}-{hashlib.sha256(onnx).hexdigest()[:8]}"


def read_manifests(store: Store, pipeline: str) -> tuple[list[Manifest], list[str]]:
    """The manifest of every version that has a sound one, oldest as-of first; what is wrong with the others."""
    found, broken = [], []
    keys = store.keys(layout.models(pipeline), "manifest.json")
    for key, content in zip(keys, store.get_all(keys), strict=True):
        try:
            found.append(_manifest(store, key, content))
        except DataError as error:
            broken.append(str(error))
    return sorted(found, key=lambda m: (m["as_of"], m["version"])), broken


def valid_manifests(store: Store, pipeline: str) -> list[Manifest]:
    """The sound manifests of `read_manifests`; of the others a warning is logged."""
    found, broken = read_manifests(store, pipeline)
    for error in broken:
        logger.warning("passed over: %s", error)
    return found


def read_manifest(store: Store, pipeline: str, version: str) -> Manifest:
    """The manifest of one version.

    Raises:
        DataError: there is no such version, or the manifest is not the one that was stored for it.
    """
    key = layout.manifest(pipeline, version)
    try:
        content = store.get(key)
    except Missing:
        raise DataError(
            f"model {version} does not exist: {store.uri(key)} is missing; `gatecast models` lists all"
        ) from None
    return _manifest(store, key, content)


def _manifest(store: Store, key: str, content: bytes) -> Manifest:
    version = key.split("/")[-2]
    record = _with_present_keys(_parse(store, key, content))
    try:
        sound = (
            record["version"] == version == f"{_stamp(record)}-{record['sha256'][:8]}"
            and isinstance(record["decision"]["promoted"], bool)
            and isinstance(record["decision"]["reason"], str)
        )
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise DataError(f"{store.uri(key)} is not the manifest of model {version}; restore it from a copy")
    return record


def _with_present_keys(record: Any) -> Any:
    """Return a manifest with the present names of its keys. Anything but a JSON object is returned unchanged."""
    if not isinstance(record, dict):
        return record
    return {_RENAMED_KEYS.get(key, key): value for key, value in record.items()}


def find_by_fingerprint(store: Store, pipeline: str, as_of: datetime, fingerprint: str) -> Manifest | None:
    """The manifest of a model trained as of `as_of` with this `fingerprint`, its file still there; None if none is."""
    for record in reversed(valid_manifests(store, pipeline)):
        same = record.get("fingerprint") == fingerprint and datetime.fromisoformat(record["as_of"]) == as_of
        if same and "pruned" not in record:
            return record
    return None


def promote(store: Store, pipeline: str, version: str) -> None:
    """Let `version` serve every issue time from its as-of on, until a later champion's."""
    entry = _entry(read_manifest(store, pipeline, version))
    state = _state(store, pipeline)
    kept = [e for e in state["served"] if e["as_of"] != entry["as_of"]]
    _write_state(store, pipeline, [*kept, entry], state["rolled_back"])


def roll_back(store: Store, pipeline: str, version: str, when: datetime) -> None:
    """Make `version` the champion again: it serves from its own as-of on, and no later one does.

    Those that served later are noted as rolled back from: only naming them here lets them serve again. An
    unreadable `champion.json` is written anew, with `version` alone.

    Raises:
        DataError: it never was promoted, was pruned, or its files are not those that were stored. Nothing is changed.
    """
    record = read_manifest(store, pipeline, version)
    try:
        state = _state(store, pipeline)
    except DataError as error:
        logger.warning("written anew: %s", error)
        state = {"served": [], "rolled_back": {}}
    served = {*(e["version"] for e in state["served"]), *state["rolled_back"]}
    if not record["decision"]["promoted"] and version not in served:
        raise DataError(
            f"model {version} never was the champion ({record['decision']['reason']}); "
            "choose one that `gatecast models` shows as promoted"
        )
    load(store, pipeline, version)
    entry = _entry(record)
    left = [e["version"] for e in state["served"] if e["as_of"] >= entry["as_of"] and e["version"] != version]
    rolled_back = state["rolled_back"] | dict.fromkeys(left, when.isoformat())
    rolled_back.pop(version, None)
    _write_state(store, pipeline, [*(e for e in state["served"] if e["as_of"] < entry["as_of"]), entry], rolled_back)


def rolled_back_versions(store: Store, pipeline: str) -> dict[str, str]:
    """Versions that were rolled back from, and when."""
    return _state(store, pipeline)["rolled_back"]


def champions(store: Store, pipeline: str, as_of: datetime | None = None) -> list[str]:
    """Versions that may serve an issue at `as_of`, the serving one first, then its predecessors.

    A model trained on data later than `as_of` never serves it: that would be a leak.

    Raises:
        DataError: `champion.json` cannot be read.
    """
    entries = _state(store, pipeline)["served"]
    if as_of is not None:
        entries = [e for e in entries if datetime.fromisoformat(e["as_of"]) <= as_of]
    return [e["version"] for e in reversed(entries)]


def explain_missing_champion(store: Store, pipeline: str) -> str:
    """Why no model serves where `champions` is empty."""
    promoted = [m["version"] for m in valid_manifests(store, pipeline) if m["decision"]["promoted"]]
    if not promoted:
        return "there is no champion"
    return (
        f"there is no champion: {store.uri(layout.champion(pipeline))} is missing though models were promoted; "
        f"`gatecast models FILE --rollback {promoted[-1]}` makes the newest of them serve"
    )


def load(store: Store, pipeline: str, version: str) -> bytes:
    """The ONNX bytes of `version`. Raises DataError if they were pruned or are not those that were stored."""
    record = read_manifest(store, pipeline, version)
    if "pruned" in record:
        raise DataError(f"the file of model {version} was pruned at {record['pruned']}; it can serve no more")
    key = layout.model(pipeline, version)
    onnx = store.get(key)
    if hashlib.sha256(onnx).hexdigest() != record["sha256"]:
        raise DataError(f"{store.uri(key)} is not the file that was stored (sha256 differs); not loaded")
    return onnx


def prune(store: Store, pipeline: str, keep: int, as_of: datetime, when: datetime) -> list[str]:
    """Delete the ONNX files of all but the newest `keep` versions; returns the versions whose files went.

    The champion and its predecessor stay, those of now and those of `as_of`. Manifests stay for ever. The manifest
    says `pruned` before the file goes, so that a crash in between leaves a file too many, which the next call takes,
    and never a manifest that promises a file.
    """
    kept = {*champions(store, pipeline)[:2], *champions(store, pipeline, as_of)[:2]}
    there = set(store.keys(layout.models(pipeline), "model.onnx"))
    gone = []
    for record in valid_manifests(store, pipeline)[:-keep]:
        version = record["version"]
        if version in kept or layout.model(pipeline, version) not in there:
            continue
        if "pruned" not in record:
            store.put(layout.manifest(pipeline, version), _json({**record, "pruned": when.isoformat()}))
        store.remove(layout.model(pipeline, version))
        gone.append(version)
    return gone


def _stamp(record: Manifest) -> str:
    return layout.stamp(datetime.fromisoformat(record["as_of"]))


def _entry(record: Manifest) -> ChampionEntry:
    return {"version": record["version"], "as_of": record["as_of"]}


def _state(store: Store, pipeline: str) -> ChampionState:
    """`served`: who serves from when, oldest first; `rolled_back`: version -> when."""
    key = layout.champion(pipeline)
    try:
        content = _parse(store, key, store.get(key))
    except Missing:
        return {"served": [], "rolled_back": {}}
    try:
        served: list[ChampionEntry] = [
            {"version": str(e["version"]), "as_of": str(e["as_of"])} for e in content["served"]
        ]
        rolled_back = dict(content.get("rolled_back", {}))
        sound = bool(served) and all(datetime.fromisoformat(e["as_of"]).tzinfo for e in served)
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise DataError(
            f"{store.uri(key)} does not say who serves; restore it from a copy, or write it anew with "
            "`gatecast models FILE --rollback VERSION`"
        )
    return {"served": served, "rolled_back": rolled_back}


def _write_state(store: Store, pipeline: str, served: list[ChampionEntry], rolled_back: dict[str, str]) -> None:
    served = sorted(served, key=lambda e: e["as_of"])
    content = {"version": served[-1]["version"], "served": served, "rolled_back": rolled_back}
    store.put(layout.champion(pipeline), _json(content))


def _parse(store: Store, key: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:  # broken JSON, or bytes that are no text
        raise DataError(f"{store.uri(key)} is not valid JSON ({error}); restore it from a copy") from None


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"
