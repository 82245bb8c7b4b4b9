#!/bin/sh
# Print .env.example with a secret of its own after each name that has no value: sh deploy/compose/env.sh >.env
set -eu
while IFS= read -r line; do
    case $line in
    [A-Z]*=) line=$line$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n') ;;
    esac
    printf '%s\n' "$line"
done <"$(dirname "$0")/../../.env.example"
