"""Send a query to a DNS server, for machines without dig and kdig: ask.py ADDRESS PORT NAME TYPE."""

from __future__ import annotations

import sys

import dns.exception
import dns.message
import dns.query

ASK_SECONDS = 5.0


def main() -> None:
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    address, port, name, rrtype = sys.argv[1:]
    query = dns.message.make_query(name, rrtype, want_dnssec=True)
    try:
        answer, _ = dns.query.udp_with_fallback(query, address, timeout=ASK_SECONDS, port=int(port))
    except (dns.exception.DNSException, OSError) as error:
        sys.exit(f"no answer from {address} port {port}: {error}")
    print(answer)


if __name__ == "__main__":
    main()
