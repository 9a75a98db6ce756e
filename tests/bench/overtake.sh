#!/bin/bash
# Emergencies in the middle of information to 1,000,000 devices: who leaves first, and how soon.
# LOA_OVERTAKE_DEVICES, _LOCAL (devices of an emergency), _EMERGENCIES and _DELIVER change it.
set -euo pipefail
. tests/bench/lib/report.sh

cmake --build build/release --target loa loa-sim bench_overtake >/dev/null
raw=$(mktemp)
trap 'rm -f "$raw"' EXIT
build/release/tests/bench_overtake | tee "$raw" >&2

report_begin overtake "An emergency overtakes information"
column() { sed -n "s/.*\"emergency\":.*\"$1\":\([-0-9.]*\).*/\1/p" "$raw" | sort -g; }
at() { column "$1" | awk -v p="$2" '{ v[NR] = $1 } END { print v[int(p * (NR - 1) + 1.5)] }'; }
last() { sed -n "s/.*\"information\":.*\"$1\":\([0-9]*\).*/\1/p" "$raw"; }
devices=${LOA_OVERTAKE_DEVICES:-1000000} local=${LOA_OVERTAKE_LOCAL:-10000}
deliver=${LOA_OVERTAKE_DELIVER:-2}
{
    printf 'of %s emergencies to %s devices each\tp50\tp99\tmost\n' "$(column before | wc -l)" "$local"
    row() { printf '%s\t%s\t%s\t%s\n' "$1" "$(at "$2" 0.5)" "$(at "$2" 0.99)" "$(at "$2" 1)"; }
    row "information that arrived between visible commit and the emergency's first frame" before
    row "information between the emergency's first and last frame on its channel" between
    row "release committed → first frame, ms" first_ms
    row "release committed → last frame, ms" last_ms
} | report_table
flight=1000
report_note "Information to $devices devices on $deliver \`loa deliver\`: $(last accepted) accepted in the end, \
$(last held_for_ios) of them held for iOS while the emergencies were live, $(last duplicates) flights uncertain. \
Sequence numbers are the simulators'; a commit is visible when a listener hears of it, times count from the commit's own timestamp, which is before it is on the disk; allowed are $deliver flights of $flight between commit and first frame."
column first_ms | awk '{ print NR "\t" $1 }' | sed '1i emergency, in order\trelease → first frame' |
    report_lines "emergencies, fastest first" "ms"
exact=$([ "$(last accepted)" = "$devices" ] && echo true || echo false)
report_end "{\"devices\":$devices,\"emergencies\":$(column before | wc -l),\"before_p50\":$(at before 0.5),\"before_most\":$(at before 1),\"allowed\":$((deliver * flight)),\"between_most\":$(at between 1),\"first_ms_p50\":$(at first_ms 0.5),\"first_ms_p99\":$(at first_ms 0.99),\"last_ms_p50\":$(at last_ms 0.5),\"information_exact\":$exact}"
