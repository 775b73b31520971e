#!/bin/bash
# The tutorial, as a user without rights; its first block, which needs a network, was run before.
PAGES=$HOME/pages
. /trial/pages.sh
trap 'kill %1 2>/dev/null || true' EXIT
cd
export PATH=~/dnssecd-venv/bin:$PATH
page tutorial
take text && printf '%s\n' "$TEXT" >example.com.zone
block 's/^dnssecd run$/dnssecd run >daemon.log 2>\&1 \&/'
until_true dnssecd zone wait example.com --current
for _ in look export change break mend ahead; do block; done
close
dnssecd status | head -n 1 | grep -q '^OK'
grep -q '<svg' keys.svg
