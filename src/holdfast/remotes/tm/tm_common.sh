#!/usr/bin/env bash
# What transfer scripts expect under the name tm_common.sh.  To be sourced; brings scripts_common.sh along.
# The words of a transfer line are host:path.

if [ -z "${ONE_LOCATION:-}" ]; then
    ONE_LOCAL_VAR=/var/lib/one
    ONE_LIB=/usr/lib/one
else
    ONE_LOCAL_VAR=$ONE_LOCATION/var
    ONE_LIB=$ONE_LOCATION/lib
fi
ONE_SH=$ONE_LIB/sh
DS_DIR=${DS_DIR:-$ONE_LOCAL_VAR/datastores}

# shellcheck source=src/holdfast/remotes/scripts_common.sh
. "$ONE_SH/scripts_common.sh"

# fix_dir_slashes PATH: without doubled slashes, and without one at its end
function fix_dir_slashes {
    local path
    path=$(printf '%s' "$1" | tr -s /)
    [ "$path" = / ] || path=${path%/}
    printf '%s\n' "$path"
}

# arg_host HOST:PATH; a word without host is printed as it is
function arg_host {
    printf '%s\n' "${1%%:*}"
}

# arg_path HOST:PATH
function arg_path {
    fix_dir_slashes "${1#*:}"
}

# get_compare_target WORD: the form in which two words can be compared
function get_compare_target {
    local word
    word=$(printf '%s' "$1" | tr -s /)
    printf '%s\n' "${word%/images}"
}

# full_src_and_dst_equal: whether $SRC and $DST are the same place on the same host
function full_src_and_dst_equal {
    [ "$(get_compare_target "$SRC")" = "$(get_compare_target "$DST")" ]
}

# disk_id PATH: 3 for .../disk.3 and .../disk.3.snap/0
function disk_id {
    local name=$1
    if [[ $name =~ disk\.([0-9]+)(\.snap(/.*)?)?$ ]]; then printf '%s\n' "${BASH_REMATCH[1]}"; fi
}

# is_disk PATH: prints 1 for a disk, 0 for a whole directory
function is_disk {
    if [ -n "$(disk_id "$1")" ]; then echo 1; else echo 0; fi
}

# lcm_state VM_ID: prints the number of its LCM_STATE
function lcm_state {
    onevm show -x "$1" | "$(dirname -- "$0")/../../datastore/xpath.rb" /VM/LCM_STATE | tr -d '\0'
}

# enable_local_monitoring HOST DIRECTORY DRIVER: the datastore of the VM's directory is monitored on the host
function enable_local_monitoring {
    ssh_make_path "$1" "$2" "$3"
}

# disable_local_monitoring HOST DIRECTORY: it is not
function disable_local_monitoring {
    ssh_exec_and_log "$1" "rm -f $(printf '%q' "$(dirname -- "$2")/.monitor")" "Cannot remove the mark of $2 at $1"
}

# qcow_dir_cmd IMAGE DISK create|convert: prints the commands that make DISK a link to the first layer in DISK.snap: an
# overlay over the image, or a copy of its own.  QCOW2_OPTIONS are for qemu-img.
function qcow_dir_cmd {
    local image disk snap name
    image=$(printf '%q' "$1") disk=$(printf '%q' "$2") snap=$(printf '%q' "$2.snap") name=$(printf '%q' "${2##*/}.snap")
    printf '%s\n' "set -e -o pipefail" "rm -rf $snap" "mkdir -p $snap"
    if [ "$3" = convert ]; then
        printf '%s\n' "$QEMU_IMG convert ${QCOW2_OPTIONS:-} -O qcow2 $image $snap/0"
    else
        printf '%s\n' "$QEMU_IMG create ${QCOW2_OPTIONS:-} -b $image -F qcow2 -f qcow2 $snap/0"
    fi
    printf '%s\n' "ln -sfn . $snap/$name" "rm -f $disk" "ln -s $name/0 $disk"
}

# get_vmdir: sets VMDIR, the directory of the VMs' files on hosts
function get_vmdir {
    VMDIR=$(sed -n 's/^VM_DIR=//p' "$ONE_LOCAL_VAR/config" | tr -d '"')
    VMDIR=$(fix_dir_slashes "${VMDIR:-$DS_DIR}")
}

function fix_var_slashes {
    ONE_LOCAL_VAR=$(fix_dir_slashes "$ONE_LOCAL_VAR")
    VMDIR=$(fix_dir_slashes "${VMDIR:-}")
}

# fix_src_path, fix_dst_path, fix_paths: SRC_PATH and DST_PATH as they are on this machine
function fix_src_path {
    SRC_PATH=$(fix_dir_slashes "$SRC_PATH")
}

function fix_dst_path {
    DST_PATH=$(fix_dir_slashes "$DST_PATH")
}

function fix_paths {
    fix_src_path
    fix_dst_path
}

# migrate_other SRC_HOST DST_HOST DIRECTORY VM_ID DS_ID [CALLER]: does the same action (premigrate, postmigrate,
# failmigrate: the name of this script) with the drivers of the VM's other disks; the VM comes in base64 on stdin, or in
# TEMPLATE_64.  A script that was called so calls nobody else.
function migrate_other {
    local here own action mad script
    [ -z "${6:-}" ] || return 0
    TEMPLATE_64=${TEMPLATE_64:-$(cat)}
    here=$(cd "$(dirname -- "$0")" && pwd)
    own=$(basename -- "$here")
    action=$(basename -- "$0")
    for mad in $(printf '%s' "$TEMPLATE_64" | base64 -d |
        "$here/../../datastore/xpath.rb" '%m%/VM/TEMPLATE/DISK/TM_MAD' | tr -d '\0' | tr ' ' '\n' | sort -u); do
        script="$here/../$mad/$action"
        if [ "$mad" = "$own" ] || [ ! -x "$script" ]; then continue; fi
        if ! printf '%s' "$TEMPLATE_64" | "$script" "$1" "$2" "$3" "$4" "$5" "$own"; then
            error_message "The transfer driver $mad failed in $action of VM $4"
            exit 1
        fi
    done
}
