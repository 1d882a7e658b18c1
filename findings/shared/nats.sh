# Sourced by findings of NATS, behind mongod.sh, whose folder and `python_with` they share: nats-servers on loopback with
# JetStream, all of them gone when the script ends.
#
#   nats_servers COUNT [STORE]    starts one, or a cluster of three; STORE bounds what each keeps. Sets $NATS,
#                                 $NATS_URL of the first, $NATS_URLS and $NATS_PIDS of all

nats_pids=()

end_nats() {
  for pid in "${nats_pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${nats_pids[@]}"; do wait "$pid" 2>/dev/null || true; done
}

trap 'end_nats; rm -rf "$folder"' EXIT

nats_servers() {
  local count=$1 store=${2:-1GB} number port routes
  mapfile -t ports < <("$python" -c "
import socket
held = [socket.create_server(('127.0.0.1', 0)) for _ in range(6)]
print(*(one.getsockname()[1] for one in held), sep='\n')")
  routes=$(for number in 0 1 2; do printf '"nats://127.0.0.1:%s",' "${ports[$((number + 3))]}"; done)
  for number in $(seq 0 $((count - 1))); do
    {
      echo "server_name: n$number"
      echo "listen: \"127.0.0.1:${ports[$number]}\""
      echo "jetstream { store_dir: \"$folder/n$number\", max_file_store: $store }"
      test "$count" = 1 || echo "cluster { name: c, listen: \"127.0.0.1:${ports[$((number + 3))]}\", routes: [${routes%,}] }"
    } >"$folder/n$number.conf"
    "$folder/python/bin/nats-server" -c "$folder/n$number.conf" >"$folder/n$number.log" 2>&1 &
    nats_pids+=($!)
  done
  NATS=$("$folder/python/bin/nats-server" --version)
  NATS_URL=nats://127.0.0.1:${ports[0]}
  NATS_URLS=$(printf 'nats://127.0.0.1:%s ' "${ports[@]:0:$count}") NATS_PIDS=${nats_pids[*]}
  export NATS NATS_URL NATS_URLS NATS_PIDS
}
