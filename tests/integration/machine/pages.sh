# Sourced by scripts that do what the pages of docs/ say. /trial/pages/PAGE/NN.LANGUAGE are the blocks of each page, in their
# order. `page NAME` opens a page, and each of `block`, `config` and `leave` takes its next block; `close` checks that none is left.
set -euo pipefail
PAGES=${PAGES:-/root/pages}

page() { PAGE=$1; echo "=== $PAGE"; }
# Sets TEXT to the next block, which has to be of the given language.
take() {
    local file
    file=$(find "$PAGES/$PAGE" -name '[0-9]*' | sort | head -n 1)
    [ -n "$file" ] && [ "${file##*.}" = "$1" ] || { echo "$PAGE: no block of $1 comes next: ${file:-none}"; return 1; }
    TEXT=$(cat "$file")
    rm "$file"
}
# Runs commands as they stand, but for what the arguments of sed replace: addresses, key tags, the foreground.
block() {
    take sh
    [ $# = 0 ] || TEXT=$(printf '%s\n' "$TEXT" | sed -E "$@")
    printf '%s\n' "$TEXT" | sed 's/^/+ /' >&2
    eval "$TEXT"
}
# Puts settings into the configuration; what sed replaces is what the reader fills in.
config() {
    take toml
    [ $# = 0 ] || TEXT=$(printf '%s\n' "$TEXT" | sed -E "$@")
    printf '%s\n' "$TEXT" | sed 's/^/# /'
    printf '%s\n' "$TEXT" | python3 /trial/merge.py "${CONFIG:-/etc/dnssecd/config.toml}"
}
leave() { take sh; echo "- left out: $1"; }
close() {
    [ -z "$(find "$PAGES/$PAGE" -name '[0-9]*')" ] || { echo "$PAGE: not all blocks were taken"; return 1; }
}
# Until a command succeeds, without its output; then what it said last.
until_true() {
    for _ in $(seq "${TRIES:-200}"); do "$@" >/tmp/until 2>&1 && return 0; sleep 0.3; done
    echo "never true: $*"; cat /tmp/until
    return 1
}
# The status of a command that is to fail.
fails() { if "$@"; then echo "did not fail: $*"; return 1; fi; }
