#!/bin/bash
# Runs as root in a Debian root of its own (a chroot with its own network), where the package is installed: what each page
# of docs/howto says, in the order of an operator's life, with the secondaries, the parent and the mail server that the
# pages have in mind. Times of the policy are short; nothing else is.
. /trial/pages.sh
ip link set lo up
for last in 1 2 53 54; do ip address add 192.0.2.$last/32 dev lo; done
mkdir -p /root/parent /root/ns1 /root/ns2 /root/reader
cd /root/parent
# The root, com. and net. on one server, which is also what the resolver of this machine would answer.
apex='60 IN SOA a.com. b.com. 1 1 1 1 5'
printf '%s\n' '$TTL 5' ". $apex" '. NS a.com.' 'com. NS a.com.' 'net. NS a.com.' 'a.com. A 192.0.2.2' >root.zone
printf '%s\n' '$TTL 5' "com. $apex" 'com. NS a.com.' 'a.com. A 192.0.2.2' 'example.com. NS ns1.example.com.' \
    'ns1.example.com. A 192.0.2.53' >com.zone
printf '%s\n' '$TTL 5' "net. $apex" 'net. NS a.com.' 'example.net. NS ns1.example.com.' >net.zone
cat >named.conf <<EOF
options { directory "/root/parent"; listen-on { 192.0.2.2; }; listen-on-v6 { none; }; recursion no; pid-file none;
    session-keyfile none; };
controls { };
zone "." { type primary; file "root.zone"; };
zone "com." { type primary; file "com.zone"; allow-update { any; }; };
zone "net." { type primary; file "net.zone"; allow-update { any; }; };
EOF
named -c /root/parent/named.conf -n 1
rm -f /etc/resolv.conf
echo 'nameserver 192.0.2.2' >/etc/resolv.conf
python3 /trial/smtp_sink.py /root/mails 2>/root/sink.log &
trap 'kill %1; tail -n 20 /run/fake-systemd/*.log /root/*/log' EXIT
config=/etc/dnssecd/config.toml

ask() { dig +norecurse +dnssec +time=1 +tries=1 "$@"; }
signed() { ask @"$1" "$2" "$3" | grep -q RRSIG; }
# What a person does at the registrar: enters exactly the DS records that `ds show` prints.
registrar() {
    {
        printf 'server 192.0.2.2\nzone %s\nupdate delete %s DS\n' "${1#*.}" "$1"
        dnssecd ds show "$1" --json | python3 -c '
import json, sys
for ds in json.load(sys.stdin)["handover"]["ds"]:
    print("update add", sys.argv[1], 5, "DS", ds["key_tag"], ds["algorithm"], ds["digest_type"], ds["digest"])' "$1"
        echo send
    } >/root/update
    nsupdate /root/update
}
# The parent is to have another DS set than it has, and may have it now.
due() { dnssecd ds show "$1" --json | python3 -c 'import json, sys; sys.exit(not json.load(sys.stdin)["handover"]["ds"])'; }
removal_due() { dnssecd ds show "$1" --json | python3 -c 'import json, sys
handover = json.load(sys.stdin)["handover"]
print(handover); sys.exit(handover["task"] == "nothing")'; }
secure() { dnssecd zone list | grep -q "^$1\. .* secure "; }
tag_of() { dnssecd key list "$1" --json | python3 -c '
import json, sys
print(*[key["tag"] for key in json.load(sys.stdin)["keys"] if key["role"] == sys.argv[1] and key["goal"] == "present"])' "$2"; }
# Whether a key (default: every key that is to leave) has left the DNSKEY RRset; it is removed when no secondary can have it.
gone() { dnssecd key list "$1" --json | python3 -c '
import json, sys
there = [key["tag"] for key in json.load(sys.stdin)["keys"] if key["dnskey"] != "hidden" and key["goal"] != "present"]
print(there)
sys.exit(int(sys.argv[1]) in there if sys.argv[1:] else bool(there))' ${2:-}; }
# Until a command succeeds; what is due at the registrar is done meanwhile.
acting() {
    local zone=$1
    shift
    for _ in $(seq 200); do
        "$@" >/tmp/until 2>&1 && return 0
        due "$zone" && registrar "$zone"
        sleep 0.5
    done
    echo "never true: $*"; cat /tmp/until; dnssecd explain "$zone" --rules
    return 1
}
all_well() { dnssecd status | head -n 1 | grep -q '^OK'; }

runuser -l laptop -c 'bash /trial/tutorial.sh'

cd /root/reader
printf '%s\n' '$TTL 5' '@ SOA ns1 hostmaster 1 3600 600 604800 5' '@ NS ns1' 'ns1 A 192.0.2.53' 'www A 192.0.2.80' >example.com.zone
page first-zone
block
printf '[policy.default]\ndnskey_ttl = "5s"\npropagation_delay = "1s"\nparent_propagation_delay = "1s"\nparent_ds_ttl = "5s"\n' |
    python3 /trial/merge.py $config
block | tee ns1.conf
{
    cat ns1.conf | sed -n '/^key "/,$p'
    echo 'options { directory "/root/ns1"; listen-on { 192.0.2.53; }; listen-on-v6 { none; }; recursion no;'
    echo 'pid-file "pid"; session-keyfile none; }; controls { };'
} >/root/ns1/named.conf
named -c /root/ns1/named.conf -n 1
block
block
close
until_true signed 192.0.2.53 example.com SOA
stat -c '| `%n` | %a %U' $config /etc/dnssecd/zones/example.com.zone /etc/dnssecd/tsig/ns1.secret /etc/credstore/dnssecd.passphrase

page ds
block
until_true due example.com
registrar example.com
block
block "s/27830/$(tag_of example.com ksk)/"
close
until_true dnssecd ds check example.com
until_true secure example.com

page zones
cp example.com.zone /etc/dnssecd/zones/example.net.zone
sed -i 's/ns1 A.*/ns1 A 192.0.2.53/' /etc/dnssecd/zones/example.net.zone
config
block
dnssecd config secondary ns1 --for bind >ns1.conf
{
    cat ns1.conf | sed -n '/^key "/,$p'
    echo 'options { directory "/root/ns1"; listen-on { 192.0.2.53; }; listen-on-v6 { none; }; recursion no;'
    echo 'pid-file "pid"; session-keyfile none; }; controls { };'
} >/root/ns1/named.conf
kill "$(cat /root/ns1/pid)"
until_true named -c /root/ns1/named.conf -n 1
until_true signed 192.0.2.53 example.net SOA
until_true due example.net
registrar example.net
until_true secure example.net
block
python3 -c 'import json; json.load(open("dnssecd.schema.json"))'
block
sed -i 's/hostmaster 1 /hostmaster 7 /' /etc/dnssecd/zones/example.com.zone
echo 'new A 192.0.2.81' >>/etc/dnssecd/zones/example.com.zone
block
signed 192.0.2.53 new.example.com A
block
until_true all_well

page secondaries
block
config
sed -i 's/^secondaries = .*/secondaries = ["ns1", "ns2"]/' $config
block
cat >/root/ns2/knot.conf <<EOF
server:
    listen: 192.0.2.54@53
    rundir: /root/ns2
database:
    storage: /root/ns2
EOF
block >>/root/ns2/knot.conf
knotd -c /root/ns2/knot.conf >/root/ns2/log 2>&1 &
until_true signed 192.0.2.54 example.com SOA
block
close
ask @192.0.2.54 example.net SOA +short | grep -q .

page updates
block
config
block
close
ask @192.0.2.54 _acme-challenge.example.com TXT | grep -q 'a token'
until_true all_well

page monitor
block
block
leave 'needs systemd: test_deploy_machine.py'
close
python3 -c 'import urllib.request as u
print(u.urlopen("http://127.0.0.1:9533/healthz").status, u.urlopen("http://127.0.0.1:9533/readyz").status)
print(*[line for line in u.urlopen("http://127.0.0.1:9533/metrics").read().decode().splitlines() if line.startswith("dnssecd_zones")], sep="\n")'

page alerts
config
block
until_true grep -q 'can send mail' /root/mails
block
cp /etc/dnssecd/zones/example.com.zone good
echo 'bad A 192.0.2.999' >>/etc/dnssecd/zones/example.com.zone
until_true grep -q 'input-error' /root/mails
fails dnssecd check
block
close
dnssecd alerts list
cp good /etc/dnssecd/zones/example.com.zone
dnssecd zone reload example.com
until_true grep -q 'RESOLVED' /root/mails
until_true all_well

page backup
rm -f backup.tar
block
rm backup.tar
block
block
# The new host: the package, /etc/dnssecd as it was, the passphrase and the backup.
systemctl stop dnssecd dnssecd-signer
cp -a /etc/dnssecd /root/etc
dpkg --purge dnssecd
rm -rf /etc/dnssecd /etc/credstore /var/lib/dnssecd /var/lib/dnssecd-signer /run/dnssecd*
dpkg -i /root/clone/dist/dnssecd_*.deb
cp -a /root/etc/. /etc/dnssecd/
block
until_true all_well
serial=$(ask @192.0.2.1 example.com SOA +short | head -n 1)
echo "served again: $serial"
# A key file is lost, and with it the zone's ZSK; the daemon starts without it.
systemctl stop dnssecd dnssecd-signer
id=$(basename "$(ls -t /var/lib/dnssecd-signer/keys/*.key | head -n 1)")
mv "/var/lib/dnssecd-signer/keys/$id" /root/
systemctl start dnssecd-signer dnssecd
until_true sh -c 'dnssecd status | grep -q "CRITICAL key-missing"'
zone=$(dnssecd key list --stored | grep "${id%.key}" | cut -d ' ' -f 1)
block "s/example.com/$zone/"
close
until_true all_well

page roll-keys
block
old=$(tag_of example.com zsk)
block
until_true gone example.com "$old"
old=$(tag_of example.com ksk)
block
acting example.com gone example.com "$old"
printf '[policy.default]\ndenial = "nsec"\n' | python3 /trial/merge.py $config
block
has_nsec() { ask @192.0.2.53 nothing.example.com A | grep -q 'NSEC[^3]'; }
until_true has_nsec
old=$(tag_of example.com ksk)
block "s/27830/$old/"
acting example.com gone example.com "$old"
acting example.com all_well
block "s/27830/$(tag_of example.com zsk)/"
close

page unsign
config
printf '[policy.unsigned]\npropagation_delay = "1s"\nparent_propagation_delay = "1s"\nparent_ds_ttl = "5s"\n' |
    python3 /trial/merge.py $config
printf '[zone."example.com."]\npolicy = "unsigned"\n[zone."example.net."]\npolicy = "unsigned"\n' |
    python3 /trial/merge.py $config
block
close
unsigned() { ! signed 192.0.2.53 "$1" SOA && ! signed 192.0.2.54 "$1" SOA; }
for zone in example.com example.net; do
    until_true removal_due $zone
    registrar $zone
    until_true unsigned $zone
done

page zones
python3 - <<EOF
import re
from pathlib import Path
path = Path("$config")
path.write_text(re.sub(r'(?ms)^\[zone\."example\.net\."\].*?(?=^\[|\Z)', "", path.read_text()))
EOF
block
close
fails dnssecd zone show example.net
printf '[zone."example.net."]\nfile = "zones/example.net.zone"\nsecondaries = ["ns1"]\n' | python3 /trial/merge.py $config
dnssecd config reload
dnssecd zone restore example.net
until_true sh -c 'dnssecd zone list | grep "^example.net. .* served "'
systemctl stop dnssecd dnssecd-signer
