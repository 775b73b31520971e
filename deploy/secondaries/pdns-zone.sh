#!/bin/sh
# Makes example.com a secondary zone of dnssecd in PowerDNS, transferred with TSIG. The database must exist:
#   sqlite3 /var/lib/powerdns/pdns.sqlite3 < /usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql
set -eu
pdnsutil import-tsig-key transfer. hmac-sha256 c2VjcmV0IG9mIHRoZSBleGFtcGxlcywgbWFrZSB5b3VycyE=
pdnsutil create-secondary-zone example.com 192.0.2.1:53
pdnsutil activate-tsig-key example.com transfer. secondary
