"""Column in which a source names a problem with single rows that only it can see."""

from __future__ import annotations

#: Name of the column; null where a row has no problem. The colon keeps it apart from the columns of a feed.
ROW_PROBLEM = ":problem"
