"""The models of a pipeline: ONNX files, their manifests, and the champion at each issue time.

Nothing is unpickled. A file is used only if its sha256 is the one in its manifest.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from storage import layout
from storage.renamed_keys import update_manifest
from storage.schemas import DataError, Missing
from storage.schemas.attempts import Failed, attempt
from storage.schemas.records import ChampionEntry, ChampionState, Manifest
from storage.store import Store

logger = logging.getLogger(__name__)


class OutdatedComparison(DataError):
    """A promotion that was decided by a comparison with a champion that was rolled back since."""


def add(store: Store, pipeline: str, as_of: datetime, onnx: bytes, facts: Mapping[str, object]) -> str:
    """Store a trained model with its manifest, and return its version, see `model_version`.

    The manifest is written last. A crash before that leaves an ONNX file without a manifest, which is ignored.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        as_of: As-of time of the training.
        onnx: Content of the ONNX file.
        facts: Keys of the manifest except `version`, `as_of` and `sha256`.
    """
    version = model_version(as_of, onnx)
    store.put(layout.model(pipeline, version), onnx)
    sha256 = hashlib.sha256(onnx).hexdigest()
    manifest = {"version": version, "as_of": as_of.isoformat(), "sha256": sha256, **facts}
    store.put(layout.manifest(pipeline, version), _encode(manifest))
    return version


def model_version(as_of: datetime, onnx: bytes) -> str:
    """Return the version of a model: its as-of time and the start of its hash."""
    return f"{layout.stamp(as_of)}-{hashlib.sha256(onnx).hexdigest()[:8]}"


def read_manifests(store: Store, pipeline: str) -> tuple[list[Manifest], list[str]]:
    """Return the valid manifests, oldest as-of time first, and one error for each invalid one."""
    manifests, errors = [], []
    keys = store.keys(layout.models(pipeline), "manifest.json")
    contents: list[bytes] | Failed = attempt(lambda: store.get_all(keys))
    for number, key in enumerate(keys):
        content = attempt(partial(store.get, key)) if isinstance(contents, Failed) else contents[number]
        manifest = content if isinstance(content, Failed) else attempt(partial(_parse_manifest, store, key, content))
        if isinstance(manifest, Failed):
            errors.append(manifest.text)
        else:
            manifests.append(manifest)
    return sorted(manifests, key=lambda manifest: (manifest["as_of"], manifest["version"])), errors


def valid_manifests(store: Store, pipeline: str) -> list[Manifest]:
    """Return the valid manifests, oldest as-of time first, and log a warning for each invalid one."""
    manifests, errors = read_manifests(store, pipeline)
    for error in errors:
        logger.warning("A model is ignored: %s.", error)
    return manifests


def read_manifest(store: Store, pipeline: str, version: str) -> Manifest:
    """Return the manifest of one version.

    Raises:
        DataError: There is no such version, or its manifest is damaged or belongs to another model.
    """
    key = layout.manifest(pipeline, version)
    try:
        content = store.get(key)
    except Missing:
        raise DataError(
            f"model {version} does not exist: {store.uri(key)} is missing; `gatecast models` lists all versions"
        ) from None
    return _parse_manifest(store, key, content)


def _parse_manifest(store: Store, key: str, content: bytes) -> Manifest:
    version = key.split("/")[-2]
    manifest: Manifest = update_manifest(_parse_json(store, key, content))
    try:
        as_of = datetime.fromisoformat(manifest["as_of"])
        stamp = layout.stamp(as_of)
        is_valid = (
            as_of.tzinfo is not None
            and manifest["version"] == version == f"{stamp}-{manifest['sha256'][:8]}"
            and isinstance(manifest["decision"]["promoted"], bool)
            and isinstance(manifest["decision"]["reason"], str)
        )
    except (KeyError, TypeError, ValueError):
        is_valid = False
    if not is_valid:
        raise DataError(f"{store.uri(key)} is not the manifest of model {version}; restore it from a backup")
    return manifest


def find_by_fingerprint(store: Store, pipeline: str, as_of: datetime, fingerprint: str) -> Manifest | None:
    """Return the manifest of a model with this as-of time and training fingerprint, or None.

    Models whose file was pruned are left out.
    """
    for manifest in reversed(valid_manifests(store, pipeline)):
        is_match = manifest.get("fingerprint") == fingerprint and datetime.fromisoformat(manifest["as_of"]) == as_of
        if is_match and "pruned" not in manifest:
            return manifest
    return None


def promote(store: Store, pipeline: str, version: str) -> None:
    """Make `version` the champion from its as-of time on, until the as-of time of a later champion.

    A damaged `champion.json` is replaced by one with `version` alone.

    Raises:
        OutdatedComparison: The champion that it was compared with was rolled back meanwhile. Nothing is changed.
    """
    manifest = read_manifest(store, pipeline, version)
    entry, compared_with = _champion_entry(manifest), manifest.get("compared_with")

    def change(content: bytes | None) -> bytes:
        state = _parse_or_renew_champion_state(store, pipeline, content)
        rolled_back_at = state["rolled_back"].get(compared_with or "")
        if rolled_back_at:
            raise OutdatedComparison(
                f"it was compared with {compared_with}, which was rolled back at {rolled_back_at}, during the "
                "training; the next training is compared with the champion since then"
            )
        others = [other for other in state["served"] if other["as_of"] != entry["as_of"]]
        return _encode_champion_state([*others, entry], state["rolled_back"])

    store.update(layout.champion(pipeline), change)


def withdraw(store: Store, pipeline: str, version: str, reason: str) -> None:
    """Record in the manifest of a model that it was not promoted after all."""
    manifest = read_manifest(store, pipeline, version)
    decision = {**manifest["decision"], "promoted": False, "reason": reason}
    store.put(layout.manifest(pipeline, version), _encode({**manifest, "decision": decision}))


def roll_back(store: Store, pipeline: str, version: str, now: datetime) -> None:
    """Make `version` the champion from its as-of time on, in place of all later champions.

    The later champions are recorded as rolled back. They serve again only after a rollback to them. An unreadable
    `champion.json` is replaced by one with `version` alone.

    Raises:
        DataError: The version never was the champion, was pruned, or its files are damaged. Nothing is changed.
    """
    manifest = read_manifest(store, pipeline, version)
    entry = _champion_entry(manifest)
    before, after = b"", b""

    def change(content: bytes | None) -> bytes:
        nonlocal before, after
        state = _parse_or_renew_champion_state(store, pipeline, content)
        before = content if content is not None else b""
        former = {*(entry["version"] for entry in state["served"]), *state["rolled_back"]}
        if not manifest["decision"]["promoted"] and version not in former:
            raise DataError(
                f"model {version} never was the champion ({manifest['decision']['reason']}); "
                "choose a version that `gatecast models` shows as promoted"
            )
        load(store, pipeline, version)  # A version whose file is damaged must not serve.
        later = [
            other["version"] for other in state["served"]
            if other["as_of"] >= entry["as_of"] and other["version"] != version
        ]  # fmt: skip
        rolled_back = state["rolled_back"] | dict.fromkeys(later, now.isoformat())
        rolled_back.pop(version, None)
        earlier = [other for other in state["served"] if other["as_of"] < entry["as_of"]]
        after = _encode_champion_state([*earlier, entry], rolled_back)
        return after

    store.update(layout.champion(pipeline), change)
    if "pruned" in read_manifest(store, pipeline, version) or not store.has(layout.model(pipeline, version)):
        # A training has deleted its file meanwhile, see `prune`.
        store.update(
            layout.champion(pipeline), lambda content: before if content == after and before else content or b""
        )
        raise DataError(f"the file of model {version} was pruned meanwhile; choose another version")


def rolled_back_versions(store: Store, pipeline: str) -> dict[str, str]:
    """Return the versions that were rolled back, each with the time of the rollback."""
    return _read_champion_state(store, pipeline)["rolled_back"]


def champions(store: Store, pipeline: str, as_of: datetime | None = None) -> list[str]:
    """Return the champion's version, then its predecessors, newest first.

    Args:
        store: Store of the pipeline.
        pipeline: Name of the pipeline.
        as_of: Issue time. Versions trained later are left out, because they have seen data from after it.

    Raises:
        DataError: `champion.json` cannot be read.
    """
    entries = _read_champion_state(store, pipeline)["served"]
    if as_of is not None:
        entries = [entry for entry in entries if datetime.fromisoformat(entry["as_of"]) <= as_of]
    return [entry["version"] for entry in reversed(entries)]


def explain_missing_champion(store: Store, pipeline: str) -> str:
    """Return the reason why `champions` is empty."""
    promoted = [m["version"] for m in valid_manifests(store, pipeline) if m["decision"]["promoted"]]
    if not promoted:
        return "there is no champion"
    return (
        f"there is no champion: {store.uri(layout.champion(pipeline))} is missing though models were promoted; "
        f"`gatecast models FILE --rollback {promoted[-1]}` makes the newest of them serve"
    )


def load(store: Store, pipeline: str, version: str) -> bytes:
    """Return the ONNX file of `version`. Raises DataError if it was pruned or does not match its manifest."""
    manifest = read_manifest(store, pipeline, version)
    if "pruned" in manifest:
        raise DataError(f"the file of model {version} was pruned at {manifest['pruned']}; choose another version")
    key = layout.model(pipeline, version)
    onnx = store.get(key)
    if hashlib.sha256(onnx).hexdigest() != manifest["sha256"]:
        raise DataError(
            f"{store.uri(key)} is not the file of model {version} (sha256 differs) and is not loaded; "
            "restore it from a backup"
        )
    return onnx


def prune(store: Store, pipeline: str, keep: int, as_of: datetime, now: datetime) -> list[str]:
    """Delete the ONNX files of old versions, and return those versions.

    The newest `keep` versions stay, and the champion and its predecessor, both now and as of `as_of`. All manifests
    stay. A manifest is marked as pruned before its file is deleted. After a crash between the two, the next call
    deletes the file, and no manifest refers to a missing file.
    """

    def is_serving(version: str) -> bool:
        return version in {*champions(store, pipeline)[:2], *champions(store, pipeline, as_of)[:2]}

    files = set(store.keys(layout.models(pipeline), "model.onnx"))
    pruned = []
    for manifest in valid_manifests(store, pipeline)[:-keep]:
        version = manifest["version"]
        if layout.model(pipeline, version) not in files or is_serving(version):
            continue
        if "pruned" not in manifest:
            store.put(layout.manifest(pipeline, version), _encode({**manifest, "pruned": now.isoformat()}))
        # A rollback looks for the mark after it has made a version the champion. So one of the two sees the other.
        if is_serving(version):
            store.put(layout.manifest(pipeline, version), _encode(manifest))
            continue
        store.remove(layout.model(pipeline, version))
        pruned.append(version)
    return pruned


def _champion_entry(manifest: Manifest) -> ChampionEntry:
    return {"version": manifest["version"], "as_of": manifest["as_of"]}


def _parse_or_renew_champion_state(store: Store, pipeline: str, content: bytes | None) -> ChampionState:
    """Return the state as `_parse_champion_state` does, an empty one if the content is damaged."""
    try:
        return _parse_champion_state(store, pipeline, content)
    except DataError as error:
        logger.warning("The champion file is written anew: %s.", error)
        return {"served": [], "rolled_back": {}}


def _read_champion_state(store: Store, pipeline: str) -> ChampionState:
    try:
        content = store.get(layout.champion(pipeline))
    except Missing:
        content = None
    return _parse_champion_state(store, pipeline, content)


def _has_own_time(entry: ChampionEntry) -> bool:
    """Return whether the as-of time of an entry is that in its version, so that no altered time is trusted."""
    as_of = datetime.fromisoformat(entry["as_of"])
    version = entry["version"]
    return as_of.tzinfo is not None and version.isascii() and version.startswith(f"{layout.stamp(as_of)}-")


def _parse_champion_state(store: Store, pipeline: str, stored: bytes | None) -> ChampionState:
    """Return the state from the content of `champion.json`, None for a file that does not exist."""
    if stored is None:
        return {"served": [], "rolled_back": {}}
    key = layout.champion(pipeline)
    content = _parse_json(store, key, stored)
    try:
        served: list[ChampionEntry] = [
            {"version": str(entry["version"]), "as_of": str(entry["as_of"])} for entry in content["served"]
        ]
        rolled_back = dict(content.get("rolled_back", {}))
        is_valid = bool(served) and all(_has_own_time(entry) for entry in served)
    except (KeyError, TypeError, ValueError):
        is_valid = False
    if not is_valid:
        raise DataError(
            f"{store.uri(key)} does not name the champion; restore it from a backup, or write it anew with "
            "`gatecast models FILE --rollback VERSION`"
        )
    return {"served": served, "rolled_back": rolled_back}


def _encode_champion_state(served: list[ChampionEntry], rolled_back: dict[str, str]) -> bytes:
    served = sorted(served, key=lambda entry: entry["as_of"])
    return _encode({"version": served[-1]["version"], "served": served, "rolled_back": rolled_back})


def _parse_json(store: Store, key: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # invalid JSON, or bytes that are not text
        # Python's texts about nesting and digits name its own settings.
        is_odd = isinstance(error, RecursionError) or "set_int_max_str_digits" in str(error)
        problem = "it is nested too deeply or has a number of too many digits" if is_odd else str(error)
        raise DataError(f"{store.uri(key)} is not valid JSON: {problem}; restore it from a backup") from None


def _encode(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"
