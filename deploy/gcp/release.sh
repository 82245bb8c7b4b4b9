#!/bin/sh
# Release an image: release.sh IMAGE, with PROJECT, REGION and NAME in the environment.
#
# Migrates the database, starts the image beside the revision that serves, without traffic, asks it what a client would ask
# (by its tag's address), gives it a tenth of the traffic, asks again, and only then all of it. Whatever fails before that,
# the revision that served goes on serving; migrations only ever add, so it can.
set -eu
image=$1
tag=canary
probes=${PROBES:-30} # of the canary, one a second, while it has a tenth of the traffic

run() { gcloud run "$@" --project="$PROJECT" --region="$REGION" --quiet; }
say() { printf '== %s\n' "$*"; }

# Print a column of the service's traffic table where another column has a value: column value wanted
traffic() {
    run services describe "$NAME" --flatten='status.traffic[]' \
        --format="csv[no-heading](status.traffic.$1,status.traffic.$3)" | sed -n "s/^$2,//p" | head -n 1
}

rollback() {
    say "FAILED: all traffic stays with, or goes back to, $previous"
    run services update-traffic "$NAME" --to-revisions="$previous=100" --remove-tags="$tag"
    exit 1
}

# A request to the canary: path, expected status, what the answer must contain
expect() {
    answer=$(curl --silent --show-error --max-time 20 --write-out '\n%{http_code}' \
        ${key:+--header "Authorization: Bearer $key"} "$canary$1") || return 1
    case $answer in
    *"$3"*"
$2") ;;
    *)
        printf '%s answered: %s\n' "$1" "$answer"
        return 1
        ;;
    esac
}

smoke() {
    expect /health 200 '"ok"' || return 1
    expect /ready 200 '"database":{"ok":true' || return 1
    if [ -n "$key" ]; then
        expect /fibonacci/100 200 '"result":"354224848179261915075"' || return 1
        expect '/secure-history?limit=1' 200 '"operation":"fibonacci"' || return 1
    else
        expect /fibonacci/100 401 '"status":401' || return 1
    fi
}

say "migrating"
run jobs update "$NAME-migrate" --image="$image"
run jobs execute "$NAME-migrate" --wait

previous=$(traffic percent 100 revisionName)
if [ -z "$previous" ]; then
    echo "no revision has all the traffic: finish or roll back the release before this one" >&2
    exit 1
fi
key=$(gcloud secrets versions access latest --project="$PROJECT" --secret="$NAME-smoke-key" 2>/dev/null) || key=
[ -n "$key" ] || say "no API key in $NAME-smoke-key: calculations are not tested"

say "starting the canary beside $previous"
run services update "$NAME" --image="$image" --no-traffic --tag="$tag" || rollback
canary=$(traffic tag "$tag" url)
smoke || rollback

say "a tenth of the traffic to $canary"
run services update-traffic "$NAME" --to-tags="$tag=10" || rollback
for _ in $(seq "$probes"); do
    smoke || rollback
    sleep 1
done

say "all of it"
run services update-traffic "$NAME" --to-latest --remove-tags="$tag" || rollback
gcloud beta run worker-pools update "$NAME-consumer" --image="$image" --project="$PROJECT" --region="$REGION" --quiet
