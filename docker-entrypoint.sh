#!/bin/sh
# Starts Beam's boot program as the user `worker`. It begins as root, because Dataflow mounts the folder that boot
# unpacks the job into as root's own.
set -eu
boot=${BEAM_BOOT:-/opt/apache/beam/boot}
user=${BEAM_USER:-worker}
if [ "$(id -u)" != 0 ]; then exec "$boot" "$@"; fi
for argument in "$@"; do
  case $argument in
    --semi_persist_dir=*)
      staged=${argument#*=}/staged
      mkdir -p "$staged"
      chown -R "$user" "$staged"
      ;;
  esac
done
HOME=/home/$user exec setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$boot" "$@"
