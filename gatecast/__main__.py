"""Start of the `gatecast` command as `python -m gatecast`."""

from flows.__main__ import main

if __name__ == "__main__":
    main()
