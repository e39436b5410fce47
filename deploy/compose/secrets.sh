#!/bin/bash
# Create the random secrets of the compose deployment that do not exist yet.
# Usage: secrets.sh DIRECTORY. Only the owner can enter the directory. The files are readable, because
# each container reads them as a user of its own.
set -euo pipefail
directory=$1
umask 077
mkdir -p "$directory"
chmod 700 "$directory"
cd "$directory"

created=0

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

create() {
  [ -s "$1" ] && return
  random > ".$1.new"
  mv ".$1.new" "$1"
  created=$((created + 1))
}

for name in secret_key service_token mysql_root_password redis_password \
  {auth,sessions,media,ai}_database_password \
  {gateway,auth,sessions,media,ai}_rabbitmq_password \
  {media,ai}_store_key; do
  create "$name"
done

[ "$created" = 0 ] || echo "Created $created secrets in $directory"

# Secrets of other providers: empty until the operator fills them in.
touch openai_api_key smtp_password

# RabbitMQ imports users and permissions from this file at every start.
sha256() { if command -v sha256sum > /dev/null; then sha256sum; else shasum -a 256; fi | cut -c1-64; }
bytes() { printf '%b' "$(printf '%s' "$1" | sed 's/../\\x&/g')"; }

hash_password() {
  local salt=$1 digest
  digest=$({ bytes "$salt"; printf '%s' "$2"; } | sha256)
  bytes "$salt$digest" | base64 | tr -d '\n'
}

names='^(coach|gateway|auth|sessions|media|ai)\\.'
users='' permissions=''
for service in gateway auth sessions media ai; do
  password=$(cat "${service}_rabbitmq_password")
  salt=$(printf '%s' "$service$password" | sha256 | cut -c1-8)
  users+="{\"name\": \"$service\", \"password_hash\": \"$(hash_password "$salt" "$password")\",
    \"hashing_algorithm\": \"rabbit_password_hashing_sha256\", \"tags\": []},"
  permissions+="{\"user\": \"$service\", \"vhost\": \"/\", \"configure\": \"$names\",
    \"write\": \"$names|^amq\\\\.default\$\", \"read\": \"$names\"},"
done
cat > .rabbitmq_definitions.json.new <<JSON
{"vhosts": [{"name": "/"}], "users": [${users%,}], "permissions": [${permissions%,}]}
JSON
mv .rabbitmq_definitions.json.new rabbitmq_definitions.json
chmod 644 ./*
