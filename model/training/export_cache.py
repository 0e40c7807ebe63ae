"""Exported graphs kept between processes, in a cache that the caller provides.

torch's exporter takes 15 to 25 CPU-seconds per graph, and the first training of a model shape needs two graphs. A graph
depends only on the model's shape, the code of the network and the versions of the exporter, so it can be kept. This
package opens no files; therefore the caller provides the cache. There is none by default.

A cache is a function of a key and an export. It returns the bytes that it holds for the key, or calls the export and
keeps the result. For example, in a folder::

    def folder_cache(key: str, export: Callable[[], bytes]) -> bytes:
        path = folder / f"{key}.onnx"
        if not path.exists():
            path.write_bytes(export())
        return path.read_bytes()

    use_export_cache(folder_cache)

Importing this module loads neither torch nor onnx, so any process can set the cache when it starts.
"""

from __future__ import annotations

from collections.abc import Callable

#: From the key of an exported graph, and a function that exports it, to the bytes of its ONNX file.
ExportCache = Callable[[str, Callable[[], bytes]], bytes]


def _no_cache(key: str, export: Callable[[], bytes]) -> bytes:
    return export()


_cache: ExportCache = _no_cache


def use_export_cache(cache: ExportCache | None) -> ExportCache:
    """Use a cache for all exports of this process from now on, None for no cache. Return the cache used before."""
    global _cache
    previous, _cache = _cache, cache or _no_cache
    return previous


def has_cache() -> bool:
    """Return whether this process has a cache of exports."""
    return _cache is not _no_cache


def export_once(key: str, export: Callable[[], bytes]) -> bytes:
    """Return the exported graph of `key` from the cache.

    Args:
        key: Text that differs wherever the exported graph may differ.
        export: Function that exports the graph and returns the bytes of its ONNX file.
    """
    return _cache(key, export)
