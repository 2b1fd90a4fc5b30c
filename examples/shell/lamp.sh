#!/bin/sh
# A lamp in shell, with mosquitto's clients (2.0), jq and timeout:
#
#   ./lamp.sh 127.0.0.1 1883 lamp1
#
# Its key is in lamp1.limb/key. A limb has one connection, and each of these programs makes its own: the lamp is
# offline for a moment at each invocation, and one in that moment is answered node_offline. Good enough for a switch that
# is used now and then; for more, look at the examples in Python and TypeScript.
set -eu

host=${1:-127.0.0.1} port=${2:-1883} node=${3:-lamp1}
prefix="limb/node/$node"
folder="$node.limb"
heartbeat_seconds=15

umask 077
mkdir -p "$folder"
[ -s "$folder/key" ] || { head -c 32 /dev/urandom | base64 | tr -d '\n=' >"$folder/part" && mv "$folder/part" "$folder/key"; }

# Options in a file: on a command line every user of the machine could read the key.
export XDG_CONFIG_HOME="$folder"
options() {
  for program in mosquitto_pub mosquitto_rr; do
    printf -- '-h %s\n-p %s\n-i %s\n-u %s\n-P %s\n-q 1\n-V mqttv311\n' "$host" "$port" "$node" "$node" "$(cat "$folder/key")" \
      >"$folder/$program"
  done
}

# Publishes $2 on $1 and prints the first message on $3 within $4 seconds. Ended without a goodbye, because a limb
# that says goodbye is offline at once, and one that is only lost has five seconds to come back.
exchange() {
  timeout -s KILL "$4" mosquitto_rr -t "$prefix/$1" -m "$2" -e "$prefix/$3" 2>/dev/null || true
}

# Sleeps $1 seconds times 0.5 to 1.5, not the same for all: a fleet that lost its bridge together must not come back in
# one instant.
rest() {
  random=$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')
  sleep "$(awk -v s="$1" -v r="$random" 'BEGIN { print s * (0.5 + r / 65536) }')"
}

# A key that an operator rejected is refused for a day: it asks again after minutes, not seconds.
rejected_seconds=300

registration='{"displayName":"Desk lamp","platform":"shell","heartbeatSeconds":15,
  "capabilities":[{"cap":"lamp","commands":["lamp.set"],"authLevel":"free"}]}'

pair() {
  wait=1
  while :; do
    options
    answer=$(exchange register "$registration" pairing 10)
    status=$(printf '%s' "$answer" | jq -r '.status // "no answer"' 2>/dev/null || echo 'no answer')
    printf '%s\n' "${status:-no answer} $(printf '%s' "$answer" | jq -r '.code // .error.message // ""' 2>/dev/null)"
    new=$(printf '%s' "$answer" | jq -r '.apiKey // empty' 2>/dev/null || true)
    if [ -n "$new" ]; then printf '%s' "$new" >"$folder/part" && mv "$folder/part" "$folder/key" && options; fi
    [ "$status" = approved ] && return
    case $status in
      rejected) rest "$rejected_seconds" ;;
      # It waits for a person: each try shows the code again, and takes the answer when it is approved.
      pending) rest 1 ;;
      *)
        rest "$wait"
        wait=$((wait * 2))
        [ "$wait" -le 30 ] || wait=30
        ;;
    esac
  done
}

# What the lamp does; stands for a GPIO. Prints the result.
set_lamp() {
  printf '%s' "$1" | jq -c 'if .command == "lamp.set" and (.params.on | type) == "boolean"
    then {invocationId, success: true, data: {on: .params.on}}
    else {invocationId, success: false, error: "lamp.set wants {on: true or false}"} end'
}

pair
rounds=0
while :; do
  invocation=$(exchange heartbeat '{}' invoke "$heartbeat_seconds")
  if [ -n "$invocation" ]; then
    result=$(set_lamp "$invocation")
    printf 'invoked %s\n' "$result"
    mosquitto_pub -t "$prefix/result" -m "$result" || true
    rounds=0
  fi
  # Now and then it asks whether it is still a limb, and whether it has a new key.
  rounds=$((rounds + 1))
  if [ "$rounds" -ge 20 ]; then
    rounds=0
    pair
  fi
done
