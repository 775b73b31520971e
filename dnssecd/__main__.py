"""``python -m dnssecd``: the same as the command ``dnssecd``."""

from dnssecd.cli import main

if __name__ == "__main__":
    main()
