#!/bin/bash
# Runs as root in a Debian root of its own (a chroot with its own network), where dnssecd is installed: the README's first
# real zone, with the secondary and the parent that the README has in mind. Usage: first_zone.sh COMMANDS
# COMMANDS: file with the README's lines from `dnssecd init` on.
set -euo pipefail
ip link set lo up
for last in 1 2 53; do ip address add 192.0.2.$last/32 dev lo; done
mkdir -p /root/parent /root/secondary
cd /root/parent
# The root and com. on one server, which is also what the resolver of this machine would answer.
printf '. 60 IN SOA a.com. b.com. 1 1 1 1 60\n. 60 IN NS a.com.\ncom. 60 IN NS a.com.\na.com. 60 IN A 192.0.2.2\n' >root.zone
printf 'com. 60 IN SOA a.com. b.com. 1 1 1 1 60\ncom. 60 IN NS a.com.\na.com. 60 IN A 192.0.2.2\n' >com.zone
printf 'example.com. 60 IN NS ns1.example.com.\nns1.example.com. 60 IN A 192.0.2.53\n' >>com.zone
cat >named.conf <<EOF
options { directory "/root/parent"; listen-on { 192.0.2.2; }; listen-on-v6 { none; }; recursion no; pid-file none;
    session-keyfile none; };
controls { };
zone "." { type primary; file "root.zone"; };
zone "com." { type primary; file "com.zone"; };
EOF
named -c /root/parent/named.conf -n 1
rm -f /etc/resolv.conf
echo 'nameserver 192.0.2.2' >/etc/resolv.conf

cd /root
printf '$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 604800 60\n@ NS ns1\nns1 A 192.0.2.53\n' >example.com.zone
serves() { # NAME TYPE TEXT
    for _ in $(seq 300); do
        dig +norecurse +dnssec +time=1 +tries=1 @192.0.2.53 "$1" "$2" >/root/answer 2>&1
        if grep -q "$3" /root/answer && grep -q RRSIG /root/answer; then return 0; fi
        sleep 0.2
    done
    cat /root/answer /run/fake-systemd/*.log
    return 1
}
while read -r line; do
    echo "+ $line"
    sh -ec "$line" | tee /root/output
    case $line in
    "dnssecd init"*)
        {
            cat /root/output | sed -n '/^key "/,/^$/p'
            echo 'options { directory "/root/secondary"; listen-on { 192.0.2.53; }; listen-on-v6 { none; }; recursion no;'
            echo 'pid-file none; session-keyfile none; }; controls { };'
        } >/root/secondary/named.conf
        named -c /root/secondary/named.conf -n 1
        ;;
    systemctl*) serves example.com SOA ' 1 3600 ' ;;
    esac
done <"$1"
grep -q 'do not hand over yet. Ready at about' /root/output
dnssecd status >/root/status
grep -q '^OK: all is well' /root/status
printf 'www A 192.0.2.80\n' >>/etc/dnssecd/zones/example.com.zone
sed -i 's/hostmaster 1 /hostmaster 2 /' /etc/dnssecd/zones/example.com.zone
serves www.example.com A 192.0.2.80
for pid in $(cat /run/fake-systemd/*.pid); do grep '^Uid:' "/proc/$pid/status"; done
stat -c '%A %U:%G %n' /etc/dnssecd/tsig/ns1.secret /etc/credstore/dnssecd.passphrase /var/lib/dnssecd-signer /var/lib/dnssecd
dnssecd init --listen 192.0.2.1 --zone example.com=/root/example.com.zone && exit 1
systemctl stop dnssecd dnssecd-signer
echo "first zone: done"
