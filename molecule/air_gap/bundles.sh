#!/usr/bin/env bash
# Makes what somebody carries to the machines without a network: the public key, a bundle with the default model, which comes from a hub and
# lies there in parts, and what a second bundle, with another engine and an operator's own model, has besides.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$PWD/.cache/molecule/air_gap
cache=${XDG_CACHE_HOME:-$HOME/.cache}/slm-copilot/bundle-test
mkdir -p "$work" "$cache"
[ -e "$cache/key" ] || ssh-keygen -q -t ed25519 -N '' -C test -f "$cache/key"
cp "$cache/key.pub" "$work/"
tools/test-model "$cache/hub/unsloth/Devstral-Small-2-24B-Instruct-2512-GGUF/Devstral-Small-2-24B-Instruct-2512-Q4_K_M.gguf"
tools/test-model "$cache/tiny.gguf" fim
mkdir -p "$cache/engines"
.venv/bin/python molecule/air_gap/engines.py "$cache/engines"

python3 tools/model_hub.py --root "$cache/hub" --port 8610 &
hub=$!
trap 'kill $hub' EXIT

make_bundle() { # NAME VARIABLES
    PATH=$PWD/.venv/bin:$PATH ANSIBLE_COLLECTIONS_PATH=$PWD/.collections ansible-playbook playbooks/bundle.yml \
        --inventory molecule/air_gap/hosts.ini --extra-vars "$2" --extra-vars "$(cat <<VARIABLES
{"bundle_dir": "$work/$1", "bundle_key": "$cache/key", "bundle_cache_dir": "$cache/cache", "bundle_targets": ["bookworm-amd64", "trixie-amd64"],
 "bundle_part_mib": 8, "copilot_fleet_dir": "$cache/fleet", "model_fetch_endpoint": "http://127.0.0.1:8610"}
VARIABLES
)"
}
make_bundle first '{"bundle_engines": {"trixie-amd64": "'"$cache"'/engines/trixie.tar.gz"}}'
make_bundle update "$(cat <<VARIABLES
{"update": "$work/first",
 "copilot_model": "tiny", "copilot_catalogue": {"tiny": {"src": "$cache/tiny.gguf"}}, "llama_cpp_build_options": {"ANOTHER": "ON"},
 "bundle_engines": {"bookworm-amd64": "$cache/engines/second-bookworm.tar.gz", "trixie-amd64": "$cache/engines/second-trixie.tar.gz"}}
VARIABLES
)"
