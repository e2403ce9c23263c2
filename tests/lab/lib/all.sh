# Sources every part; each file says what it is responsible for.
# shellcheck shell=bash disable=SC1090,SC1091
for part in common cgroup lock base host network engine plugin registry builder build up; do
    source "$LAB_DIR/lib/$part.sh"
done
unset part
