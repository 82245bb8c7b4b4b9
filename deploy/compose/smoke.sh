#!/bin/sh
# Use a running fleet as a client does: smoke.sh URL. Each answer must be the right one; waits for what comes later.
set -eu
url=$1
name=smoke$(date +%s)
json='Content-Type: application/json'

get() { curl --fail --silent --show-error --max-time 20 --header "Authorization: Bearer $token" "$url$1"; }
holds() { case $1 in *"$2"*) ;; *) printf 'no %s in: %s\n' "$2" "$1" >&2 && return 1 ;; esac; }

curl --fail --silent --show-error "$url/register" --header "$json" \
    --data "{\"username\":\"$name\",\"email\":\"$name@example.com\",\"password\":\"correct horse battery staple\"}"
token=$(curl --fail --silent --show-error "$url/login" --data "username=$name" \
    --data 'password=correct horse battery staple' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

# Several times, so that both instances are asked.
for _ in 1 2 3 4; do
    holds "$(get /fibonacci/100)" '"result":"354224848179261915075"'
    holds "$(get /factorial/20000)" '"digits":77338'
done
holds "$(get '/secure-history?limit=1')" '"operation":"factorial"'

for _ in $(seq 60); do
    usage=$(get /usage) || usage=
    case $usage in
    *'"count":4'*'"count":4'*)
        echo "eight calculations recorded, streamed and counted"
        exit 0
        ;;
    esac
    sleep 1
done
printf 'after a minute /usage says: %s\n' "$usage" >&2
exit 1
