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

docker compose up --build --detach --wait "$@" || fail "$(problem)"
address=$(docker compose port gateway 8000 | head -n 1)
echo "GenAI Coach is ready at http://${address/0.0.0.0/localhost}"
