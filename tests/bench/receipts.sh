#!/bin/bash
# Receipts: half a million over HTTP and over MQTT, spread and flat out, and what they cost the fan-out.
# script/bench receipts [DEVICES]: every device tells one receipt per measurement (default 500000).
# LOA_BENCH_RUNS (5) rounds; LOA_BENCH_WINDOW_S (600): the window over which receipts are spread;
# LOA_BENCH_SPREAD_S (60): how much of it is measured.
set -euo pipefail
. tests/bench/lib/report.sh
devices=${1:-500000}
runs=${LOA_BENCH_RUNS:-5} window_s=${LOA_BENCH_WINDOW_S:-600} spread_s=${LOA_BENCH_SPREAD_S:-60}
build=$PWD/build/release
cmake --build build/release --target bench_receipts_http bench_receipts_mqtt >/dev/null
dir=$(mktemp -d /tmp/loa-bench.XXXXXX)
chmod 755 "$dir"
started=() # pids, ended in reverse
phones=()  # pids, frozen: their receipts would be counted beside the loaders'

stop_started() {
    local i
    [ ${#phones[@]} -eq 0 ] || kill -CONT "${phones[@]}" 2>/dev/null || true
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        kill -TERM "${started[i]}" 2>/dev/null || true
        wait "${started[i]}" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap stop_started EXIT

fail() {
    echo "receipts: $1" >&2
    tail -n 5 "$dir"/*.log >&2 || true
    exit 1
}

# --- a province, with roles of our own where the settings differ ---

free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000)) # below those that clients are given
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

state() { # KEY: a string or number of state.json
    sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$dir/dev/state.json" | head -1
}

pid_of() { # NAME: of a process of `loa dev`
    tr -d '\n' <"$dir/dev/state.json" | grep -o "\"name\": \"$1\"[^}]*" |
        sed -n 's/.*"pid": \([0-9]*\).*/\1/p'
}

until_true() { # SECONDS COMMAND...
    local limit=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        [ $SECONDS -lt $limit ] || fail "not within its time: $*"
        sleep 0.2
    done
}

is_ready() { [ "$(state ready)" = true ]; }
listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
sql() { psql -XAtq -F ' ' "$conninfo" -c "$1"; }
loa() { "$build/loa" --config "$config" "$@"; }

start_province() {
    echo "A province of $devices devices …"
    "$build/loa" dev --devices "$devices" --dir "$dir/dev" --port "$(free_port)" \
        >"$dir/dev.log" 2>&1 &
    started+=($!)
    until_true 1800 is_ready
    conninfo=$(state conninfo) config=$dir/dev/conf/loa.conf
    sql "VACUUM ANALYZE" >/dev/null
    mapfile -t phones < <(pid_of phones && pgrep -P "$(pid_of phones)")
    [ ${#phones[@]} -eq 0 ] || kill -STOP "${phones[@]}"
    # The real quota would hide what receipts cost the fan-out.
    sed -i '/^\[fcm\]$/a quota_per_minute = 1000000000' "$dir/dev/conf/deliver-1.conf"
    kill -TERM "$(pid_of deliver-1)"
    for who in creator approver; do
        loa account create "$who" --key-out "$dir/$who.key" >/dev/null
    done
    cat >"$dir/text.json" <<'TEXT'
{"title": "Cảnh báo lũ", "body": "Lũ đang lên trên sông Bằng.", "instruction": "Rời ven sông.",
 "correction_title": "Thu hồi cảnh báo lũ", "correction_body": "Cảnh báo lũ được thu hồi."}
TEXT
}

# Behind a proxy: rates count per phone. One phone tells one receipt per measurement.
start_api() {
    api_port=$(free_port)
    sed -e '/^\[api\]$/,/^$/d' "$config" >"$dir/api.conf"
    printf '\n[api]\nlisten = 127.0.0.1:%d\ntrusted_proxies = 127.0.0.1\n%s\n%s\n%s\n' "$api_port" \
        "connections_max = 4000" "connections_per_address = 4000" "rate_per_device = 1000" \
        >>"$dir/api.conf"
    "$build/loa" --config "$dir/api.conf" api >"$dir/api.log" 2>&1 &
    api=$!
    started+=($api)
    until_true 30 listens "$api_port"
}

# A broker that lets one loader speak for all phones, and the `loa mqtt` that listens there.
start_mqtt() {
    local engine_port
    engine_port=$(free_port)
    load_port=$(free_port)
    cat >"$dir/mosquitto.conf" <<CONF
user root
per_listener_settings true
max_inflight_messages 1000
max_queued_messages 100000
log_dest none
listener $engine_port 127.0.0.1
cafile $dir/dev/pki/ca.pem
certfile $dir/dev/pki/broker.pem
keyfile $dir/dev/pki/broker.key
require_certificate true
use_identity_as_username true
listener $load_port 127.0.0.1
allow_anonymous true
CONF
    PATH=$PATH:/usr/sbin mosquitto -c "$dir/mosquitto.conf" >"$dir/mosquitto.log" 2>&1 &
    started+=($!)
    until_true 30 listens "$engine_port"
    sed -e "s/^brokers = .*/brokers = 127.0.0.1:$engine_port/" -e '/^metrics_listen/d' "$config" \
        >"$dir/mqtt.conf"
    "$build/loa" --config "$dir/mqtt.conf" mqtt >"$dir/mqtt.log" 2>&1 &
    mqtt=$!
    started+=($mqtt)
    until_true 30 grep -q broker_connected "$dir/mqtt.log"
}

# --- measuring ---

cpu_ticks() { # PID...: user and system time
    local pid sum=0 words
    for pid; do
        words=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) || continue
        # shellcheck disable=SC2086
        set -- $words
        sum=$((sum + ${12} + ${13}))
    done
    echo "$sum"
}

postgres_ticks() { # the server, its processes, and those that have ended
    local server words
    server=$(pid_of postgres)
    words=$(sed 's/.*) //' "/proc/$server/stat")
    # shellcheck disable=SC2086
    set -- $words
    echo $(($(cpu_ticks "$server" $(pgrep -P "$server")) + ${14} + ${15}))
}

per_receipt_us() { # TICKS RECEIPTS
    awk -v t="$1" -v n="$2" -v hz="$(getconf CLK_TCK)" \
        'BEGIN { printf "%.1f\n", t / hz * 1e6 / n }'
}

# An emergency to everybody; sets broadcast and alert.
release() {
    broadcast=$(loa broadcast create --kind CANH_BAO --level khan_cap --province --expires 6h \
        --again --text "vi=$dir/text.json" --as creator --key "$dir/creator.key" --json \
        2>>"$dir/broadcast.log" |
        tail -1 | sed -n 's/.*"broadcast": *\([0-9]*\).*/\1/p')
    [ -n "$broadcast" ] || fail "no broadcast"
    loa broadcast approve "$broadcast" --yes --again --as approver --key "$dir/approver.key" >/dev/null
    alert=$(sql "SELECT alert_id FROM broadcast WHERE id = $broadcast")
}

is_finished() { [ -n "$(sql "SELECT 1 FROM broadcast WHERE id = $broadcast AND finished_at IS NOT NULL")" ]; }

# Releases to everybody and waits; prints devices a second between release and last outcome.
fan_out() {
    release
    until_true 900 is_finished
    fan_rate=$(sql "SELECT round((SELECT sum(member_count) FROM fanout_chunk
        WHERE broadcast_id = b.id) / extract(epoch FROM finished_at - released_at)) FROM broadcast b
        WHERE id = $broadcast")
}

load() { # http|mqtt COUNT RATE ALERT → $dir/load
    local port=$api_port width=1000
    [ "$1" = http ] || port=$load_port width=4000
    "$build/tests/bench_receipts_$1" --port "$port" --first "$first" --count "$2" --rate "$3" \
        --width "$width" --alert "$4" --key "$dir/dev/keys/device.key" >"$dir/load"
}

# What was confirmed is what is stored, no more and no less. Sets durable, per_s, p50, p99.
check() { # BROADCAST COUNT
    local sent confirmed repeated refused seconds
    read -r sent confirmed repeated refused seconds p50 p99 <"$dir/load"
    durable=$(sql "SELECT count(shown_at) FROM receipt WHERE broadcast_id = $1")
    [ "$confirmed" = "$2" ] && [ "$durable" = "$confirmed" ] ||
        fail "$sent sent, $confirmed confirmed, $durable durable (repeated $repeated, refused $refused)"
    per_s=$(awk -v n="$confirmed" -v s="$seconds" 'BEGIN { printf "%.0f\n", n / s }')
}

keep() { # NAME VALUE: one more value of a series
    eval "series_$1=\"\${series_$1:-} $2\""
}

mid() { # NAME: its median
    local name=series_$1
    # shellcheck disable=SC2086
    median ${!name}
}

measure_storm() { # http|mqtt BROADCAST ALERT PID
    local role_before pg_before
    role_before=$(cpu_ticks "$4") pg_before=$(postgres_ticks)
    load "$1" "$devices" 0 "$3"
    keep "$1_cpu" "$(per_receipt_us $(($(cpu_ticks "$4") - role_before)) "$devices")"
    keep "$1_pg" "$(per_receipt_us $(($(postgres_ticks) - pg_before)) "$devices")"
    check "$2" "$devices"
    keep "$1_rate" "$per_s"
    keep "$1_p50" "$p50"
    keep "$1_p99" "$p99"
}

one_run() {
    local alone_broadcast alone_alert beside_broadcast beside_alert spread loader
    fan_out
    keep fan_alone "$fan_rate"
    alone_broadcast=$broadcast alone_alert=$alert

    # Spread as the payload asks, beside a fan-out.
    spread=$(awk -v n="$devices" -v w="$window_s" 'BEGIN { printf "%.3f", n / w }')
    spread_count=$(awk -v r="$spread" -v s="$spread_s" -v n="$devices" \
        'BEGIN { c = int(r * s); print (c < 1 ? 1 : c > n ? n : c) }')
    load http "$spread_count" "$spread" "$alone_alert" &
    loader=$!
    fan_out
    keep fan_spread "$fan_rate"
    wait "$loader"
    check "$alone_broadcast" "$spread_count"
    keep spread_rate "$per_s"
    keep spread_p50 "$p50"
    keep spread_p99 "$p99"
    beside_broadcast=$broadcast beside_alert=$alert

    # All at once, beside a fan-out.
    load http "$devices" 0 "$beside_alert" &
    loader=$!
    fan_out
    keep fan_storm "$fan_rate"
    wait "$loader"
    check "$beside_broadcast" "$devices"

    # All at once, alone: a broadcast for each way.
    measure_storm http "$broadcast" "$alert" "$api"
    local before=$EPOCHREALTIME
    loa broadcast status "$broadcast" --by commune --json >"$dir/status.json"
    keep reading_ms "$(awk -v a="$before" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", (b - a) * 1000 }')"
    fan_out
    measure_storm mqtt "$broadcast" "$alert" "$mqtt"
}

start_province
start_api
start_mqtt
first=$(sql "SELECT min(id) FROM device")
[ "$(sql "SELECT max(id) - min(id) + 1 FROM device")" = "$devices" ] || fail "the ids have gaps"
fan_out # tokens become proven, caches warm
for ((run = 1; run <= runs; run++)); do
    echo "run $run of $runs …"
    one_run
done
disk=$(sql "SELECT round((SELECT sum(pg_column_size(members) + pg_column_size(member_commune)
    + pg_column_size(communes)) FROM fanout_chunk) / (SELECT sum(member_count) FROM fanout_chunk)
    + (SELECT avg(pg_column_size(codes) / size::numeric) FROM fanout_flight), 2)")

report_begin receipts "Receipts of $devices phones"
report_table <<TABLE
receipts	a second	p50 ms	p99 ms	role, µs CPU each	PostgreSQL, µs CPU each
HTTP, spread over $window_s s, beside a fan-out	$(mid spread_rate)	$(mid spread_p50)	$(mid spread_p99)	–	–
HTTP, all at once	$(mid http_rate)	$(mid http_p50)	$(mid http_p99)	$(mid http_cpu)	$(mid http_pg)
MQTT, all at once	$(mid mqtt_rate)	$(mid mqtt_p50)	$(mid mqtt_p99)	$(mid mqtt_cpu)	$(mid mqtt_pg)
TABLE
report_note "Medians of $runs runs. After each storm the receipts in the table were exactly the confirmed ones. Confirmed means durable (fsync on); HTTP: 1,000 connections at once, MQTT: 4,000 receipts unconfirmed at once. Loaders, simulators and PostgreSQL share the machine."
report_table <<TABLE
fan-out of an emergency	devices a second	ratio
alone	$(mid fan_alone)	1
with receipts spread over $window_s s	$(mid fan_spread)	$(ratio "$(mid fan_spread)" "$(mid fan_alone)")
with all receipts at once	$(mid fan_storm)	$(ratio "$(mid fan_storm)" "$(mid fan_alone)")
TABLE
report_note "One live reading per commune and channel (\`loa broadcast status --by commune\`) with all receipts stored: $(mid reading_ms) ms. The fan-out takes $disk bytes on disk per device and broadcast: id, commune, outcome."
thousands() { awk -v n="$(mid "$1")" 'BEGIN { printf "%.1f", n / 1000 }'; }
report_bars "thousand a second" <<BARS
fan-out alone	$(thousands fan_alone)
fan-out,\nspread receipts	$(thousands fan_spread)
fan-out,\nreceipt storm	$(thousands fan_storm)
receipts,\nHTTP	$(thousands http_rate)
receipts,\nMQTT	$(thousands mqtt_rate)
BARS
report_end "$(printf '{"devices":%d,"runs":%d,"http_per_s":%s,"http_p50_ms":%s,"http_p99_ms":%s,"http_cpu_us":%s,"http_postgres_us":%s,"mqtt_per_s":%s,"mqtt_p50_ms":%s,"mqtt_p99_ms":%s,"mqtt_cpu_us":%s,"mqtt_postgres_us":%s,"spread_per_s":%s,"spread_p50_ms":%s,"spread_p99_ms":%s,"fan_out_per_s":%s,"fan_out_ratio_spread":%s,"fan_out_ratio_storm":%s,"reading_ms":%s,"disk_bytes":%s,"durable_is_confirmed":true}' \
    "$devices" "$runs" "$(mid http_rate)" "$(mid http_p50)" "$(mid http_p99)" "$(mid http_cpu)" \
    "$(mid http_pg)" "$(mid mqtt_rate)" "$(mid mqtt_p50)" "$(mid mqtt_p99)" "$(mid mqtt_cpu)" \
    "$(mid mqtt_pg)" "$(mid spread_rate)" "$(mid spread_p50)" "$(mid spread_p99)" \
    "$(mid fan_alone)" "$(ratio "$(mid fan_spread)" "$(mid fan_alone)")" \
    "$(ratio "$(mid fan_storm)" "$(mid fan_alone)")" "$(mid reading_ms)" "$disk")"
