# Starts Redis with the password of its secret, which neither the command line nor the environment shows.
set -eu
secret=/run/secrets/redis_password
[ -s "$secret" ] || { echo "redis: $secret is missing or empty; set LAB_REDIS_PASSWORD in .env" >&2; exit 1; }
umask 077
{ cat /etc/nnlite/redis.conf; printf 'requirepass "%s"\n' "$(cat "$secret")"; } > /dev/shm/redis.conf
exec redis-server /dev/shm/redis.conf
