#!/bin/bash
# Start RabbitMQ as the user rabbitmq. The first start creates the cookie of its node.
set -euo pipefail
umask 077
cookie=/var/lib/rabbitmq/.erlang.cookie
[ -s "$cookie" ] || od -An -N20 -tx1 /dev/urandom | tr -d ' \n' > "$cookie"
exec rabbitmq-server
