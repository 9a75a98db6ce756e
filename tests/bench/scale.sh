#!/bin/bash
# One emergency to 10,000, 100,000, 1,000,000 and 5,000,000 devices: time, CPU, memory, bytes on disk.
# LOA_SCALE_SIZES, _RUNS (median of) and _DELIVER (processes) change it.
set -euo pipefail
. tests/bench/lib/report.sh

cmake --build build/release --target loa loa-sim bench_scale >/dev/null
raw=$(mktemp)
trap 'rm -f "$raw"' EXIT
build/release/tests/bench_scale | tee "$raw" >&2

report_begin scale "One broadcast, more and more devices"
sizes=$(sed -n 's/.*"devices":\([0-9]*\).*/\1/p' "$raw" | sort -nu)
value() { # SIZE NAME: the median
    # shellcheck disable=SC2046 # one word per number
    median $(sed -n "s/.*\"devices\":$1,.*\"$2\":\([-0-9.]*\).*/\1/p" "$raw")
}
{
    printf 'devices\tseconds\tdevices/s\tdeliver, µs/device\tPostgreSQL, µs/device\tpeak of a deliver, MiB\tdisk, bytes/device\n'
    for n in $sizes; do
        printf '%s' "$n"
        for name in seconds per_s deliver_us postgres_us peak_mib bytes; do
            printf '\t%s' "$(value "$n" $name)"
        done
        echo
    done
} | report_table
report_note "Medians of $(grep -c "\"devices\":$(head -1 <<<"$sizes")," "$raw") runs; ${LOA_SCALE_DELIVER:-2} \`loa deliver\`, \
PostgreSQL with fsync and the simulators share the machine. CPU is that of whole processes, user and \
system. Bytes are those of chunks, flights and retries with their indexes, before any vacuum."
{
    printf 'devices\tdeliver\tPostgreSQL\n'
    for n in $sizes; do
        printf '%s\t%s\t%s\n' "$n" "$(value "$n" deliver_us)" "$(value "$n" postgres_us)"
    done
} | report_lines "devices" "CPU, µs per device" "set key top right" "set logscale x 10" "set format x '10^{%L}'"
json=
for n in $sizes; do
    json="$json\"$n\":{\"seconds\":$(value "$n" seconds),\"deliver_us\":$(value "$n" deliver_us),\"postgres_us\":$(value "$n" postgres_us),\"peak_mib\":$(value "$n" peak_mib),\"bytes\":$(value "$n" bytes)},"
done
base=$(sed -n '/^100000$/p' <<<"$sizes") last=$(tail -1 <<<"$sizes")
growth=null
[ -z "$base" ] || growth=$(ratio "$(value "$last" deliver_us)" "$(value "$base" deliver_us)")
report_end "{\"sizes\":{${json%,}},\"cpu_growth\":$growth}"
