# Makes the database at the first start, as the official image does, and becomes Postgres.
set -euo pipefail
secret=${POSTGRES_PASSWORD_FILE:?}
new=$PGDATA/.new # where a database is made that is not whole yet
if [ ! -e "$PGDATA/PG_VERSION" ]; then
  [ -s "$secret" ] || { echo "postgres: $secret is missing or empty; set LAB_POSTGRES_PASSWORD in .env" >&2; exit 1; }
  rm -rf "$new"
  # shellcheck disable=SC2086 # the arguments are words
  initdb --username="$POSTGRES_USER" --pwfile="$secret" --auth-local=trust --encoding=UTF8 --locale=C.UTF-8 \
    ${POSTGRES_INITDB_ARGS:-} "$new"
  echo "host all all all scram-sha-256" >> "$new/pg_hba.conf"
  pg_ctl --pgdata="$new" --wait --options="-c listen_addresses=''" start
  createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl --pgdata="$new" --wait stop
  mv "$new/PG_VERSION" "$PGDATA/.version"
  mv "$new"/* "$PGDATA"
  mv "$PGDATA/.version" "$PGDATA/PG_VERSION" # last: now it is one
  rmdir "$new"
fi
exec "$@"
