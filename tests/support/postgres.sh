#!/bin/sh
# A private PostgreSQL cluster for tests: unix socket only, in a short path, nobody else's data.
#   postgres.sh init DIR on|off     make a cluster in the folder DIR; on = durable (fsync). DIR is
#                                   empty, or holds a link "data" to an empty folder
#   postgres.sh run DIR             become its server; it ends with the process that started it
#   postgres.sh start FILE on|off   start one in the background and write its conninfo to FILE;
#                                   it ends at stop, or when the process that called start ends
#   postgres.sh stop FILE           stop that one and remove it
# As root the server runs as the user postgres.
set -eu
cd /

as_server() { # COMMAND…: as the user who may run a server
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --init-groups "$@"
    else
        "$@"
    fi
}

find_bin() {
    find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1
}

# Old folders whose owner died without removing them. Young ones are left alone: another run may be
# about to name its owner.
sweep() {
    find /tmp -maxdepth 1 -name 'loa-pg.*' -mmin +180 2>/dev/null | while read -r old; do
        if [ -f "$old/owner" ] && [ ! -d "/proc/$(cat "$old/owner")" ]; then
            rm -rf "$old"
        fi
    done
}

init() { # DIR on|off
    sweep
    echo "$PPID" >"$1/owner"
    if [ "$(id -u)" = 0 ]; then
        chown postgres: "$1"
        [ ! -d "$1/data" ] || chown postgres: "$1/data/"
    fi
    as_server "$bin/initdb" -D "$1/data" -U loa -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
        >"$1/initdb.log" 2>&1 || { cat "$1/initdb.log" >&2; exit 1; }
    cat >>"$1/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$1'
max_connections = 80
shared_buffers = 32MB
fsync = $2
synchronous_commit = $2
full_page_writes = $2
track_commit_timestamp = on
log_line_prefix = '%m [%p] %d %a '
EOF
}

run() { # DIR
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups --pdeathsig INT \
            "$bin/postgres" -D "$1/data" >>"$1/log" 2>&1
    fi
    exec setpriv --pdeathsig INT "$bin/postgres" -D "$1/data" >>"$1/log" 2>&1
}

# Holds the server until it gets TERM or the process $2 has ended.
keep() { # DIR PID
    "$self" run "$1" &
    server=$!
    tail --pid="$2" -f /dev/null &
    watch=$!
    trap : TERM INT HUP
    wait "$watch" || true
    kill "$watch" 2>/dev/null || true
    kill -INT "$server" 2>/dev/null || true
    wait "$server" || true
    rm -rf "$1"
}

start() { # FILE on|off
    stop "$1"
    mkdir -p "$(dirname "$1")"
    dir=$(mktemp -d /tmp/loa-pg.XXXXXX)
    init "$dir" "$2"
    # ctest waits until nobody holds the output that it reads.
    (exec >/dev/null 2>&1 </dev/null; keep "$dir" "$PPID") &
    echo $! >"$1.pid"
    echo $! >"$dir/owner"
    tries=0
    until "$bin/pg_isready" -q -h "$dir" -U loa -d postgres; do
        tries=$((tries + 1))
        [ "$tries" -lt 1000 ] || { cat "$dir/log" >&2; stop "$1"; exit 1; }
        sleep 0.05
    done
    echo "host=$dir user=loa" >"$1"
}

stop() { # FILE
    if [ -e "$1.pid" ]; then
        keeper=$(cat "$1.pid")
        # The number may belong to somebody else by now.
        if grep -q postgres.sh "/proc/$keeper/cmdline" 2>/dev/null; then
            kill -TERM "$keeper"
            timeout 60 tail -s 0.1 --pid="$keeper" -f /dev/null
        fi
    fi
    rm -f "$1" "$1.pid"
}

self=$(readlink -f "$OLDPWD/$0" 2>/dev/null || true)
case $0 in /*) self=$0 ;; esac
bin=$(find_bin)
[ -n "$bin" ] || { echo "postgres.sh: no PostgreSQL server under /usr/lib/postgresql" >&2; exit 69; }
case ${1:-} in
init) init "$2" "$3" ;;
run) run "$2" ;;
start | stop)
    case $2 in /*) ;; *) echo "postgres.sh: FILE must be absolute" >&2; exit 64 ;; esac
    "$1" "$2" "${3:-off}"
    ;;
*)
    sed -n '2,9s/^# //p' "$self" >&2
    exit 64
    ;;
esac
