# Succeeds where Redis answers and has read its data.
REDISCLI_AUTH="$(cat /run/secrets/redis_password)"
export REDISCLI_AUTH
[ "$(redis-cli ping)" = PONG ]
