# For sourcing: processes that outlive the script that started them. Each is kept as FOLDER/NAME.pid in `folder`.
# A process is known by its number and its start, so that a number used again is never signalled.

began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
remember() { echo "$1 $(began "$1")" >"$folder/$2.pid"; } # remember PID NAME
pid_of() { # pid_of NAME
  local pid start
  read -r pid start 2>/dev/null <"$folder/$1.pid" || return 1
  [[ -n "${start:-}" && "$(began "$pid")" == "$start" ]] || return 1
  [[ "$(sed 's/.*) //' "/proc/$pid/stat" | cut -c1)" != Z ]] || return 1
  echo "$pid"
}
finish() { # finish NAME SIGNAL SECONDS
  local pid
  pid="$(pid_of "$1")" || { rm -f "$folder/$1.pid"; return 0; }
  kill "-$2" "$pid" 2>/dev/null || true
  for ((i = 0; i < $3 * 20; i++)); do pid_of "$1" >/dev/null || break; sleep 0.05; done
  if pid_of "$1" >/dev/null; then kill -KILL "$pid" 2>/dev/null || true; sleep 0.2; fi
  rm -f "$folder/$1.pid"
}
