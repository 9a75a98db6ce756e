#!/bin/bash
# Outbox: durable jobs per second and CPU per job, beside graphile-worker on the same PostgreSQL.
# LOA_OUTBOX_RUNS (5) interleaved runs of LOA_OUTBOX_JOBS (50000) jobs each.
set -euo pipefail
source tests/bench/lib/report.sh
runs=${LOA_OUTBOX_RUNS:-5} jobs=${LOA_OUTBOX_JOBS:-50000} devices=10000
bench_peers
cmake --build build/release --target bench_outbox bench_outbox_push loa loa-sim >/dev/null

# The server of both sides: durable, with room for the bench's data.
dir=$(mktemp -d /tmp/loa-pg.XXXXXX)
tests/support/postgres.sh init "$dir" on
cat >>"$dir/data/postgresql.conf" <<CONF
shared_buffers = 256MB
max_wal_size = 4GB
CONF
tests/support/postgres.sh run "$dir" &
server=$!
trap 'kill -INT $server 2>/dev/null; wait $server || true; rm -rf "$dir"' EXIT
sql() { psql -qAtX -h "$dir" -U loa -d postgres -c "$1"; }
until sql 'SELECT 1' >/dev/null 2>&1; do
    kill -0 $server
    sleep 0.1
done

# CPU of the server and all its processes so far, in ms.
server_cpu() {
    cat /proc/$server/stat $(pgrep -P $server | sed 's|.*|/proc/&/stat|') 2>/dev/null |
        awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, "") } { n += $12 + $13 }
            NR == 1 { n += $14 + $15 } END { print n * 1000 / tick }'
}

loa() { build/release/tests/bench_outbox "host=$dir user=loa dbname=$1" "$2" "$3"; }
batching() { node tests/bench/outbox_graphile.js graphile-worker-batching "$dir" "$@"; }
single() { node tests/bench/outbox_graphile.js graphile-worker "$dir" "$@"; }

# one SIDE STEP: "wall program-CPU server-CPU" of the step, in µs per job.
one() {
    local before out
    before=$(server_cpu)
    out=$("$1" bench "$2" "$jobs" 2>>"$report_tmp/log" | tail -1)
    awk -v server="$(server_cpu) $before" -v n="$jobs" -F '[:,}]' 'BEGIN { split(server, s, " ") }
        { printf "%.2f %.2f %.2f", $2 * 1000 / n, $4 * 1000 / n, (s[1] - s[2]) * 1000 / n }' <<<"$out"
}

# Six columns of µs per job: three of enqueuing, three of draining.
run() { # SIDE
    sql 'DROP DATABASE IF EXISTS bench' 2>>"$report_tmp/log"
    sql 'CREATE DATABASE bench'
    "$1" bench setup $devices >>"$report_tmp/log" 2>&1
    sql CHECKPOINT
    echo "$(one "$1" enqueue) $(one "$1" drain)" >>"$report_tmp/$1"
}

column() { # SIDE EXPRESSION-OF-COLUMNS: the median over the runs
    median $(awk "{ print $2 }" "$report_tmp/$1")
}
per_s() { awk -v us="$1" 'BEGIN { printf "%.0f", 1e6 / us }'; }
whole='$1 + $4' cpu='$2 + $3 + $5 + $6'

report_begin outbox "Notification outbox beside graphile-worker"
for ((i = 0; i < runs; i++)); do
    for side in loa batching single; do
        run $side
    done
done
for ((i = 0; i < runs; i++)); do
    build/release/tests/bench_outbox_push "$jobs" 2>>"$report_tmp/log" | grep '^{' |
        awk -v n="$jobs" -F '[:,}]' '{ printf "%.2f %.2f %.2f 0 0 0\n", $2 * 1000 / n, $4 * 1000 / n,
            $6 * 1000 / n }' >>"$report_tmp/push"
done

row() { # LABEL SIDE
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$(per_s "$(column "$2" "$whole")")" \
        "$(per_s "$(column "$2" '$1')")" "$([ "$2" = push ] || per_s "$(column "$2" '$4')")" \
        "$(column "$2" '$2 + $5')" "$(column "$2" '$3 + $6')" "$(column "$2" "$cpu")"
}
rate=$(ratio "$(column batching "$whole")" "$(column loa "$whole")")
rate_single=$(ratio "$(column single "$whole")" "$(column loa "$whole")")
cpu_ratio=$(ratio "$(column loa "$cpu")" "$(column batching "$cpu")")
cpu_single=$(ratio "$(column loa "$cpu")" "$(column single "$cpu")")
report_table <<TSV
	jobs/s	enqueue/s	drain/s	program µs	PostgreSQL µs	CPU µs/job
$(row Loa loa)
$(row 'graphile-worker 0.17.3, batching' batching)
$(row 'graphile-worker 0.16.6' single)
$(row 'Loa, real sends to loa-sim' push | awk -F '\t' -v OFS='\t' '{ $3 = $4 = "" } 1')
TSV
report_note "Loa beside graphile-worker with batching: $rate × its jobs/s, $cpu_ratio × its CPU per job; \
beside 0.16.6, which knows no batching: $rate_single × and $cpu_single ×."
report_note "$jobs durable jobs, medians of $runs interleaved runs. Both sides use the same PostgreSQL \
(fsync and synchronous_commit on), insert 1,000 keyed rows a transaction, and then drain them with one \
worker process that does nothing per job: Loa's outbox worker over a channel that accepts at once, \
graphile-worker's with its recommended settings (24 concurrent jobs, local queue of 500, batched \
completion). CPU is user and system time of the programs and of all of PostgreSQL. Loa keeps what \
became of each job; graphile-worker deletes it. The last line is the whole way, enqueued while \`loa \
deliver\` sends over HTTP/2; the simulators share the machine, and their CPU is not counted."
thousands() { awk -v us="$(column "$1" "$whole")" 'BEGIN { printf "%.2f", 1e3 / us }'; }
report_bars 'thousand durable jobs per second' <<TSV
Loa	$(thousands loa)
Loa, really sending	$(thousands push)
graphile 0.17 in batches	$(thousands batching)
graphile 0.16.6	$(thousands single)
TSV
report_end "{\"ratio\":$rate,\"cpu_ratio\":$cpu_ratio,\"ratio_0_16_6\":$rate_single,\"cpu_ratio_0_16_6\":$cpu_single,\"jobs_per_s\":$(
    per_s "$(column loa "$whole")"),\"peer_jobs_per_s\":$(per_s "$(column batching "$whole")"),\"cpu_us\":$(
    column loa "$cpu"),\"peer_cpu_us\":$(column batching "$cpu"),\"jobs\":$jobs,\"runs\":$runs}"
