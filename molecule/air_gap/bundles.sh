#!/usr/bin/env bash
# Makes what somebody carries to the machines without a network: a bundle, a second one with another model, and the public key.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$PWD/.cache/molecule/air_gap
cache=${XDG_CACHE_HOME:-$HOME/.cache}/slm-copilot/bundle-test
mkdir -p "$work" "$cache"
[ -e "$cache/key" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$cache/key"
cp "$cache/key.pub" "$work/"
tools/test-model "$cache/first/tiny.gguf"
tools/test-model "$cache/second/tiny.gguf" fim
for name in first second; do
    PATH=$PWD/.venv/bin:$PATH ANSIBLE_COLLECTIONS_PATH=$PWD/.collections ansible-playbook playbooks/bundle.yml \
        --inventory molecule/air_gap/hosts.ini --extra-vars "$(cat <<VARIABLES
{"bundle_dir": "$work/$name", "bundle_key": "$cache/key", "bundle_cache_dir": "$cache/$name-cache", "bundle_targets": ["bookworm-amd64"],
 "copilot_fleet_dir": "$cache/fleet", "copilot_model": "tiny", "copilot_catalogue": {"tiny": {"src": "$cache/$name/tiny.gguf"}}}
VARIABLES
)"
done
