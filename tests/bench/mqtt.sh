#!/bin/bash
# MQTT: one alert through 1, 2 and 4 real brokers to 10,000 connected phones, and past queued information.
# LOA_BENCH_RUNS (5), LOA_BENCH_DEVICES (10000) and LOA_BENCH_BROKERS ("1 2 4") change it.
set -euo pipefail
source tests/bench/lib/report.sh
runs=${LOA_BENCH_RUNS:-5} devices=${LOA_BENCH_DEVICES:-10000}
read -ra brokers <<<"${LOA_BENCH_BROKERS:-1 2 4}"
processes=$(((devices + 4999) / 5000)) # of the fleet: 3 descriptors for each phone
[ "$processes" -ge 2 ] || processes=2
cmake --build build/release --target bench_mqtt loa-sim >/dev/null

work=$(mktemp -d)
server=$work/conninfo
tests/support/postgres.sh start "$server" on
trap 'tests/support/postgres.sh stop "$server"; rm -rf "$work"' EXIT
export LOA_TESTPG=$server

measure() { # NAME [OPTION...]: appends one run's samples to NAME.tsv
    local name=$1
    shift
    build/release/tests/bench_mqtt --devices "$devices" --processes "$processes" "$@" \
        build/release/loa-sim 2>"$work/log" | sed 1d >>"$work/$name.tsv" || {
        tail -5 "$work/log" >&2
        return 1
    }
}

# value NAME SAMPLE COLUMN: the median. Columns: see print_head() in tests/bench/mqtt.c
value() {
    # shellcheck disable=SC2046
    median $(awk -F '\t' -v s="$2" -v c="$3" '$1 == s { print $c }' "$work/$1.tsv")
}

whole() { printf '%.0f' "$1"; }
fixed() { printf '%.1f' "$1"; }

report_begin mqtt "MQTT: one alert to $devices connected phones"
for ((run = 1; run <= runs; run++)); do
    for k in "${brokers[@]}"; do
        measure "tls-$k" --brokers "$k"
    done
    measure plain-1 --brokers 1 --plain
    echo "run $run of $runs" >&2
done

{
    printf 'brokers\tp50 ms\tp99 ms\tlast ms\tdeliveries/s\trelease to last ms\tµs of brokers per delivery\tbusiest broker ms\tµs of phones per delivery\tms of loa mqtt\n'
    for name in $(printf 'tls-%s ' "${brokers[@]}") plain-1; do
        last=$(value "$name" publish 7)
        label=${name#tls-}
        printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "${label/plain-1/1, no TLS}" \
            "$(whole "$(value "$name" publish 5)")" "$(whole "$(value "$name" publish 6)")" \
            "$(whole "$last")" "$(whole "$(ratio "$((devices * 1000))" "$last")")" \
            "$(whole "$(value "$name" release 7)")" "$(fixed "$(value "$name" publish 9)")" \
            "$(whole "$(ratio "$(value "$name" publish 10)" 0.001)")" \
            "$(fixed "$(value "$name" publish 11)")" "$(fixed "$(value "$name" publish 12)")"
    done
} | report_table
report_note "Medians of $runs runs, the brokers' numbers taken in turn. Times are from the publication to the moment when a phone shows the alert, signature checked; \"release to last\" begins with the commit of the release. Brokers are mosquitto with the configuration that Loa generates; phones are \`loa-sim fleet\`, one libmosquitto client each, in $processes processes, over TLS unless said otherwise. Engine, brokers and phones share the cores of this machine, so the wall clock stops falling when they are used up; what one broker is spared is the time of the busiest one. Every delivery includes the phone's acknowledgement (QoS 1)."

{
    printf 'brokers\twaiting\temergency alone, last ms\tpast the queue, last ms\tratio\n'
    for k in "${brokers[@]}"; do
        alone=$(value "tls-$k" release 7) past=$(value "tls-$k" queued 7)
        printf '%s\t%s\t%s\t%s\t%s\n' "$k" "$(whole "$(value "tls-$k" queued 3)")" \
            "$(whole "$alone")" "$(whole "$past")" "$(ratio "$past" "$alone")"
    done
} | report_table
report_note "An emergency released while 20 pieces of information are on their way to the same phones; \"waiting\" of them had not been shown when the emergency had reached the last phone."

{
    printf 'brokers\tlast phone has it, all on this machine\tCPU time of the busiest broker\tCPU time of one broker, shared out evenly\n'
    one=$(value "tls-${brokers[0]}" publish 10)
    for k in "${brokers[@]}"; do
        printf '%s\t%s\t%s\t%s\n' "$k" "$(value "tls-$k" publish 7)" \
            "$(ratio "$(value "tls-$k" publish 10)" 0.001)" \
            "$(awk -v s="$one" -v k="$k" -v b="${brokers[0]}" 'BEGIN { print s * 1000 * b / k }')"
    done
} | report_lines "brokers" "milliseconds" "set xtics ($(printf ', %s' "${brokers[@]}" | cut -c 3-))" \
    "set offsets 0.2,0.2,graph 0.35,0" "set linetype 2 linecolor '#1f6f8b' linewidth 3 pointtype 7" \
    "set linetype 1 linecolor '#d1495b' linewidth 2 pointtype 5" \
    "set linetype 3 linecolor '#999999' linewidth 1 pointtype 0 dashtype 2"

json() { # NAME
    printf '{"p50_ms":%s,"p99_ms":%s,"last_ms":%s,"deliveries_per_s":%s,"release_last_ms":%s,"broker_us":%s,"busiest_broker_s":%s,"phones_us":%s,"queued_last_ms":%s}' \
        "$(value "$1" publish 5)" "$(value "$1" publish 6)" "$(value "$1" publish 7)" \
        "$(ratio "$((devices * 1000))" "$(value "$1" publish 7)")" "$(value "$1" release 7)" \
        "$(value "$1" publish 9)" "$(value "$1" publish 10)" "$(value "$1" publish 11)" \
        "$(value "$1" queued 7)"
}
first=${brokers[0]} most=${brokers[-1]}
report_end "{\"devices\":$devices,\"runs\":$runs,$(for k in "${brokers[@]}"; do
    printf '"k%s":%s,' "$k" "$(json "tls-$k")"
done)\"plain\":$(json plain-1),\"busiest_broker_ratio\":$(ratio "$(value "tls-$first" publish 10)" \
    "$(value "tls-$most" publish 10)"),\"broker_us_ratio\":$(ratio "$(value "tls-$most" publish 9)" \
    "$(value "tls-$first" publish 9)"),\"past_queue_ratio\":$(ratio "$(value "tls-$first" queued 7)" \
    "$(value "tls-$first" release 7)")}"
