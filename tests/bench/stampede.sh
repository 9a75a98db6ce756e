#!/bin/bash
# Everybody opens the alert: nginx serving it from a file against loa api answering from PostgreSQL.
# LOA_STAMPEDE_RUNS (5), LOA_STAMPEDE_SECONDS (5 per measurement), LOA_STAMPEDE_CONNECTIONS (64) and
# LOA_STAMPEDE_PHONES (500000) change it.
set -euo pipefail
source tests/bench/lib/report.sh
runs=${LOA_STAMPEDE_RUNS:-5} seconds=${LOA_STAMPEDE_SECONDS:-5}
connections=${LOA_STAMPEDE_CONNECTIONS:-64} phones=${LOA_STAMPEDE_PHONES:-500000}
api_port=$((21000 + $$ % 10000)) plain_port=$((api_port + 1)) tls_port=$((api_port + 2))
bare_port=$((api_port + 3))
dir=$(mktemp -d /tmp/loa-stampede.XXXXXX)
chmod 755 "$dir"
pids=()
stop_all() {
    set +e
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    tests/support/postgres.sh stop "$dir/conninfo"
    rm -rf "$dir"
}
trap stop_all EXIT
trap 'exit 130' INT TERM PIPE HUP

# ---- the world: a durable database, loa api, loa tick, nginx with the sample configuration ----

loa() { build/release/loa --config "$dir/loa.conf" "$@" 2>>"$dir/log"; }

fetch() { # PATH [HEADER]: head and body of nginx's plain answer
    exec 3<>"/dev/tcp/127.0.0.1/$plain_port"
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n' "$1" \
        "${2:+$2$'\r\n'}" >&3
    tr -d '\r\0' <&3
    exec 3>&-
}

until_true() { # COMMAND...
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || { echo "stampede: never true: $*" >&2; tail "$dir/log" >&2; exit 1; }
        sleep 0.05
    done
}

release() { # prints the alert's id
    local made
    made=$(loa broadcast create --as an --key "$dir/an.key" --province --kind CANH_BAO \
        --level khan_cap --expires 6h --again --json --text "vi=$dir/vi.json" \
        --text "tyz=$dir/tyz.json" --text "en=$dir/en.json")
    loa broadcast approve "$(sed -n 's/.*"broadcast": *\([0-9]*\).*/\1/p' <<<"$made")" --as binh \
        --key "$dir/binh.key" --yes --again >/dev/null
    sed -n 's/.*"alert": *"\([^"]*\)".*/\1/p' <<<"$made"
}

write_texts() {
    cat >"$dir/vi.json" <<'JSON'
{"title":"Cảnh báo lũ quét, sạt lở đất mức khẩn cấp",
 "body":"Trong 6 giờ tới, nguy cơ rất cao xảy ra lũ quét, sạt lở đất tại các xã ven sông Bằng, sông Gâm và sông Hiến. Mực nước sông Bằng tại trạm thuỷ văn đã vượt báo động 3 và tiếp tục lên. Lượng mưa từ đêm qua phổ biến 120–200 mm.",
 "instruction":"Di dời ngay khỏi ven suối, chân đồi; không qua ngầm, tràn khi nước chảy xiết; tắt điện trước khi rời nhà. Cần giúp đỡ gọi 112."}
JSON
    cat >"$dir/tyz.json" <<'JSON'
{"title":"Bảo hử noọc lồng, tôm thang mạ rèng",
 "body":"6 giờ tẩu tói, mì noọc lồng, tôm thang mạ rèng dú các xạ hang tả Bằng, tả Gâm, tả Hiến. Nặm tả Bằng khửn quá báo động 3.",
 "instruction":"Pây dú tỉ slung mừa. Pền rừ gọi 112."}
JSON
    cat >"$dir/en.json" <<'JSON'
{"title":"Flash flood and landslide warning",
 "body":"Flash floods and landslides are very likely within the next 6 hours in communes along the rivers Bằng, Gâm and Hiến. The Bằng has passed alarm level 3 and is rising.",
 "instruction":"Leave stream banks and the foot of slopes now. Do not cross fords. Call 112 for help."}
JSON
}

start_world() {
    tests/support/postgres.sh start "$dir/conninfo" on
    build/release/loa keys create "$dir/keys" >/dev/null
    cat >"$dir/loa.conf" <<CONF
[database]
conninfo = $(cat "$dir/conninfo") dbname=postgres
[api]
listen = 127.0.0.1:$api_port
threads = 4
connections_per_address = 1000
rate_per_address = 100000
[device]
secret_key_file = keys/device.key
[broadcast]
signing_key_file = keys/release.key
public_key_files = $dir/keys/release.pub,$dir/keys/next.pub
[public]
files_dir = public
CONF
    loa migrate >/dev/null
    write_texts
    for name in an binh; do loa account create "$name" --key-out "$dir/$name.key" >/dev/null; done
    mkdir "$dir/pki"
    sh tests/support/pki.sh "$dir/pki" 2>/dev/null
    tests/support/nginx.sh prepare "$dir/nginx" $tls_port "127.0.0.1:$api_port" "$dir/public" \
        "$dir/pki/broker.pem" "$dir/pki/broker.key" $plain_port "$(nproc)"
    tests/support/nginx.sh run "$dir/nginx" 2>>"$dir/log" & pids+=($!) nginx=$!
    # The same without files and without its limit: what it would be like if they were not there.
    tests/support/nginx.sh prepare "$dir/bare" $bare_port "127.0.0.1:$api_port" "$dir/nothing" \
        "$dir/pki/broker.pem" "$dir/pki/broker.key" 0 "$(nproc)"
    sed -i 's|rate=100r/s|rate=100000r/s|' "$dir/bare/conf.d/loa.conf"
    tests/support/nginx.sh run "$dir/bare" 2>>"$dir/log" & pids+=($!) bare=$!
    build/release/loa --config "$dir/loa.conf" api 2>>"$dir/log" & pids+=($!) api=$!
    build/release/loa --config "$dir/loa.conf" tick 2>>"$dir/log" & pids+=($!)
    until_true eval 'fetch /healthz | grep -q alive'
}

# ---- measuring ----

# cpu_us PID...: CPU used so far by these processes and all below them, in microseconds.
cpu_us() {
    { cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v roots="$*" -v hz="$(getconf CLK_TCK)" '
        { sub(/\(.*\)/, "x"); parent[$1] = $4; used[$1] = $14 + $15 + $16 + $17 }
        END { n = split(roots, list, " "); for (i = 1; i <= n; i++) root[list[i]] = 1
            for (pid in used) { for (p = pid; p > 1 && !(p in root); p = parent[p]) ;
                if (p in root) ticks += used[pid] }
            printf "%d\n", ticks * 1000000 / hz }'
}

cat >"$dir/report.lua" <<'LUA'
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("RESULT %d %d %d %.3f %.3f %d\n", summary.requests, summary.duration,
        summary.bytes, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        e.connect + e.read + e.write + e.status + e.timeout))
end
LUA

# measure NAME URL SERVERS [HEADER...]: one line of NAME's results: requests/s, p50 and p99 in ms,
# CPU of the servers per request in us, bytes per answer.
measure() {
    local name=$1 url=$2 servers=$3 before after result header=()
    shift 3
    for one in "$@"; do header+=(-H "$one"); done
    before=$(cpu_us $servers)
    result=$(wrk -t 1 -c "$connections" -d "$seconds" --timeout 10s -s "$dir/report.lua" \
        "${header[@]}" "$url" | grep '^RESULT')
    after=$(cpu_us $servers)
    awk -v cpu=$((after - before)) -v name="$name" '{
        if ($2 == 0 || $7 > 0) { print name ": " $7 " errors" >"/dev/stderr"; exit 1 }
        printf "%.1f\t%s\t%s\t%.2f\t%.1f\n", $2 * 1000000 / $3, $5, $6, cpu / $2, $4 / $2 }' \
        <<<"$result" >>"$dir/$name.tsv"
}

column() { # NAME COLUMN: the median over the runs
    # shellcheck disable=SC2046 # one word per number
    median $(cut -f "$2" "$dir/$1.tsv")
}

report_begin stampede "Half a million phones open the alert"
start_world
alert=$(release)
file=$dir/public/api/v1/alerts/$alert.json
until_true test -e "$file.gz"
url=/api/v1/alerts/$alert
etag=$(fetch "$url" "Accept-Encoding: gzip" | sed -n 's/^ETag: //p')
postgres=$(head -1 "$(sed 's/^host=\([^ ]*\).*/\1/' "$dir/conninfo")/data/postmaster.pid")
gzip="Accept-Encoding: gzip" http=http://127.0.0.1:$plain_port$url tls=https://127.0.0.1:$tls_port$url

for ((run = 0; run < runs; run++)); do
    measure gzip "$http" "$nginx" "$gzip"
    measure api "http://127.0.0.1:$api_port$url" "$api $postgres"
    measure plain "$http" "$nginx"
    measure unchanged "$http" "$nginx" "$gzip" "If-None-Match: $etag"
    measure tls "$tls" "$nginx" "$gzip"
    measure handshake "$tls" "$nginx" "$gzip" "Connection: close"
    measure bare "https://127.0.0.1:$bare_port$url" "$bare $api $postgres" "$gzip" "Connection: close"
done

# From the release's transaction to the renamed file, by the machine's one clock.
visible=()
for ((run = 0; run < runs; run++)); do
    made=$(release)
    until_true test -e "$dir/public/api/v1/alerts/$made.json.gz"
    at=$(psql -qtA "$(cat "$dir/conninfo") dbname=postgres" \
        -c "SELECT extract(epoch FROM released_at) FROM broadcast WHERE alert_id = '$made'")
    visible+=("$(awk -v from="$at" -v to="$(stat -c %.6Z "$dir/public/api/v1/alerts/$made.json.gz")" \
        'BEGIN { printf "%.1f", (to - from) * 1000 }')")
done
visible_ms=$(median "${visible[@]}")

# Bytes of a new TLS connection, both ways.
shaken=$(openssl s_client -connect 127.0.0.1:$tls_port -servername localhost </dev/null 2>&1 |
    sed -n 's/^SSL handshake has read \([0-9]*\) bytes and written \([0-9]*\) bytes$/\1 \2/p' |
    awk '{ print $1 + $2 }')

# ---- the report ----

names=(gzip plain unchanged tls api handshake bare)
titles=("a file, gzip" "a file, as it is" "a file, unchanged (304)" "a file, gzip, TLS"
    "loa api" "a file, gzip, new TLS connection" "loa api behind nginx, new TLS connection")
cores=$(nproc)
json=
{
    printf 'answered from\trequests/s\tp50 ms\tp99 ms\tserver CPU us\tbytes\t%s openings, s\n' "$phones"
    for i in "${!names[@]}"; do
        name=${names[i]}
        bytes=$(column "$name" 5)
        case $name in handshake | bare)
            bytes=$(awk -v a="$bytes" -v b="$shaken" 'BEGIN { print a + b }') ;;
        esac
        printf '%s\t%.0f\t%.2f\t%.2f\t%.1f\t%.0f\t%.1f\n' "${titles[i]}" "$(column "$name" 1)" \
            "$(column "$name" 2)" "$(column "$name" 3)" "$(column "$name" 4)" "$bytes" \
            "$(awk -v n="$phones" -v us="$(column "$name" 4)" -v cores="$cores" \
                'BEGIN { print n * us / cores / 1000000 }')"
    done
} >"$dir/table"
for i in "${!names[@]}"; do
    json="$json,\"${names[i]}\":{\"requests_per_s\":$(column "${names[i]}" 1),\"p50_ms\":$(
        column "${names[i]}" 2),\"p99_ms\":$(column "${names[i]}" 3),\"cpu_us\":$(
        column "${names[i]}" 4),\"bytes\":$(column "${names[i]}" 5)}"
done
report_table <"$dir/table"
report_note "Medians of $runs runs of $seconds s with $connections open connections. Client and servers share this machine's cores, so requests/s and milliseconds are those of both; server CPU is of all processes that answer (nginx, loa api, PostgreSQL), and the last column is what $phones openings take when these $cores cores do nothing else. Bytes are those of one answer with its head, for a new connection those of the TLS handshake ($shaken, both ways) as well; TCP and IP come on top. Without \"TLS\" connections stay open and are plain; loa api is then asked directly."
report_note "CPU of one answer, loa api and PostgreSQL against a file: $(
    ratio "$(column api 4)" "$(column gzip 4)") times on open connections, $(
    ratio "$(column bare 4)" "$(column handshake 4)") times with a new TLS connection each, which a phone that slept needs. Requests/s, a file against loa api: $(
    ratio "$(column gzip 1)" "$(column api 1)") and $(
    ratio "$(column handshake 1)" "$(column bare 1)") times."
report_note "From the start of the releasing transaction to the file in its place: $visible_ms ms (median of $runs)."
report_bars "server CPU per opening, microseconds" <<BARS
file,\nopen connection	$(column gzip 4)
loa api,\nopen connection	$(column api 4)
file,\nnew TLS connection	$(column handshake 4)
loa api,\nnew TLS connection	$(column bare 4)
BARS
report_end "{\"runs\":$runs,\"seconds\":$seconds,\"connections\":$connections,\"phones\":$phones,\"file_bytes\":$(
    stat -c %s "$file"),\"gzip_bytes\":$(stat -c %s "$file.gz"),\"handshake_bytes\":$shaken,\"release_to_file_ms\":$visible_ms,\"cpu_ratio_api_to_file\":$(
    ratio "$(column api 4)" "$(column gzip 4)"),\"cpu_ratio_api_to_file_tls\":$(
    ratio "$(column bare 4)" "$(column handshake 4)"),\"rate_ratio_file_to_api\":$(
    ratio "$(column gzip 1)" "$(column api 1)")$json}"
