#!/bin/bash
# Start MySQL as the user mysql. The first start creates the data, and root's password from its file.
set -euo pipefail
options=(--datadir=/var/lib/mysql --socket=/tmp/mysql.sock --skip-name-resolve --mysqlx=OFF)

if [ ! -d /var/lib/mysql/mysql ]; then
  password=$(sed -e 's/\\/\\\\/g' -e "s/'/''/g" "$MYSQL_ROOT_PASSWORD_FILE")
  mysqld "${options[@]}" --initialize-insecure
  mysqld "${options[@]}" --daemonize --skip-networking
  mysql --socket=/tmp/mysql.sock --user=root <<SQL
CREATE USER 'root'@'%' IDENTIFIED BY '$password';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
ALTER USER 'root'@'localhost' IDENTIFIED BY '$password';
SHUTDOWN;
SQL
  while [ -S /tmp/mysql.sock ]; do sleep 0.1; done
fi
exec mysqld "${options[@]}"
