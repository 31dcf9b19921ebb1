# Ask the server at HOST and PORT for a vector, and fail unless it has DIMENSIONS numbers. PREFIX is
# where the API begins, KEY_FILE has the key. Plain bash: the image carries no curl.
set -eu
body='{"input": ["Why was my pod killed?"], "input_type": "query"}'
key=${KEY_FILE:+Authorization: Bearer $(cat "$KEY_FILE")}
exec 3<>"/dev/tcp/$HOST/$PORT"
printf '%s\r\n' "POST ${PREFIX:-}/v1/embeddings HTTP/1.1" "Host: $HOST" "Connection: close" \
    "Content-Type: application/json" "Content-Length: ${#body}" ${key:+"$key"} "" >&3
printf '%s' "$body" >&3
answer=$(cat <&3)

if [[ ! $answer =~ \"embedding\":\ *\[([^]]*)\] ]]; then
    echo "no vector in the answer: ${answer:0:1000}" >&2
    exit 1
fi
commas=${BASH_REMATCH[1]//[^,]/}
found=$((${#commas} + 1))
if ((found != DIMENSIONS)); then
    echo "the vector has $found numbers and not $DIMENSIONS" >&2
    exit 1
fi
echo "a vector of $found numbers"
