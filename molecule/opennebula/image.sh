#!/usr/bin/env bash
# Makes the image of an appliance that serves the tiny model, imports its files for containers, and writes the contexts of the first boot.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$PWD/.cache/molecule/opennebula
mkdir -p "$work"
tools/test-model "$work/model/tiny.gguf"
# Of all checkouts, so that an image is made again only when something of it changed
cache=${XDG_CACHE_HOME:-$HOME/.cache}/slm-copilot/appliance
mkdir -p "$cache"
[ -e "$cache/key" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$cache/key"
exec 9>"$cache/lock"
flock 9
PATH=$PWD/.venv/bin:$PATH ANSIBLE_COLLECTIONS_PATH=$PWD/.collections ansible-playbook playbooks/image.yml --extra-vars "$(cat <<VARIABLES
{"appliance_path": "$cache/tiny.qcow2", "appliance_archive": "$cache/tiny.tar", "appliance_key": "$cache/key",
 "appliance_target": "bookworm-amd64", "appliance_spare_mib": 1024, "appliance_work_dir": "$cache",
 "copilot_model": "tiny", "copilot_catalogue": {"tiny": {"src": "$work/model/tiny.gguf"}}}
VARIABLES
)"
recipe=$(sha256sum "$cache/tiny.qcow2.json" | cut -c1-12)
image=localhost/slm-copilot-appliance:bookworm
if [ "$(podman image inspect --format '{{.Labels.slm_copilot_recipe}}' "$image" 2>/dev/null)" != "$recipe" ]; then
    podman import --quiet --change "LABEL slm_copilot_recipe=$recipe" "$cache/tiny.tar" "$image"
fi

tar --list --file "$cache/tiny.tar" >"$work/files"
.venv/bin/python molecule/opennebula/contexts.py "$work"
