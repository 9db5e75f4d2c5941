#!/usr/bin/env bash
# What datastore and transfer scripts expect under the name libfs.sh: images as files.  To be sourced, after
# scripts_common.sh.

# set_up_datastore BASE_PATH [RESTRICTED_DIRS [SAFE_DIRS [UMASK]]]
function set_up_datastore {
    export BASE_PATH=${1%/} RESTRICTED_DIRS=${2:-} SAFE_DIRS=${3:-}
    [ -z "${4:-}" ] || umask "$4"
    [ -d "$BASE_PATH" ] || mkdir -p "$BASE_PATH"
}

# set_downloader_args MD5 SHA1 NO_DECOMPRESS LIMIT_BW SOURCE DESTINATION: sets DOWNLOADER_ARGS
function set_downloader_args {
    DOWNLOADER_ARGS=""
    [ -z "$1" ] || DOWNLOADER_ARGS+=" --md5 $1"
    [ -z "$2" ] || DOWNLOADER_ARGS+=" --sha1 $2"
    [ "${3,,}" != yes ] || DOWNLOADER_ARGS+=" --nodecomp"
    [ -z "$4" ] || DOWNLOADER_ARGS+=" --limit $4"
    export DOWNLOADER_ARGS="$DOWNLOADER_ARGS $5 $6"
}

# generate_image_hash [ID]: a name that no other image has
function generate_image_hash {
    printf '%s:%s' "$(date +%s%N)" "${1:-${ID:-}}" | md5sum | cut -d' ' -f1
}

# generate_image_path [ID]: where a new image of the datastore goes
function generate_image_path {
    printf '%s/%s\n' "$BASE_PATH" "$(generate_image_hash "${1:-${ID:-}}")"
}

# check_restricted PATH: prints 1 when it is in RESTRICTED_DIRS (and not in SAFE_DIRS), else 0
function check_restricted {
    local real directory
    real=$(realpath -m -- "$1")
    for directory in ${SAFE_DIRS:-}; do
        case $real/ in "$(realpath -m -- "$directory")"/*) echo 0 && return 0 ;; esac
    done
    for directory in ${RESTRICTED_DIRS:-}; do
        case $real/ in "$(realpath -m -- "$directory")"/*) echo 1 && return 0 ;; esac
    done
    echo 0
}

# fs_size FILE: its virtual size in MB, rounded up; of a file that no disk tool knows, its length
function fs_size {
    local bytes
    bytes=$(qemu-img info --output=json "$1" 2>/dev/null | sed -n 's/^ *"virtual-size": *\([0-9]*\),*$/\1/p' | head -1)
    [ -n "$bytes" ] || bytes=$(stat -L -c %s -- "$1") || return 1
    echo $(((bytes + 1048575) / 1048576))
}

# image_format FILE: raw, qcow2, …
function image_format {
    qemu-img info --output=json "$1" | sed -n 's/^    "format": *"\([^"]*\)",*$/\1/p' | head -1
}

# fs_du PATH: the MB that it takes up
function fs_du {
    du -sLm -- "$1" | cut -f1
}
