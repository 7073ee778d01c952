#!/bin/bash
# Makes the database at the first start, as the official image does, and becomes Postgres.
set -euo pipefail
secret=${POSTGRES_PASSWORD_FILE:?}
if [ ! -e "$PGDATA" ]; then
  [ -s "$secret" ] || { echo "postgres: $secret is missing or empty; set LAB_POSTGRES_PASSWORD in .env" >&2; exit 1; }
  new=$PGDATA.new # what a start that was killed left is none yet
  rm -rf "$new"
  # shellcheck disable=SC2086 # the arguments are words
  initdb --pgdata="$new" --username="$POSTGRES_USER" --pwfile="$secret" --auth-local=trust --encoding=UTF8 \
    --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-}
  echo "host all all all scram-sha-256" >> "$new/pg_hba.conf"
  pg_ctl --pgdata="$new" --wait --options="-c listen_addresses=''" start
  createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl --pgdata="$new" --wait stop
  mv "$new" "$PGDATA"
fi
exec "$@"
