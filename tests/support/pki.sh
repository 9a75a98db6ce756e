#!/bin/sh
# A certificate authority for tests: pki.sh DIR makes ca.pem, broker.pem/.key (localhost), and client
# certificates engine.pem/.key (CN loa-engine), stranger.pem/.key (another CN) and untrusted.pem/.key
# (CN loa-engine, but of another authority, untrusted-ca.pem).
set -eu
cd "$1"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

authority() { # NAME
    key "$1.key"
    openssl req -x509 -new -key "$1.key" -subj "/CN=$1 for tests" -days 2 -out "$1.pem"
}

leaf() { # NAME CN CA
    key "$1.key"
    openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 2 \
        -extfile names -out "$1.pem" 2>/dev/null
    rm "$1.csr"
}

echo "subjectAltName=DNS:localhost,IP:127.0.0.1" >names
authority ca
authority untrusted-ca
leaf broker localhost ca
leaf engine loa-engine ca
leaf stranger somebody-else ca
leaf untrusted loa-engine untrusted-ca
rm names ./*.srl
