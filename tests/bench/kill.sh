#!/bin/bash
# Kills: 100 rounds of kill -9 of a random process at a random instant of a 100,000-device broadcast.
# LOA_KILL_ROUNDS, LOA_KILL_DEVICES and LOA_KILL_SEED change it.
set -euo pipefail
export LOA_KILL_ROUNDS=${LOA_KILL_ROUNDS:-100} LOA_KILL_DEVICES=${LOA_KILL_DEVICES:-100000}
cmake --build build/release --target test_scenario_kill >/dev/null
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
build/release/tests/test_scenario_kill 2>&1 | tee "$log" || status=$?
awk -v devices="$LOA_KILL_DEVICES" -v status="$status" '
    /^round [0-9]+:/ {
        rounds++
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^kills/) kills += $(i - 1)
            if ($i ~ /^uncertain/) uncertain += $(i - 1)
            if ($i ~ /^repeats/) repeats += $(i - 1)
            if ($i ~ /^missing/) missing += $(i - 1)
        }
    }
    /LOA_KILL_SEED repeats/ { seed = $2 }
    END {
        printf "{\"rounds\":%d,\"devices\":%d,\"kills\":%d,\"uncertain\":%d,\"repeats\":%d,", rounds,
            devices, kills, uncertain, repeats
        printf "\"missing\":%d,\"seed\":%s,\"passed\":%s}\n", missing, seed == "" ? 0 : seed,
            status == 0 ? "true" : "false"
    }' "$log"
exit "$status"
