"""One file a kind of feed: each reads what the feed's uri names and changes nothing in it."""
