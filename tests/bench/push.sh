#!/bin/bash
# Pushes: Loa's send loop against h2load, ready-made and home-made senders; the whole path against it.
# LOA_PUSH_RUNS (median of 5), _N (pushes a run, 400,000), _PEER_N (of the peers, 40,000), _WHOLE
# (devices of the whole path, 500,000) and _DELIVER (processes of it) change it.
set -euo pipefail
. tests/bench/lib/report.sh

runs=${LOA_PUSH_RUNS:-5} n=${LOA_PUSH_N:-400000} peer_n=${LOA_PUSH_PEER_N:-40000}
export LOA_PUSH_RUNS=$runs LOA_PUSH_WHOLE=${LOA_PUSH_WHOLE:-500000}
bin=build/release
cmake --build $bin --target loa loa-sim bench_push_send bench_curl_multi bench_whole_path >/dev/null
bench_peers

# ---- the neutral server, and an OAuth server for the FCM channel's access token ----
dir=$(mktemp -d)
pids=()
stop_servers() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    pids=()
    wait
}
trap 'stop_servers; rm -rf "$dir"' EXIT
$bin/loa-sim pki "$dir/pki" >/dev/null
$bin/loa-sim serve --pki "$dir/pki" --control "$dir/sim.sock" --fcm 127.0.0.1:0 --apns 127.0.0.1:0 \
    --apns-sandbox 127.0.0.1:0 --oauth 127.0.0.1:0 >"$dir/sim.log" &
pids+=($!)
answers() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=$(shuf -i 20000-30000 -n 1)
while answers "$port"; do port=$((port + 1)); done
# A POST to a file is answered with it: one per device token, one for FCM's method.
mkdir -p "$dir/www/3/device" "$dir/www/v1/projects/loa-rehearsal"
printf '{"name":"projects/loa-rehearsal/messages/0:1795000000000000%%31bd1c9631bd1c96"}' \
    >"$dir/www/v1/projects/loa-rehearsal/messages:send"
# Streams and windows are wide enough for everybody.
nghttpd -a 127.0.0.1 -d "$dir/www" -n 1 -m 1000 -w 20 -W 24 "$port" "$dir/pki/server.key" \
    "$dir/pki/server.pem" >"$dir/nghttpd.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
    grep -qs fcm "$dir/sim.log" && answers "$port" && break
    sleep 0.1
done
[ "$(jobs -pr | wc -l)" = 2 ] || {
    cat "$dir/nghttpd.log" >&2
    exit 1
}

conns_apns=4 streams_apns=1000 conns_fcm=8 streams_fcm=100 # the channels' own settings
tokens=1000
cat >"$dir/loa.conf" <<CONF
[fcm]
service_account_file=$dir/pki/fcm-service-account.json
endpoint=127.0.0.1:$port
ca_file=$dir/pki/ca.pem
connections=$conns_fcm
streams_max=$streams_fcm
[apns]
key_file=$dir/pki/apns-key.p8
key_id=LOASIMKEY1
team_id=LOASIMTEAM
topic=vn.gov.caobang.congdanso
endpoint=127.0.0.1:$port
sandbox_endpoint=127.0.0.1:$port
ca_file=$dir/pki/ca.pem
connections=$conns_apns
streams_max=$streams_apns
CONF
push_send="$bin/tests/bench_push_send $dir/loa.conf"

# ---- the same requests for everybody ----
for channel in apns fcm; do $push_send body $channel >"$dir/$channel.body"; done
$push_send tokens apns $tokens >"$dir/apns.tokens"
(cd "$dir/www/3/device" && xargs touch <"$dir/apns.tokens")
sed "s|^|https://127.0.0.1:$port/3/device/|" "$dir/apns.tokens" >"$dir/apns.uris"
echo "https://127.0.0.1:$port/v1/projects/loa-rehearsal/messages:send" >"$dir/fcm.uris"
credential() { $bin/loa-sim ctl "$dir/sim.sock" "{\"cmd\":\"credential\",\"channel\":\"$1\"}" |
    sed 's/.*"token":"\([^"]*\)".*/\1/'; }
LOA_BENCH_BEARER=$(credential fcm)
export LOA_BENCH_BEARER NODE_EXTRA_CA_CERTS=$dir/pki/ca.pem
headers_fcm=("authorization: Bearer $LOA_BENCH_BEARER" 'content-type: application/json')
headers_apns=("authorization: bearer $(credential apns)" 'apns-topic: vn.gov.caobang.congdanso'
    'apns-push-type: alert' 'apns-priority: 10' 'apns-expiration: 4000000000'
    'apns-collapse-id: 20261123-K7M2QX')

# ---- one run each: appends "rate cpu" to $dir/WHO.CHANNEL ----
keep() { # WHO CHANNEL, JSON on standard input
    local line
    line=$(tail -1)
    grep -q '"failed":0,' <<<"$line" || { echo "$1 $2: $line" >&2; exit 1; }
    sed 's/.*"per_s":\([0-9.]*\).*"cpu_s_per_million":\([0-9.]*\).*/\1 \2/' <<<"$line" >>"$dir/$1.$2"
}

run_loa() { $push_send send $tokens "$1=$n" | keep loa "$1"; }

# It would put apns-id into HPACK's table: the bytes that a new one costs each time come as a longer
# authorization, which is never put there.
run_h2load() {
    local -n headers=headers_$1 conns=conns_$1 streams=streams_$1
    local args=() header times per_s TIMEFORMAT='%U %S'
    for header in "${headers[@]}"; do
        [[ $1 != apns || $header != authorization:* ]] ||
            header="$header-00000000-0000-8000-8000-000000000000"
        args+=(-H "$header")
    done
    { time h2load -t 1 -n "$n" -c "$conns" -m "$streams" -d "$dir/$1.body" -i "$dir/$1.uris" \
        "${args[@]}" >"$dir/h2load.out" 2>&1; } 2>"$dir/h2load.time"
    grep -q " $n succeeded, 0 failed" "$dir/h2load.out" || { cat "$dir/h2load.out" >&2; exit 1; }
    per_s=$(sed -n 's/^finished in .*, \([0-9.]*\) req\/s.*/\1/p' "$dir/h2load.out")
    times=$(tail -1 "$dir/h2load.time")
    awk -v per_s="$per_s" -v n="$n" '{ printf "%.0f %.3f\n", per_s, ($1 + $2) * 1e6 / n }' \
        <<<"$times" >>"$dir/h2load.$1"
}

# 4 connections of 20 streams were its best of 1 to 16 and 20 to 1000, at rate and at CPU.
run_libcurl() {
    local -n headers=headers_$1
    $bin/tests/bench_curl_multi "$dir/pki/ca.pem" "$dir/$1.uris" "$dir/$1.body" "$peer_n" 4 20 \
        "${headers[@]}" 'accept:' | keep libcurl "$1"
}

# Their best of 1 to 8 connections and batches of 250 to 4000.
run_peer() {
    if [ "$1" = apns ]; then
        node tests/bench/peers/apn.js "$port" "$dir/pki/apns-key.p8" "$dir/apns.body" \
            "$dir/apns.tokens" "$peer_n" 2 2 500 | keep peer apns
    else
        node tests/bench/peers/fcm.js "$port" loa-rehearsal "$dir/fcm.body" "$peer_n" 1 | keep peer fcm
    fi
}

report_begin push "Pushes: Loa's send loop and others"
for run in $(seq "$runs"); do
    for channel in apns fcm; do
        for who in h2load loa libcurl peer; do run_$who $channel; done
    done
    echo "round $run of $runs" >&2
done
stop_servers
$bin/tests/bench_whole_path >"$dir/whole" 2>"$dir/whole.log" || {
    tail -20 "$dir/whole.log" >&2
    exit 1
}

# ---- the report ----
# shellcheck disable=SC2046 # one word per number
rate() { median $(cut -d ' ' -f 1 "$dir/$1.$2"); } # WHO CHANNEL
# shellcheck disable=SC2046
cpu() { median $(cut -d ' ' -f 2 "$dir/$1.$2"); }
# shellcheck disable=SC2046
whole() { median $(sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" "$dir/whole"); } # NAME

name() { # WHO CHANNEL
    case $1.$2 in
    loa.*) echo Loa ;;
    libcurl.*) echo libcurl multi ;;
    peer.apns) echo @parse/node-apn ;;
    peer.fcm) echo firebase-admin ;;
    *) echo "$1" ;;
    esac
}

for channel in apns fcm; do
    {
        printf '%s\tpushes/s\tCPU, µs per push\tLoa: its rate ×\tLoa: its CPU ×\n' \
            "$([ $channel = apns ] && echo APNs || echo FCM)"
        for who in h2load loa libcurl peer; do
            printf '%s\t%.0f\t%.2f\t%.2f\t%.3f\n' "$(name $who $channel)" "$(rate $who $channel)" \
                "$(cpu $who $channel)" "$(ratio "$(rate loa $channel)" "$(rate $who $channel)")" \
                "$(ratio "$(cpu loa $channel)" "$(cpu $who $channel)")"
        done
    } | report_table
done
{
    printf 'FCM and APNs together, loa-sim\tpushes/s\tsender, µs\tPostgreSQL, µs\n'
    printf 'bare send loop\t%.0f\t%.2f\t\n' "$(whole bare_per_s)" "$(whole bare_us)"
    printf 'whole path: read, send, durable outcome\t%.0f\t%.2f\t%.2f\n' "$(whole whole_per_s)" \
        "$(whole deliver_us)" "$(whole postgres_us)"
} | report_table
report_note "Medians of $runs interleaved runs; CPU is user and system time of the whole process. \
All send the same emergency ($(wc -c <"$dir/apns.body") bytes of body for APNs, $(wc -c <"$dir/fcm.body") for FCM) \
over TLS to one nghttpd of one worker, which answers 200 with a file: $tokens different device tokens \
take turns in APNs' path. Loa and h2load use $conns_apns connections of $streams_apns streams (APNs) \
and $conns_fcm of $streams_fcm (FCM) and send $n a run; the others use what was best for them and send \
$peer_n. Of Loa and h2load the rate is the server's, which has one core; their CPU tells them \
apart. h2load and libcurl send one body and one apns-id again and again. Loa's loop is the real channel: \
render, credentials, headers, verdict. firebase-admin's host and scheme are led to the local server."
report_note "Whole path: ${LOA_PUSH_DELIVER:-1} \`loa deliver\`, PostgreSQL with fsync and \
synchronous_commit, $LOA_PUSH_WHOLE proven devices, from the commit of the release to the last durable \
outcome; the bare loop sends as many to the same loa-sim just before. Everything shares $(nproc) cores."
for who in loa h2load libcurl peer; do
    label=$(name $who apns)
    [ $who != peer ] || label='node-apn, firebase-admin'
    printf '%s\t%s\t%s\n' "$label" "$(cpu $who apns)" "$(cpu $who fcm)"
done >"$dir/bars"
report_plot <<PLOT
set ylabel "processor time per push, µs (less is better)" noenhanced textcolor '#444444'
set style data histograms
set style histogram clustered gap 1
set style fill solid 1.0 noborder
set boxwidth 0.9
set yrange [0:*]
set offsets 0,0,graph 0.08,0
set xtics noenhanced
set key top left reverse Left
plot '$dir/bars' using 2:xtic(1) title 'APNs' linecolor '#1f6f8b', '' using 3 title 'FCM' linecolor '#edae49', \
     '' using (\$0-0.167):2:(gprintf('%.3g', \$2)) with labels offset 0,0.8 textcolor '#222222' notitle, \
     '' using (\$0+0.167):3:(gprintf('%.3g', \$3)) with labels offset 0,0.8 textcolor '#222222' notitle
PLOT

json=
for channel in apns fcm; do
    loa_rate=$(rate loa $channel) loa_cpu=$(cpu loa $channel)
    json+="\"$channel\":{\"ratio_h2load\":$(ratio "$loa_rate" "$(rate h2load $channel)"),"
    json+="\"ratio_best_peer\":$(ratio "$loa_rate" "$(rate peer $channel)"),"
    json+="\"cpu_ratio_best_peer\":$(ratio "$loa_cpu" "$(cpu peer $channel)"),"
    json+="\"ratio_libcurl\":$(ratio "$loa_rate" "$(rate libcurl $channel)"),"
    json+="\"cpu_ratio_libcurl\":$(ratio "$loa_cpu" "$(cpu libcurl $channel)")},"
done
# Round by round, because both sides of a round met the same machine.
# shellcheck disable=SC2046
whole_ratio=$(median $(sed -n 's/.*"bare_per_s":\([0-9.]*\).*"whole_per_s":\([0-9.]*\).*/\1 \2/p' \
    "$dir/whole" | awk '{ printf "%.3f ", $2 / $1 }'))
report_end "{$json\"whole_path_ratio\":$whole_ratio}"
