# Starts Redis with the password of its secret, which neither the command line nor the environment shows; with TLS alone
# where it has a certificate (deploy/compose.tls.yml).
set -eu
secret=/run/secrets/redis_password
[ -s "$secret" ] || { echo "redis: $secret is missing or empty; set LAB_REDIS_PASSWORD in .env" >&2; exit 1; }
umask 077
{
  cat /etc/nnlite/redis.conf
  printf 'requirepass "%s"\n' "$(cat "$secret")"
  if [ -e /run/secrets/redis_key ]; then
    printf '%s\n' "port 0" "tls-port 6379" "tls-auth-clients no" "tls-ca-cert-file /run/secrets/ca" \
      "tls-cert-file /run/secrets/redis_certificate" "tls-key-file /run/secrets/redis_key"
  fi
} > /dev/shm/redis.conf
exec redis-server /dev/shm/redis.conf
