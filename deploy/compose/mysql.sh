#!/bin/bash
# Create a schema and a user per service. The database container runs this once.
set -euo pipefail
for name in auth sessions media ai; do
  mysql -uroot -p"$MYSQL_ROOT_PASSWORD" <<SQL
CREATE DATABASE $name CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER '$name'@'%' IDENTIFIED BY '$DATABASE_PASSWORD';
GRANT ALL ON $name.* TO '$name'@'%';
SQL
done
