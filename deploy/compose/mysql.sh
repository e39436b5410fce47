#!/bin/bash
# A schema and a user for each service; run once by the database container.
set -euo pipefail
for name in auth sessions media ai; do
  mysql -uroot -p"$MYSQL_ROOT_PASSWORD" <<SQL
CREATE DATABASE $name CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER '$name'@'%' IDENTIFIED BY '$DATABASE_PASSWORD';
GRANT ALL ON $name.* TO '$name'@'%';
SQL
done
