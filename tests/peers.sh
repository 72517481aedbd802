#!/usr/bin/env bash
# Programs that tests use beside Python: promtool (Debian's prometheus), h2load (nghttp2-client), redis-server,
# an SMSC on Net::SMPP (Perl), tshark; what clients of the check port in Go and C++ are built with; for deploy/ also
# Prometheus itself, systemd-analyze, sqlite3 and haproxy.
# With `--bench` also what the servers are built with that benchmarks put beside the engines.
set -euo pipefail
declare -A package=([promtool]=prometheus [h2load]=nghttp2-client [redis-server]=redis-server
  [tshark]=tshark [perl]=perl [systemd-analyze]=systemd [sqlite3]=sqlite3 [/usr/sbin/haproxy]=haproxy)
bench=(protobuf-compiler libprotobuf-dev protobuf-compiler-grpc libnghttp2-dev)
clients=(g++ make golang-go golang-google-grpc-dev libgrpc++-dev)
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
perl -MNet::SMPP -MJSON::PP -e1 2>/dev/null || missing+=(libnet-smpp-perl)
for name in "${clients[@]}"; do
  dpkg -s "$name" >/dev/null 2>&1 || missing+=("$name")
done
if [ "${1:-}" = --bench ]; then
  command -v perf >/dev/null || missing+=(linux-perf)
  for name in "${bench[@]}"; do
    dpkg -s "$name" >/dev/null 2>&1 || missing+=("$name")
  done
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "tests need: ${missing[*]} (install them, or run as root on Debian)" >&2
  exit 1
fi
