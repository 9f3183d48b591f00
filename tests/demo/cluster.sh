#!/usr/bin/env bash
# Cluster: three members on this machine, how to talk to them, and their status until Ctrl-C. Leaves nothing behind.
#
# CONCORD_COOKIE: their secret, else a random one. PORT: the first of three ports (7401). CONCORD_PROGRAM: what is built.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
program=${CONCORD_PROGRAM:-$target/release/concord}
port=${PORT:-7401}
umask 077
work=$(mktemp -d "$target/cluster.XXXXXX")
members=()
cleanup() {
    ((${#members[@]} == 0)) || kill -TERM "${members[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap cleanup EXIT
trap 'echo; exit 0' INT TERM

printf '%s\n' "${CONCORD_COOKIE:-$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')}" >"$work/cookie"
# Nothing else of this shell's settings reaches the members.
for name in $(compgen -e CONCORD_); do unset "$name"; done

addresses=127.0.0.1:$port,127.0.0.1:$((port + 1)),127.0.0.1:$((port + 2))
for number in 0 1 2; do
    # In a session of its own: Ctrl-C is for this script, which then stops the members in order.
    setsid "$program" serve --data-dir "$work/member$number" --listen "127.0.0.1:$((port + number))" \
        --name "member$number" --seed "$addresses" --bootstrap-expect 3 --cookie-file "$work/cookie" \
        >"$work/member$number.log" 2>&1 &
    members+=($!)
done
if ! "$program" ready --timeout-ms 20000 --address "$addresses" --cookie-file "$work/cookie" >/dev/null; then
    cat "$work"/member*.log >&2
    exit 1
fi

cat <<END
Three members of one cluster, processes ${members[*]}, in $work. From another terminal:

  export CONCORD_COOKIE=\$(cat $work/cookie)
  shell    CONCORD_ADDRESS=$addresses $program put greeting hello
  Rust     Concord::connect(ClientConfig::new("$addresses", "").or_environment()?)?
  C        concord_connect("$addresses", NULL, &db)
  C++      concord::Db::connect("$addresses")
  Python   concord_kv.connect("$addresses")
  Elixir   Concord.Client.start_link(addresses: "$addresses")

Kill one (kill -9 ${members[0]}) and go on. Ctrl-C here ends them all and removes what they hold.

END
"$program" status --watch --address "$addresses" --cookie-file "$work/cookie"
