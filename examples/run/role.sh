#!/bin/sh
# Asks the supervisor of this program for its role, with curl:
#   role.sh role | wait leader 60 | events | step-down
# SUCCESSION_API is set for every program that runs under `succession run --api`.
set -eu

ask() {
  path=$1
  shift
  case ${SUCCESSION_API:?is not set: start succession run with --api} in
    http*) curl --silent --show-error --max-time 660 "$@" "$SUCCESSION_API$path" ;;
    *) curl --silent --show-error --max-time 660 --unix-socket "$SUCCESSION_API" "$@" "http://localhost$path" ;;
  esac
}

# Refused, it says the reason and ends with 22. Over TCP a POST needs the token. It goes by standard input: a command line is for everybody to see.
post() {
  if [ -n "${SUCCESSION_API_TOKEN:-}" ]; then
    printf 'header = "Authorization: Bearer %s"\n' "$SUCCESSION_API_TOKEN" | ask "$1" --fail-with-body --request POST --config -
  else
    ask "$1" --fail-with-body --request POST
  fi
}

case ${1:-role} in
  role) ask /role --fail ;;
  # Ends with 22 where the role did not come in time.
  wait) ask "/wait?role=$2&timeout=${3:-30}" --fail ;;
  # The present state, then every change, a line of JSON each.
  events) ask /events --fail --no-buffer --max-time 0 | sed -nu 's/^data: //p' ;;
  step-down) post /step-down ;;
  *)
    echo "usage: $0 role | wait ROLE [SECONDS] | events | step-down" >&2
    exit 2
    ;;
esac
