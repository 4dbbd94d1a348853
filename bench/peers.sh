#!/bin/bash
# Usage: peers.sh DIR GATEWAY
#   The comparison with other mail systems on this machine, by the scripts in DIR (run.sh, afterdot.py and one script a
#   system); GATEWAY is our binary. Needs root, and what those scripts need. `make bench-peers PEERS=DIR` calls this.
#   1. relay-only (configs/bench-relay.toml) and Postfix, taking turns
#   2. the full pipeline (configs/bench-full.toml) and Postfix + Rspamd, taking turns; the message is DKIM-signed
#   3. the time after the final dot of all four
#   4. what was checked, on both sides
# Environment: REPS (3), SECS of a run (6), WORKLOADS of part 1 and FULL of part 2 (SIZE/CONN/SESSIONS, a blank between),
# OUT: a directory that gets the rows (relay.tsv, full.tsv).
set -u
[ $# = 2 ] || { sed -n '2,10s/^# \?//p' "$0"; exit 2; }
DIR=$(realpath "$1") GATEWAY=$(realpath "$2") ROOT=$(cd "$(dirname "$0")/.." && pwd)
[ -x "$DIR/run.sh" ] && [ -x "$GATEWAY" ] || { echo "peers.sh: $DIR/run.sh or $GATEWAY cannot be run" >&2; exit 1; }
REPS=${REPS:-3} SECS=${SECS:-6} WORKLOADS=${WORKLOADS:-4k/many/20} FULL=${FULL:-4k/many/20}
WORK=$(mktemp -d /var/tmp/mailweir-peers-XXXXXX) # the spools must be on a disk, as the others' are
OUT=${OUT:-$WORK}
export SCRATCH=${SCRATCH:-/var/tmp/mx-peers} LC_ALL=C
mkdir -p "$OUT" "$SCRATCH"

# The scripts' DNS knows no DKIM key, no DNSBL and only a flat SPF record: a copy of them gets ours.
cp -r "$DIR" "$WORK/peers"; chmod -R u+w "$WORK/peers"
(cd "$ROOT" && go build -o "$WORK/bench" ./bench) || exit 1
for size in 4k 64k; do
  "$WORK/bench" message -m "$size" -key "$WORK/key.pem" -record "$WORK/key.txt" -lf >"$WORK/signed.$size" || exit 1
done
{
  echo "  local-data: 's1._domainkey.sender.test. 3600 TXT $(cat "$WORK/key.txt")'"
  echo "  local-data: 'sender.test. 3600 TXT \"v=spf1 include:spf1.sender.test include:spf2.sender.test -all\"'"
  echo "  local-data: 'spf1.sender.test. 3600 TXT \"v=spf1 ip4:10.0.0.0/8 -all\"'"
  echo "  local-data: 'spf2.sender.test. 3600 TXT \"v=spf1 a:mail.sender.test ip4:127.0.0.0/8 -all\"'"
  for zone in bl1 bl2 bl3; do echo "  local-data: '2.0.0.127.$zone.test. 3600 A 127.0.0.2'"; done
} >"$WORK/records"
sed -i '/sender.test. 3600 TXT "v=spf1 a mx/d' "$WORK/peers/dns.sh"
awk -v file="$WORK/records" '/^remote-control:/ { while ((getline line < file) > 0) print line } { print }' "$WORK/peers/dns.sh" >"$WORK/dns.sh"
cat "$WORK/dns.sh" >"$WORK/peers/dns.sh"
. "$WORK/peers/lib.sh"

end() {
  for p in postfix postfix-rspamd; do "$WORK/peers/$p.sh" stop; done
  for cg in ext-relay-only ext-full dns; do stop_cg "$cg"; done
  kill "${SINK:-}" 2>/dev/null
  rm -rf "$WORK" /var/tmp/mailweir-bench /var/tmp/mailweir-bench-full
} 2>/dev/null
trap end EXIT
trap 'exit 1' INT TERM

relay="cmd:relay-only:17600:$GATEWAY run --config $ROOT/configs/bench-relay.toml"
full="cmd:full:17620:$GATEWAY run --config $ROOT/configs/bench-full.toml"

# ratio FILE OURS THEIRS : their CPU by ours, medians of the same workload
ratio() {
  gawk -F'\t' -v ours="$2" -v theirs="$3" '$1 != "time" { k = $3; n[k, $2]++; v[k, $2][n[k, $2]] = $11; all[k] }
    function median(a,  m) { m = asort(a); return (a[int((m + 1) / 2)] + a[int((m + 2) / 2)]) / 2 }
    END { for (k in all) { a = median(v[k, ours]); b = median(v[k, theirs])
      printf "%s: %.3f ms beside %.3f ms of CPU a message: 1/%.1f\n", k, a, b, b / a } }' "$1"
}

echo "## relay-only beside Postfix"
"$WORK/peers/run.sh" -k -t "$SECS" -r "$REPS" -w "$WORKLOADS" -o "$OUT/relay.tsv" postfix "$relay" || exit 1
"$WORK/peers/summary.sh" "$OUT/relay.tsv"
ratio "$OUT/relay.tsv" ext-relay-only postfix

echo; echo "## full pipeline beside Postfix + Rspamd"
list=
for w in $FULL; do list="$list file=${WORK//\//%}%signed.$w"; done
"$WORK/peers/run.sh" -k -t "$SECS" -r "$REPS" -w "$list" -o "$OUT/full.tsv" postfix-rspamd "$full" || exit 1
sed -i "s|file=[^\t]*%signed\.|signed-|" "$OUT/full.tsv"
"$WORK/peers/summary.sh" "$OUT/full.tsv"
ratio "$OUT/full.tsv" ext-full postfix-rspamd

echo; echo "## time after the final dot, as a client sees it"
"$WORK/bench" sink -address "127.0.0.1:$SINK_PORT" >/dev/null 2>&1 & SINK=$!
wait_port "$SINK_PORT" || exit 1
for peer in "relay-only 17600" "postfix $("$WORK/peers/postfix.sh" port)" "full 17620" "postfix-rspamd $("$WORK/peers/postfix-rspamd.sh" port)"; do
  read -r name port <<<"$peer"
  for how in "-n 300 -c 1" "-n 1000 -c 8"; do
    echo "$name: $(python3 "$WORK/peers/afterdot.py" "$port" "$WORK/signed.4k" $how)"
  done
done

echo; echo "## what was checked"
sleep 1.5 # the history is written once a second
id=$(grep '"msg":"transaction"' "$SCRATCH/full.log" | tail -1 | sed 's/.*"id":"\([^"]*\)".*/\1/')
echo "full: $("$GATEWAY" why --config "$ROOT/configs/bench-full.toml" --json "$id" |
  grep -o '"checks":\[[^]]*\]' | head -1 | grep -o '"name":"[^"]*","state":"[^"]*"' | sed 's/"name":"\(.*\)","state":"\(.*\)"/\1 \2/' | paste -sd,)"
echo "full, symbols: $(grep '"msg":"transaction"' "$SCRATCH/full.log" | tail -1 | grep -o '"symbols":\[[^]]*\]')"
echo "rspamd: $(grep -h 'rspamd_task_write_log' "$SCRATCH"/postfix-rspamd/rspamd/log/rspamd.log 2>/dev/null | tail -1)"
