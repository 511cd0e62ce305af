#!/bin/sh
# A program that acts as leader and is hard to stop. Each act is a line in the file ACTS: its token, and the time since
# boot. Lines are appended in the order in which the kernel took them, whoever wrote them.
#   actor.sh plain | detached | bomb
act() {
  read -r up _ </proc/uptime
  echo "$SUCCESSION_TOKEN $up $1" >>"$ACTS"
}

# Acts, leaves a successor behind and ends: no process of it lives for long.
chain() {
  act chain
  sleep 1
  chain &
}

case $1 in
detached)
  trap '' TERM INT HUP QUIT
  setsid "$0" plain >/dev/null 2>&1 </dev/null &
  ;;
bomb)
  trap '' TERM
  count=0
  while [ $count -lt 50 ]; do
    chain &
    count=$((count + 1))
  done
  ;;
esac

while :; do
  act "$1"
  sleep 0.05
done
