#!/bin/bash
# Create a schema and a user for each service, and set the users' passwords. Repeating it changes
# nothing. SECRETS is the directory of the passwords, MYSQL_HOST the server.
set -euo pipefail

secrets=${SECRETS:-/run/secrets}
host=${MYSQL_HOST:-mysql}

quote() { sed -e 's/\\/\\\\/g' -e "s/'/''/g" "$1"; }

options=$(mktemp)
trap 'rm -f "$options"' EXIT
printf '[client]\nhost=%s\nuser=root\npassword="%s"\n' \
  "$host" "$(sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' "$secrets/mysql_root_password")" > "$options"

for name in auth sessions media ai; do
  password=$(quote "$secrets/${name}_database_password")
  mysql --defaults-extra-file="$options" <<SQL
CREATE DATABASE IF NOT EXISTS \`$name\` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS '$name'@'%' IDENTIFIED BY '$password';
ALTER USER '$name'@'%' IDENTIFIED BY '$password';
GRANT ALL ON \`$name\`.* TO '$name'@'%';
SQL
done
echo "The schemas and users of the services are ready."
