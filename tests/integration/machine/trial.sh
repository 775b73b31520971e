#!/bin/bash
# Runs inside the machine, once it has booted: installs the package and does what an operator would. Facts go to
# /trial/out/facts, one a line, NAME=VALUE; /trial/out/log has everything.
exec >/trial/out/log 2>&1
set -x
fact() { echo "$1=$2" >>/trial/out/facts; }
wait_for() { for _ in $(seq 100); do "$@" && return 0; sleep 0.2; done; return 1; }
signed() { dig +dnssec +time=1 +tries=1 @127.0.0.1 -p "${1:-5300}" hello.zone.example TXT | grep -q RRSIG; }
restarts() { systemctl show -p NRestarts --value "$1"; }

dpkg -i /trial/dnssecd.deb
fact installed $?
fact idle_without_configuration "$(systemctl is-active dnssecd)"
printf '@ 60 SOA ns hostmaster 1 3600 600 604800 60\n@ 60 NS ns\nns 60 A 192.0.2.53\nhello 60 TXT "hi"\n' >/root/zone
dnssecd init --zone zone.example=/root/zone --parent none; fact init $?
dnssecd init --zone zone.example=/root/zone --parent none | grep -c created >/root/count; fact made_again "$(cat /root/count)"
systemctl enable --now dnssecd-signer dnssecd; fact started $?
wait_for signed; fact signed_after_install $?
systemd-analyze verify dnssecd.service dnssecd-signer.service 2>/root/verify; fact units_verified "$? $(grep -c dnssecd /root/verify)"
for unit in dnssecd dnssecd-signer; do
    fact "active_$unit" "$(systemctl is-active $unit)"
    fact "enabled_$unit" "$(systemctl is-enabled $unit)"
    pid=$(systemctl show -p MainPID --value $unit)
    fact "user_$unit" "$(stat -c %U "/proc/$pid")"
    fact "capabilities_$unit" "$(sed -n 's/^CapEff:\t*//p' "/proc/$pid/status")"
    fact "no_new_privileges_$unit" "$(sed -n 's/^NoNewPrivs:\t*//p' "/proc/$pid/status")"
    fact "seccomp_$unit" "$(sed -n 's/^Seccomp:\t*//p' "/proc/$pid/status")"
    fact "exposure_$unit" "$(systemd-analyze security --no-pager $unit | sed -n 's/.*Overall exposure level.*: \([0-9.]*\).*/\1/p')"
done
fact interfaces_of_signer "$(nsenter -n -t "$(systemctl show -p MainPID --value dnssecd-signer)" ls /sys/class/net 2>/dev/null | tr '\n' ' ')"

# Reload by systemd: a good file, then a bad one.
systemctl reload dnssecd; fact reload_good $?
cp /etc/dnssecd/config.toml /root/good.toml
echo '[nonsense]' >>/etc/dnssecd/config.toml
systemctl reload dnssecd; fact reload_bad $?
cp /root/good.toml /etc/dnssecd/config.toml
systemctl reload dnssecd; fact reload_again $?
systemctl reload dnssecd-signer; fact reload_signer $?

# A TSIG secret that root alone may read, and port 53 without root.
openssl rand -base64 32 >/root/secret 2>/dev/null || head -c 32 /dev/urandom | base64 >/root/secret
install -m 600 /root/secret /etc/dnssecd/secrets/transfer
sed -i 's/^listen = .*/listen = ["127.0.0.1:53"]/' /etc/dnssecd/config.toml
cat >>/etc/dnssecd/config.toml <<EOF
allow_transfer = ["transfer."]
[tsig."transfer."]
secret_file = "/run/credentials/dnssecd.service/secret_transfer"
EOF
started=$(date +%s%N)
systemctl restart dnssecd; fact restart $?
fact restart_ms $((($(date +%s%N) - started) / 1000000))
signed 53; fact served_at_once_on_port_53 $?
dig @127.0.0.1 zone.example AXFR -y "hmac-sha256:transfer.:$(cat /root/secret)" | grep -c RRSIG >/root/count
fact transferred_signatures "$(cat /root/count)"

# Members of the group may look, not change.
useradd -M -G dnssecd reader
runuser -u reader -- dnssecd zone list >/dev/null; fact reader_looks $?
runuser -u reader -- dnssecd zone reload zone.example; fact reader_changes $?
useradd -M stranger
runuser -u stranger -- dnssecd status; fact stranger_looks $?

# The key service is killed: restarted, and the daemon serves meanwhile.
systemctl kill -s KILL dnssecd-signer
signed 53; fact served_without_signer $?
wait_for systemctl is-active -q dnssecd-signer
wait_for dnssecd keystore test; fact signer_back $?

# A token, set up as the drop-in says.
printf 'directories.tokendir = /var/lib/dnssecd-signer/softhsm\n' >/etc/dnssecd/softhsm2.conf
install -d -o dnssecd-signer -g dnssecd-link -m 0700 /var/lib/dnssecd-signer/softhsm
(umask 077 && printf 4711 >/etc/credstore/dnssecd.pin)
runuser -u dnssecd-signer -- env SOFTHSM2_CONF=/etc/dnssecd/softhsm2.conf \
    softhsm2-util --init-token --free --label dns --pin 4711 --so-pin 4711
mkdir -p /etc/systemd/system/dnssecd-signer.service.d
cp /usr/share/doc/dnssecd/examples/systemd/softhsm.conf /etc/systemd/system/dnssecd-signer.service.d/
cat >>/etc/dnssecd/config.toml <<EOF
[keystore.hsm]
type = "pkcs11"
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "dns"
pin_file = "/run/credentials/dnssecd-signer.service/pin"
EOF
systemctl daemon-reload
systemctl restart dnssecd-signer
systemctl reload dnssecd
wait_for sh -c 'dnssecd keystore test | grep "^hsm .* ok"'; fact token $?

# A daemon that stands still is restarted.
mkdir -p /run/systemd/system/dnssecd.service.d
printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/dnssecd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart dnssecd
sleep 5
fact restarts_before_standstill "$(restarts dnssecd)"
kill -STOP "$(systemctl show -p MainPID --value dnssecd)"
wait_for sh -c '[ "$(systemctl show -p NRestarts --value dnssecd)" = 1 ]'
wait_for signed 53; fact served_after_standstill $?
fact restarts_after_standstill "$(restarts dnssecd)"
journalctl -u dnssecd | grep -c 'Watchdog timeout'; fact watchdog_told "$(journalctl -u dnssecd | grep -c 'Watchdog timeout')"

started=$(date +%s%N)
systemctl stop dnssecd dnssecd-signer
fact stop_ms $((($(date +%s%N) - started) / 1000000))
fact result "$(systemctl show -p Result --value dnssecd) $(systemctl show -p Result --value dnssecd-signer)"
fact stop_order "$(journalctl -o short-monotonic -u dnssecd -u dnssecd-signer | grep 'Stopped' | tail -2 | sed 's/.*Stopped \([a-z-]*\)\.service.*/\1/' | tr '\n' ' ')"

# The same package again is an upgrade; what is stored stays.
before=$(cat /var/lib/dnssecd-signer/audit.log | head -1)
systemctl start dnssecd
dpkg -i /trial/dnssecd.deb; fact upgraded $?
wait_for signed 53; fact served_after_upgrade $?
[ "$before" = "$(head -1 /var/lib/dnssecd-signer/audit.log)" ]; fact audit_log_kept $?
man -w dnssecd-zone >/dev/null && man -w dnssecd.toml >/dev/null; fact manual $?
fact info_lines "$(journalctl -u dnssecd -o cat | grep -c '^{"level": "info"')"
fact info_lines_among_warnings "$(journalctl -p warning -u dnssecd -o cat | grep -c '^{"level": "info"')"

dpkg --purge dnssecd; fact purged $?
ls /var/lib/dnssecd-signer/keys/*.key >/dev/null; fact keys_left $?
ls /usr/lib/dnssecd 2>/dev/null; fact program_left $?
journalctl --no-pager >/trial/out/journal
fact finished yes
systemctl poweroff
