# Tells the run's door what a hook of the agent was given, and nothing else: whatever goes wrong, the agent's call goes on as without it.
# Nothing but the shell's own commands, so that no other program is seen where there is none of the agent's.
LC_ALL=C
host=${SELVEDGE_TOLD_AT#http://}
{
  IFS= read -r -d '' -t 2 -n 8000000 body
  exec 3<>"/dev/tcp/${SELVEDGE_TOLD_BY%:*}/${SELVEDGE_TOLD_BY#*:}" || exit 0
  printf 'POST %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %s\r\n\r\n%s' \
    "$SELVEDGE_TOLD_AT" "${host%%/*}" "${#body}" "$body" >&3
  read -r -t 2 answer <&3
} 2>/dev/null
exit 0
