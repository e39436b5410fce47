#!/bin/bash
# Start the compose deployment, wait until every container is ready, and print the address.
# On failure, print one line that says what is wrong.
set -uo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "error: $1" >&2; exit 1; }

command -v docker > /dev/null || fail "Docker is not installed"
docker compose version > /dev/null 2>&1 || fail "Docker Compose v2 is not installed (docker compose version)"
docker info > /dev/null 2>&1 || fail "the Docker daemon is not reachable (docker info)"
bash deploy/compose/secrets.sh deploy/compose/secrets || fail "the secrets could not be created"

problem() {
  local name state code health
  while IFS=' ' read -r name state code health; do
    case "$state/$code/$health" in
      running/*/healthy | running/*/ | exited/0/) ;;
      *)
        echo "$name is ${health:-$state}: $(docker compose logs --no-log-prefix --tail 1 "$name" 2>&1)"
        return ;;
    esac
  done < <(docker compose ps --all --format '{{.Service}} {{.State}} {{.ExitCode}} {{.Health}}')
  echo "docker compose failed; see its output above"
}

restarts() {
  local count sum=0
  for count in $(docker inspect --format '{{.RestartCount}}' "$@" 2> /dev/null); do
    sum=$((sum + count))
  done
  echo "$sum"
}

# Wait until every service is ready. Their health checks, every 5 s, would find it seconds later.
# Fail if the services that are not ready keep restarting, or are not ready after 5 minutes.
wait_until_ready() {
  local waiting left id ends=$((SECONDS + 300)) most
  mapfile -t waiting < <(docker compose ps --quiet gateway auth sessions media ai store)
  most=$(($(restarts "${waiting[@]}") + 3))
  while [ ${#waiting[@]} -gt 0 ]; do
    left=()
    for id in "${waiting[@]}"; do
      docker exec "$id" coach-ready > /dev/null 2>&1 || left+=("$id")
    done
    [ ${#left[@]} -eq 0 ] && return 0
    [ $SECONDS -lt $ends ] && [ "$(restarts "${left[@]}")" -lt $most ] || return 1
    waiting=("${left[@]}")
    sleep 0.3
  done
}

docker compose up --build --detach "$@" && wait_until_ready || fail "$(problem)"
address=$(docker compose port gateway 8000 | head -n 1)
echo "GenAI Coach is ready at http://${address/0.0.0.0/localhost}"
