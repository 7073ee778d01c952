# Gives Postgres the key of its certificate as it wants it: its own, and closed to others.
set -eu
key=/dev/shm/postgres.key
install -m 0600 /run/secrets/postgres_key "$key"
[ "$(id -u)" != 0 ] || chown postgres "$key"
exec docker-entrypoint.sh "$@"
