"""Keys of JSON records that versions before 0.2.0 wrote under other names."""

from __future__ import annotations

from typing import Any

_MANIFEST = {"stretch": "interval_scale", "stretch_asked": "required_scale", "went_on_from": "warm_start_from"}
_FEED_REPORT = {"folded": "aggregated"}


def update_manifest(manifest: Any) -> Any:
    """Return a manifest with the current names of its keys. Other JSON values are returned unchanged."""
    return _rename(manifest, _MANIFEST)


def update_run_record(record: Any) -> Any:
    """Return a run record with the current names of its keys. Other JSON values are returned unchanged."""
    if not isinstance(record, dict):
        return record
    updated = dict(record)
    if "train" in updated:
        updated["train"] = update_manifest(updated["train"])
    ingest = updated.get("ingest")
    if isinstance(ingest, dict) and isinstance(ingest.get("feeds"), dict):
        feeds = {name: _rename(report, _FEED_REPORT) for name, report in ingest["feeds"].items()}
        updated["ingest"] = {**ingest, "feeds": feeds}
    return updated


def _rename(record: Any, names: dict[str, str]) -> Any:
    if not isinstance(record, dict):
        return record
    return {names.get(key, key): value for key, value in record.items()}
