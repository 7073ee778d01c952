#!/bin/sh
# Makes a private certificate authority, and certificates of the lab's Postgres and Redis, for deploy/compose.tls.yml:
#   sh deploy/tls/make-certificates.sh FOLDER [ADDRESS...]
# FOLDER is LAB_TLS of .env. ADDRESSES are further names and IP addresses of the lab server, beside postgres, redis and
# localhost. Run again, it makes new certificates by the same authority. ca.key belongs into a safe, not on the lab.
set -eu
folder=${1:?name a folder} && shift
days=${DAYS:-825}
mkdir -p "$folder"
chmod 0700 "$folder" # the files are readable, because each container has an account of its own; their folder is not
cd "$folder"

names=DNS:postgres,DNS:redis,DNS:localhost,IP:127.0.0.1
for address in "$@"; do
    case $address in
        *[!0-9.]*) names=$names,DNS:$address ;;
        *) names=$names,IP:$address ;;
    esac
done
if [ ! -e ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=nnlite lab" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout ca.key -out ca.crt
    chmod 0400 ca.key
fi
for server in postgres redis; do
    rm -f "$server.key" # readable, and not writable
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$server" \
        -keyout "$server.key" -out "$server.csr"
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names" > "$server.ext"
    openssl x509 -req -in "$server.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" \
        -extfile "$server.ext" -out "$server.crt"
    rm "$server.csr" "$server.ext"
done
chmod 0444 ca.crt postgres.key postgres.crt redis.key redis.crt
