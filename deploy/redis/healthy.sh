# Succeeds where Redis answers and has read its data.
REDISCLI_AUTH="$(cat /run/secrets/redis_password)"
export REDISCLI_AUTH
[ ! -e /run/secrets/redis_key ] || set -- --tls --cacert /run/secrets/ca
[ "$(redis-cli "$@" ping)" = PONG ]
