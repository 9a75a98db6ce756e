#!/bin/sh
# The sample configuration etc/nginx/loa.conf in a real nginx, as an unprivileged user:
#   nginx.sh prepare DIR PORT API FILES CERT KEY [PLAIN_PORT WORKERS]
#       writes DIR/nginx.conf and what it includes. The sample stays as it is; only its two small
#       files change: HTTPS port, certificate and folder in site.conf, the address of loa api in
#       upstream.conf. With PLAIN_PORT it listens there without TLS, too. Without WORKERS it is a
#       single process, which can be killed at any time.
#   nginx.sh run DIR
#       becomes that nginx; it ends with the process that started it
set -eu
cd "$(dirname "$0")/../.."

put() { # FILE TEXT WITH: replaces the one place of FILE where TEXT stands
    [ "$(grep -cF "$2" "$1")" = 1 ] || { echo "nginx.sh: not one \"$2\" in $1" >&2; exit 1; }
    awk -v text="$2" -v with="$3" '{ at = index($0, text)
        if (at) $0 = substr($0, 1, at - 1) with substr($0, at + length(text)); print }' "$1" >"$1.new"
    mv "$1.new" "$1"
}

prepare() { # DIR PORT API FILES CERT KEY PLAIN_PORT WORKERS
    mkdir -p "$1/conf.d" "$1/loa" "$1/temp"
    cp etc/nginx/loa.conf "$1/conf.d/"
    cp etc/nginx/loa/*.conf "$1/loa/"
    cp "$5" "$1/cert.pem"
    cp "$6" "$1/key.pem"
    put "$1/loa/site.conf" 'listen 443 ' "listen 127.0.0.1:$2 "
    put "$1/loa/site.conf" 'listen [::]:443 ssl http2;' "$([ "$7" = 0 ] || echo "listen 127.0.0.1:$7;")"
    put "$1/loa/site.conf" '/etc/loa/tls/fullchain.pem' "$1/cert.pem"
    put "$1/loa/site.conf" '/etc/loa/tls/privkey.pem' "$1/key.pem"
    put "$1/loa/site.conf" '/var/lib/loa/public' "$4"
    put "$1/loa/upstream.conf" '127.0.0.1:8080' "$3"
    cat >"$1/nginx.conf" <<CONF
daemon off;
master_process $([ "$8" = 0 ] && echo off || echo on);
worker_processes $([ "$8" = 0 ] && echo 1 || echo "$8");
worker_rlimit_nofile 16384;
pid $1/temp/nginx.pid;
events { worker_connections 4096; }
http {
    client_body_temp_path $1/temp/body;
    proxy_temp_path $1/temp/proxy;
    fastcgi_temp_path $1/temp/fastcgi;
    uwsgi_temp_path $1/temp/uwsgi;
    scgi_temp_path $1/temp/scgi;
    include conf.d/*.conf;
}
CONF
    [ "$(id -u)" != 0 ] || chown -R nobody: "$1"
}

case ${1:-} in
prepare) prepare "$2" "$3" "$4" "$5" "$6" "$7" "${8:-0}" "${9:-0}" ;;
run)
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid=nobody --regid=nogroup --clear-groups --pdeathsig TERM \
            /usr/sbin/nginx -e stderr -c "$2/nginx.conf"
    fi
    exec setpriv --pdeathsig TERM /usr/sbin/nginx -e stderr -c "$2/nginx.conf"
    ;;
*)
    sed -n '2,10s/^# //p' "$0" >&2
    exit 64
    ;;
esac
