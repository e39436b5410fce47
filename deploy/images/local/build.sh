#!/bin/bash
# Make a base image from Debian packages, for machines that reach no image registry.
# Usage: build.sh python|mysql|rabbitmq|redis|caddy. Needs root and the Debian package mmdebstrap.
# The result is genai-coach/local-<name>:latest. It serves to verify the deployment, not to run it.
# The packages stay in genai-coach/local-<name>:packages, and are not installed again.
set -euo pipefail
cd "$(dirname "$0")"
name=${1:?usage: build.sh python|mysql|rabbitmq|redis|caddy}

context=$(mktemp -d) archive=$(mktemp -d)
trap 'rm -rf "$context" "$archive"' EXIT
# The certificates of this machine, so that pip verifies the same servers as here.
cp /etc/ssl/certs/ca-certificates.crt "$context"
cp ./*.sh "$context"

case "$name" in
  python)
    suite=bookworm packages=python3,python3-venv,python3-pip,python-is-python3,libpython3-dev,ca-certificates
    steps='COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
CMD ["python3"]'
    ;;
  mysql)
    suite=sid packages=mysql-server-core,mysql-client-core,mysql-client,openssl
    steps='RUN (getent passwd mysql || useradd --system --uid 999 mysql) \
 && rm -rf /etc/mysql/* \
 && install -d -o mysql -g mysql /var/lib/mysql /var/lib/mysql-files \
 && install -d -m 1777 /run/mysqld
COPY --chmod=755 mysql.sh /usr/local/bin/start
VOLUME /var/lib/mysql
ENTRYPOINT ["start"]'
    ;;
  rabbitmq)
    suite=sid packages=rabbitmq-server,ca-certificates
    steps='COPY --chmod=755 rabbitmq.sh /usr/local/bin/start
RUN rm -rf /var/lib/rabbitmq/* /var/lib/rabbitmq/.erlang.cookie \
 && install -d -o rabbitmq -g rabbitmq /etc/rabbitmq /etc/rabbitmq/conf.d /var/log/rabbitmq /var/lib/rabbitmq
ENV PATH=/usr/lib/rabbitmq/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/rabbitmq RABBITMQ_LOGS=-
VOLUME /var/lib/rabbitmq
ENTRYPOINT ["start"]'
    ;;
  redis)
    suite=sid packages=redis-server,redis-tools
    steps='CMD ["redis-server"]'
    ;;
  caddy)
    suite=trixie packages=caddy,ca-certificates
    steps='ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]'
    ;;
  *)
    echo "error: there is no image $name" >&2
    exit 1
    ;;
esac

if ! docker image inspect "genai-coach/local-$name:packages" > /dev/null 2>&1; then
  command -v mmdebstrap > /dev/null \
    || { echo "error: the Debian package mmdebstrap is not installed" >&2; exit 1; }
  # A mirror may be older than its index says it is valid. A file, because a pipe would import what a
  # failed run wrote.
  mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="$packages" "$suite" "$archive/packages.tar"
  docker import "$archive/packages.tar" "genai-coach/local-$name:packages" > /dev/null
fi
printf 'FROM genai-coach/local-%s:packages\nENV LANG=C.UTF-8\nRUN rm -rf /var/lib/apt/lists/* /var/cache/apt/*\n%s\n' "$name" "$steps" \
  > "$context/Dockerfile"
docker build --quiet --tag "genai-coach/local-$name:latest" "$context"
