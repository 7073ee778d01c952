#!/bin/sh
# Backs up and restores the database with Postgres's own tools: for `nnlite db`, compose and systemd alike.
#   backup.sh backup FOLDER KEEP          write a dump into FOLDER, check it, and keep those of the KEEP newest days: all of
#                                         today, and the last one of each earlier day
#   backup.sh every HOURS FOLDER KEEP     the same again and again, first once the newest dump is HOURS old
#   backup.sh restore FILE                replace the database by a dump; a dump that fails changes nothing
# libpq's variables name the database (PGHOST, PGUSER, PGDATABASE, ...); PGPASSWORD_FILE may hold the password.
set -eu
umask 077

say() { echo "$*" >&2; }

back_up() {
    folder=$1 keep=$2
    name=nnlite-$(date -u +%Y%m%dT%H%M%SZ).dump
    rm -f "$folder"/.nnlite-*.dump # what an interrupted run left
    pg_dump --format=custom --file="$folder/.$name"
    pg_restore --list "$folder/.$name" > /dev/null
    sync "$folder/.$name"
    mv "$folder/.$name" "$folder/$name"
    surplus "$folder" "$keep" "$(date -u +%Y%m%d)" | while IFS= read -r old; do
        rm -- "$old"
    done
    say "wrote $folder/$name; kept: $(find "$folder" -maxdepth 1 -name 'nnlite-*.dump' | wc -l)"
}

# Dumps that are not kept. Days count, not dumps: many of one day must not push out those of earlier days.
surplus() {
    # The names sort by time.
    find "$1" -maxdepth 1 -name 'nnlite-*.dump' | sort -r | awk -v keep="$2" -v today="$3" '{
        day = substr($0, length($0) - 20, 8)
        earlier = (day == last)
        if (!earlier) { last = day; days++ }
        if (days > keep || (earlier && day != today)) print
    }'
}

# Seconds until the newest dump is HOURS old: restarts must not push older dumps out.
until_due() {
    newest=$(find "$2" -maxdepth 1 -name 'nnlite-*.dump' | sort | tail -n 1)
    due_s=0
    if [ -n "$newest" ]; then
        age_s=$(($(date +%s) - $(stat -c %Y "$newest")))
        # A dump of the future, by another clock, says nothing.
        if [ "$age_s" -ge 0 ] && [ "$age_s" -lt "$(($1 * 3600))" ]; then due_s=$(($1 * 3600 - age_s)); fi
    fi
    echo "$due_s"
}

in_postgres() { PGOPTIONS='-c client_min_messages=warning' psql --dbname=postgres --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
    --set=name="$PGDATABASE" --set=new="${PGDATABASE}_restoring" --set=old="${PGDATABASE}_replaced"; }

restore() {
    file=$1
    pg_restore --list "$file" > /dev/null || { say "$file is no backup: nothing was changed"; exit 1; }
    users=$(echo "SELECT count(*) FROM pg_stat_activity WHERE datname = :'name';" | in_postgres)
    if [ "$users" != 0 ]; then
        say "$users connections use the database $PGDATABASE: stop workers, reaper and Flower, then restore again"
        exit 1
    fi
    if ! echo 'DROP DATABASE IF EXISTS :"new"; CREATE DATABASE :"new" TEMPLATE template0;' | in_postgres; then
        say "nothing was changed; a role that may not create databases needs: ALTER ROLE \"${PGUSER:-nnlite}\" CREATEDB"
        exit 1
    fi
    if ! pg_restore --dbname="${PGDATABASE}_restoring" --no-owner --no-privileges --exit-on-error --single-transaction \
        "$file"; then
        echo 'DROP DATABASE :"new";' | in_postgres
        say "$file cannot be restored: nothing was changed"
        exit 1
    fi
    in_postgres << 'END'
DROP DATABASE IF EXISTS :"old";
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'name') AS there \gset
BEGIN;
\if :there
ALTER DATABASE :"name" RENAME TO :"old";
\endif
ALTER DATABASE :"new" RENAME TO :"name";
COMMIT;
DROP DATABASE IF EXISTS :"old";
END
    say "restored $PGDATABASE from $file"
}

if [ -n "${PGPASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$PGPASSWORD_FILE")
    export PGPASSWORD
fi
case "${1:-}" in
    backup) back_up "$2" "$3" ;;
    restore) restore "$2" ;;
    every)
        trap 'exit 0' TERM INT
        due_s=$(until_due "$2" "$3")
        if [ "$due_s" -gt 0 ]; then
            say "the newest dump is younger than $2 h; the next one is written in $((due_s / 60)) min"
            sleep "$due_s" &
            wait $!
        fi
        while true; do
            # A process of its own: in a function before `||` the shell would go on after an error.
            sh "$0" backup "$3" "$4" || say "no backup was written; the next one is tried in $2 h"
            sleep "$(($2 * 3600))" &
            wait $!
        done
        ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
