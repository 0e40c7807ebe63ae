"""Models in a store: champions, rollbacks, damaged files, pruning and crashes."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from storage import layout, registry
from storage.schemas import DataError
from storage.store import Store
from tests.support.narrow import present

NAME = "small"
DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 2, tzinfo=UTC)


def added(store: Store, day: int, promoted: bool = True, **facts: Any) -> str:
    """Add a model trained as of a day, with a file of a few bytes."""
    decision = {"promoted": promoted, "reason": "promoted: so it was" if promoted else "refused: it lost"}
    version = registry.add(store, NAME, FIRST + day * DAY, b"model %d" % day, {"decision": decision, **facts})
    if promoted:
        registry.promote(store, NAME, version)
    return version


def files(store: Store) -> set[str]:
    """Return the versions with an ONNX file."""
    return {key.split("/")[-2] for key in store.keys(layout.models(NAME), "model.onnx")}


def pruned(store: Store) -> set[str]:
    return {m["version"] for m in registry.valid_manifests(store, NAME) if "pruned" in m}


def test_the_newest_files_and_all_manifests_stay(store: Store) -> None:
    versions = [added(store, day, promoted=day % 2 == 0) for day in range(8)]
    gone = registry.prune(store, NAME, 3, FIRST + 7 * DAY, NOW)
    assert gone == versions[:4]  # 5, 6, 7 are the newest; 6 is the champion, 4 its predecessor
    assert files(store) == set(versions[4:])
    assert pruned(store) == set(versions[:4])
    assert len(registry.valid_manifests(store, NAME)) == 8
    assert registry.read_manifest(store, NAME, versions[0])["pruned"] == NOW.isoformat()
    assert registry.prune(store, NAME, 3, FIRST + 7 * DAY, NOW) == []


def test_champion_and_predecessor_survive_however_old_they_are(store: Store) -> None:
    champions = [added(store, 0), added(store, 1)]
    refused = [added(store, day, promoted=False) for day in range(2, 40)]
    registry.prune(store, NAME, 1, FIRST + 39 * DAY, NOW)
    assert files(store) == {*champions, refused[-1]}
    for version in champions:
        registry.load(store, NAME, version)


def test_the_champion_of_an_earlier_issue_time_survives_its_own_backfill(store: Store) -> None:
    """A model trained late for an earlier issue time is kept, although forty newer models exist."""
    later = [added(store, day) for day in range(10, 50)]
    late = added(store, 5)
    registry.prune(store, NAME, 30, FIRST + 5 * DAY, NOW)
    assert {late, *later[-30:]} == files(store)


def test_a_crash_while_pruning_leaves_a_file_and_never_a_manifest_without_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [added(store, day) for day in range(6)]

    def crash(key: str) -> NoReturn:
        raise OSError("the machine died")

    with monkeypatch.context() as broken:
        broken.setattr(store, "remove", crash)
        with pytest.raises(OSError):
            registry.prune(store, NAME, 2, FIRST + 5 * DAY, NOW)
    assert pruned(store) == {versions[0]}
    assert files(store) == set(versions)
    with pytest.raises(DataError, match="was pruned"):
        registry.load(store, NAME, versions[0])
    assert registry.prune(store, NAME, 2, FIRST + 5 * DAY, NOW + DAY) == versions[:4]
    assert files(store) == set(versions[4:])
    assert registry.read_manifest(store, NAME, versions[0])["pruned"] == NOW.isoformat()


def test_rolling_back_to_a_pruned_version_is_an_error_and_changes_nothing(store: Store) -> None:
    versions = [added(store, day) for day in range(6)]
    registry.prune(store, NAME, 2, FIRST + 5 * DAY, NOW)
    with pytest.raises(DataError, match=f"{versions[0]} was pruned at 2026-06-01"):
        registry.roll_back(store, NAME, versions[0], NOW)
    assert registry.champions(store, NAME) == versions[::-1]


def test_rolling_back_and_forward_again(store: Store) -> None:
    a, b, c = (added(store, day) for day in range(3))
    registry.roll_back(store, NAME, a, NOW)
    assert registry.champions(store, NAME) == [a]
    assert registry.champions(store, NAME, FIRST + 9 * DAY) == [a]
    assert registry.rolled_back_versions(store, NAME) == {b: NOW.isoformat(), c: NOW.isoformat()}
    registry.roll_back(store, NAME, c, NOW)
    assert registry.champions(store, NAME) == [c, a]
    assert set(registry.rolled_back_versions(store, NAME)) == {b}


def test_rolling_back_to_a_version_that_never_served_is_refused(store: Store) -> None:
    serving, refused = added(store, 0), added(store, 1, promoted=False)
    with pytest.raises(DataError, match=r"never was the champion .*it lost"):
        registry.roll_back(store, NAME, refused, NOW)
    with pytest.raises(DataError, match="does not exist"):
        registry.roll_back(store, NAME, "20260101T000000Z-00000000", NOW)
    assert registry.champions(store, NAME) == [serving]


def test_rolling_back_to_a_corrupted_file_is_refused(store: Store) -> None:
    old, new = added(store, 0), added(store, 1)
    store.put(layout.model(NAME, old), b"something else")
    with pytest.raises(DataError, match="sha256 differs"):
        registry.roll_back(store, NAME, old, NOW)
    assert registry.champions(store, NAME) == [new, old]


def tampered(store: Store, version: str, **changes: Any) -> None:
    key = layout.manifest(NAME, version)
    store.put(key, json.dumps({**json.loads(store.get(key)), **changes}).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe\x00", b'{"version": "x"}'])
def test_a_broken_manifest_is_one_clear_error_and_hides_no_other(store: Store, content: bytes) -> None:
    broken, sound = added(store, 0), added(store, 1)
    store.put(layout.manifest(NAME, broken), content)
    with pytest.raises(DataError, match=r"manifest\.json is not .*restore it from a backup"):
        registry.load(store, NAME, broken)
    manifests, errors = registry.read_manifests(store, NAME)
    assert [m["version"] for m in manifests] == [sound]
    assert len(errors) == 1


def test_a_manifest_changed_together_with_its_model_is_refused(store: Store) -> None:
    version = added(store, 0)
    store.put(layout.model(NAME, version), b"another model")
    tampered(store, version, sha256=hashlib.sha256(b"another model").hexdigest())
    with pytest.raises(DataError, match="is not the manifest of model"):
        registry.load(store, NAME, version)


def test_a_missing_file_is_one_clear_error(store: Store) -> None:
    version = added(store, 0)
    store.remove(layout.model(NAME, version))
    with pytest.raises(DataError, match=r"model\.onnx does not exist"):
        registry.load(store, NAME, version)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"{}", b'{"served": []}', b'{"served": [{"version": "x"}]}', b"[" * 100_000,
        b'{"served": ' + b"9" * 5000 + b"}",
    ],
    ids=range(8),
)  # fmt: skip
def test_a_broken_champion_file_is_an_error_that_a_promotion_or_a_rollback_repairs(
    store: Store, content: bytes
) -> None:
    old, new = added(store, 0), added(store, 1)
    store.put(layout.champion(NAME), content)
    with pytest.raises(DataError, match=r"champion\.json") as raised:
        registry.champions(store, NAME)
    assert "recursion" not in str(raised.value) and "sys." not in str(raised.value)
    registry.promote(store, NAME, old)
    assert registry.champions(store, NAME) == [old]
    store.put(layout.champion(NAME), content)
    registry.roll_back(store, NAME, new, NOW)
    assert registry.champions(store, NAME) == [new]


def test_a_missing_champion_file_is_explained_with_its_remedy(store: Store) -> None:
    assert registry.explain_missing_champion(store, NAME) == "there is no champion"
    version = added(store, 0)
    store.remove(layout.champion(NAME))
    assert registry.champions(store, NAME) == []
    assert f"--rollback {version}" in registry.explain_missing_champion(store, NAME)


def test_find_by_fingerprint(store: Store) -> None:
    version = added(store, 0, fingerprint="f")
    added(store, 1, fingerprint="f")
    assert present(registry.find_by_fingerprint(store, NAME, FIRST, "f"))["version"] == version
    assert registry.find_by_fingerprint(store, NAME, FIRST, "g") is None
    assert registry.find_by_fingerprint(store, NAME, FIRST + 2 * DAY, "f") is None
    registry.prune(store, NAME, 1, FIRST + DAY, NOW)
    # It is kept as the predecessor.
    assert present(registry.find_by_fingerprint(store, NAME, FIRST, "f"))["version"] == version
    for day in range(2, 5):
        added(store, day)
    registry.prune(store, NAME, 1, FIRST + 4 * DAY, NOW)
    assert registry.find_by_fingerprint(store, NAME, FIRST, "f") is None


def test_a_manifest_of_version_0_1_0_has_the_present_keys_when_it_is_read(store: Store) -> None:
    """The file is a manifest as version 0.1.0 wrote it, before three keys were renamed."""
    content = (Path(__file__).parent / "manifest_0.1.0.json").read_bytes()
    written = json.loads(content)
    store.put(layout.manifest(NAME, written["version"]), content)
    manifest = registry.read_manifest(store, NAME, written["version"])
    renamed = {
        "interval_scale": written.pop("stretch"),
        "required_scale": written.pop("stretch_asked"),
        "warm_start_from": written.pop("went_on_from"),
    }
    assert manifest == {**written, **renamed}
    assert registry.valid_manifests(store, NAME) == [manifest]


def test_an_altered_as_of_time_of_a_champion_is_not_trusted(store: Store) -> None:
    added(store, 0)
    key = layout.champion(NAME)
    altered = store.get(key).replace(b'"as_of": "2026', b'"as_of": "2066')
    assert altered != store.get(key)
    store.put(key, altered)
    with pytest.raises(DataError, match=r"champion\.json"):
        registry.champions(store, NAME)


def test_a_version_with_half_a_character_is_no_version(store: Store) -> None:
    added(store, 0)
    content = b'{"served": [{"as_of": "2026-01-01T00:00:00+00:00", "version": "20260101T000000Z-\\ud800"}]}'
    store.put(layout.champion(NAME), content)
    with pytest.raises(DataError, match="does not name the champion"):
        registry.champions(store, NAME)


def test_a_rollback_before_the_mark_of_a_pruning_keeps_the_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [added(store, day) for day in range(6)]
    put = store.put

    def roll_back_first(key: str, content: bytes) -> str:
        if key == layout.manifest(NAME, versions[0]) and b'"pruned"' in content:
            monkeypatch.setattr(store, "put", put)
            registry.roll_back(store, NAME, versions[0], NOW)
        return put(key, content)

    monkeypatch.setattr(store, "put", roll_back_first)
    assert versions[0] not in registry.prune(store, NAME, 2, FIRST + 5 * DAY, NOW)
    assert registry.champions(store, NAME) == [versions[0]]
    assert registry.load(store, NAME, versions[0]) == b"model 0"


def test_a_rollback_to_a_file_that_is_pruned_meanwhile_is_undone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [added(store, day) for day in range(6)]
    update = store.update

    def prune_after(key: str, change: Any) -> None:
        monkeypatch.setattr(store, "update", update)
        update(key, change)
        manifest = json.loads(store.get(layout.manifest(NAME, versions[0])))
        store.put(layout.manifest(NAME, versions[0]), json.dumps(manifest | {"pruned": NOW.isoformat()}).encode())
        store.remove(layout.model(NAME, versions[0]))

    monkeypatch.setattr(store, "update", prune_after)
    with pytest.raises(DataError, match="pruned meanwhile"):
        registry.roll_back(store, NAME, versions[0], NOW)
    assert registry.champions(store, NAME) == versions[::-1]
