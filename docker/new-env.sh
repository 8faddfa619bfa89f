#!/bin/sh
# Write docker/.env from docker/.env.example with new secrets, readable for you alone.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "docker/.env is there already; move it away for new secrets." >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case $line in
        *_SECRET=) line=$line$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n') ;;
    esac
    printf '%s\n' "$line"
done < .env.example > .env
echo "Wrote docker/.env."
