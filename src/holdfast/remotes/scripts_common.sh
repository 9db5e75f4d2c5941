#!/usr/bin/env bash
# What driver scripts expect under the name scripts_common.sh: names of programs, messages, commands here and on hosts.
# To be sourced.  The functions have the names and arguments that scripts written for OpenNebula use; a command is a
# text for bash.  A function named *_and_log ends the script with the command's exit code when the command fails.
# shellcheck disable=SC2034  # the variables are for the scripts that source this file

export LANG=C LC_ALL=C

SCRIPT_NAME=$(basename -- "$0")

# --- programs -------------------------------------------------------------------------------------------------------

# Scripts write "$SUDO $LVCREATE".  Where the hosts' user is not root although this one is, set SUDO in etc/tmrc.
if [ "$(id -u)" = 0 ]; then SUDO=${SUDO-}; else SUDO=${SUDO-sudo -n}; fi

AWK=${AWK:-awk}
BASH=${BASH:-/bin/bash}
BLKID=${BLKID:-blkid}
CAT=${CAT:-cat}
CEPH=${CEPH:-ceph}
CP=${CP:-cp}
CURL=${CURL:-curl}
CUT=${CUT:-cut}
DATE=${DATE:-date}
DD=${DD:-dd}
DF=${DF:-df}
DU=${DU:-du}
GREP=${GREP:-grep}
ISCSIADM=${ISCSIADM:-iscsiadm}
JQ=${JQ:-jq}
LN=${LN:-ln}
LVCREATE=${LVCREATE:-lvcreate}
LVCHANGE=${LVCHANGE:-lvchange}
LVEXTEND=${LVEXTEND:-lvextend}
LVREMOVE=${LVREMOVE:-lvremove}
LVRENAME=${LVRENAME:-lvrename}
LVS=${LVS:-lvs}
LVSCAN=${LVSCAN:-lvscan}
MD5SUM=${MD5SUM:-md5sum}
MKDIR=${MKDIR:-mkdir}
MKFS=${MKFS:-mkfs}
MKISOFS=${MKISOFS:-genisoimage}
MKSWAP=${MKSWAP:-mkswap}
MV=${MV:-mv}
NC=${NC:-nc}
QEMU_IMG=${QEMU_IMG:-qemu-img}
RADOS=${RADOS:-rados}
RBD=${RBD:-rbd}
READLINK=${READLINK:-readlink}
RM=${RM:-rm}
RSYNC=${RSYNC:-rsync}
SCP=${SCP:-scp}
SED=${SED:-sed}
SSH=${SSH:-ssh}
SSH_FWD=${SSH_FWD:-$SSH -o ForwardAgent=yes -o ControlMaster=no -o ControlPath=none}
SYNC=${SYNC:-sync}
TAR=${TAR:-tar}
TR=${TR:-tr}
VGDISPLAY=${VGDISPLAY:-vgdisplay}
VGS=${VGS:-vgs}
WGET=${WGET:-wget}

# --- messages -------------------------------------------------------------------------------------------------------

# log_function SEVERITY TEXT: a line for the VM's log; the lines of a longer text are joined, so that all carry it
function log_function {
    printf '%s: %s: %s\n' "$1" "$SCRIPT_NAME" "${2//$'\n'/ }" >&2
}

function log_info { log_function INFO "$1"; }
function log_debug { log_function DEBUG "$1"; }
function log_warn { log_function WARN "$1"; }
function log_error { log_function ERROR "$1"; }
function log { log_info "$1"; }

# error_message TEXT: what the operator is shown as the reason of the failure
function error_message {
    printf 'ERROR MESSAGE --8<------\n%s\nERROR MESSAGE ------>8--\n' "$1" >&2
}

# _failed COMMAND OUTPUT [MESSAGE]: tells of a command that failed
function _failed {
    log_error "Command \"$1\" failed: $2"
    error_message "${3:-Error executing $1: $2}"
}

# --- commands on this machine ---------------------------------------------------------------------------------------

# exec_and_log COMMAND [MESSAGE]
function exec_and_log {
    EXEC_LOG_RC=0
    EXEC_LOG_ERR=$(bash -c "$1" 2>&1 >/dev/null </dev/null) || EXEC_LOG_RC=$?
    [ $EXEC_LOG_RC -eq 0 ] && return 0
    _failed "$1" "$EXEC_LOG_ERR" "${2:-}"
    exit $EXEC_LOG_RC
}

# multiline_exec_and_log COMMANDS [MESSAGE]: as exec_and_log; the first command that fails ends it
function multiline_exec_and_log {
    exec_and_log "set -e -o pipefail
$1" "${2:-}"
}

# exec_and_set_error COMMAND [MESSAGE]: does not end the script; ERROR is empty, or says what went wrong
function exec_and_set_error {
    export ERROR=""
    EXEC_LOG_RC=0
    EXEC_LOG_ERR=$(bash -c "$1" 2>&1 >/dev/null </dev/null) || EXEC_LOG_RC=$?
    [ $EXEC_LOG_RC -eq 0 ] && return 0
    log_error "Command \"$1\" failed: $EXEC_LOG_ERR"
    ERROR=${2:-Error executing $1: $EXEC_LOG_ERR}
}

# timeout_exec_and_log SECONDS COMMAND [MESSAGE]: the command and all its children are killed when the time is up
function timeout_exec_and_log {
    EXEC_LOG_RC=0
    EXEC_LOG_ERR=$(timeout --kill-after=5 "$1" bash -c "$2" 2>&1 >/dev/null </dev/null) || EXEC_LOG_RC=$?
    case $EXEC_LOG_RC in
        0) return 0 ;;
        124 | 137) _failed "$2" "it did not end within $1 s" "${3:-Timeout executing $2}" ;;
        *) _failed "$2" "$EXEC_LOG_ERR" "${3:-}" ;;
    esac
    exit $EXEC_LOG_RC
}

# retry TIMES SECONDS WORD...: until it succeeds, with a pause between; its last exit code
function retry {
    local times=$1 pause=$2 code
    shift 2
    while true; do
        "$@" && return 0
        code=$?
        times=$((times - 1))
        [ "$times" -gt 0 ] || return $code
        sleep "$pause"
    done
}

# retry_if TEXT TIMES SECONDS WORD...: again only when it failed with this text among what it said
function retry_if {
    local text=$1 times=$2 pause=$3 said code
    shift 3
    while true; do
        code=0
        said=$("$@" 2>&1) || code=$?
        times=$((times - 1))
        if [ $code -eq 0 ] || [ "$times" -le 0 ] || [[ $said != *"$text"* ]]; then break; fi
        sleep "$pause"
    done
    [ $code -eq 0 ] && printf '%s\n' "$said"
    [ $code -eq 0 ] || printf '%s\n' "$said" >&2
    return $code
}

# exclusive LOCK SECONDS WORD...: runs it while no other script on this machine holds the lock of this name.  In this
# shell: what ends the script within ends it here, too.  Without the lock in time the script ends.
function exclusive {
    local lock limit=$2 code=0 descriptor
    lock=${ONE_LOCATION:-/var/lib/one}/var/lock.${1//\//-}
    exec {descriptor}>"$lock" || exit 1
    if ! flock -w "$limit" "$descriptor"; then
        log_error "the lock $1 was not free within $limit s"
        error_message "Another script holds the lock $1, waited $limit s for it"
        exit 1
    fi
    shift 2
    "$@" {descriptor}>&- || code=$?
    exec {descriptor}>&-
    return $code
}

# is_yes VALUE: YES or yes
function is_yes {
    [ "${1^^}" = YES ]
}

# monitor_and_log COMMANDS [MESSAGE]: as ssh_monitor_and_log, on this machine
function monitor_and_log {
    SSH=_here ssh_monitor_and_log here "$@"
}

function _here {
    shift
    "$@"
}

# get_destination_host [ID]: one of the hosts in BRIDGE_LIST, always the same for the same ID
function get_destination_host {
    local hosts
    read -ra hosts <<<"${BRIDGE_LIST:-}"
    [ ${#hosts[@]} -eq 0 ] || printf '%s\n' "${hosts[${1:-0} % ${#hosts[@]}]}"
}

# --- commands on a host ---------------------------------------------------------------------------------------------

# _on_host HOST COMMANDS [FILE]: runs them with bash there, after what the file holds; what they say on stderr is printed
function _on_host {
    {
        printf 'export LANG=C LC_ALL=C\n'
        [ -z "${3:-}" ] || cat -- "$3"
        printf '%s\n' "$2"
    } | { $SSH "$1" bash -s >/dev/null; } 2>&1
    return "${PIPESTATUS[1]}"
}

# ssh_exec_and_log_no_error HOST COMMANDS [MESSAGE]: as ssh_exec_and_log, but the script goes on; answers the exit code
function ssh_exec_and_log_no_error {
    SSH_EXEC_RC=0
    SSH_EXEC_ERR=$(_on_host "$1" "$2") || SSH_EXEC_RC=$?
    [ $SSH_EXEC_RC -eq 0 ] || _failed "$2" "$SSH_EXEC_ERR" "${3:-}"
    return $SSH_EXEC_RC
}

# ssh_exec_and_log HOST COMMANDS [MESSAGE]
function ssh_exec_and_log {
    ssh_exec_and_log_no_error "$@" || exit $SSH_EXEC_RC
}

# ssh_exec_and_log_stdin HOST COMMANDS FILE [MESSAGE]: the functions in the file are known to the commands
function ssh_exec_and_log_stdin {
    SSH_EXEC_RC=0
    SSH_EXEC_ERR=$(_on_host "$1" "$2" "$3") || SSH_EXEC_RC=$?
    [ $SSH_EXEC_RC -eq 0 ] && return 0
    _failed "$2" "$SSH_EXEC_ERR" "${4:-}"
    exit $SSH_EXEC_RC
}

# ssh_monitor_and_log HOST COMMANDS [MESSAGE]: prints what they print
function ssh_monitor_and_log {
    local kept
    kept=$(mktemp) || exit 1
    SSH_EXEC_RC=0
    SSH_EXEC_OUT=$(printf 'export LANG=C LC_ALL=C\n%s\n' "$2" | $SSH "$1" bash -s 2>"$kept") || SSH_EXEC_RC=$?
    SSH_EXEC_ERR=$(cat "$kept")
    rm -f "$kept"
    if [ $SSH_EXEC_RC -ne 0 ]; then
        _failed "$2" "$SSH_EXEC_ERR" "${3:-}"
        exit $SSH_EXEC_RC
    fi
    printf '%s\n' "$SSH_EXEC_OUT"
}

# ssh_forward WORD...: runs it with the SSH agent lent to the hosts it calls
function ssh_forward {
    SSH="$SSH_FWD" "$@"
}

# ssh_make_path HOST DIRECTORY [DRIVER]: makes it there; a driver's name says who monitors the datastore on the host
function ssh_make_path {
    local monitored=""
    [ -z "${3:-}" ] || monitored="printf '%s\n' $(printf '%q' "$3") > \"\$(dirname $(printf '%q' "$2"))/.monitor\""
    SSH_EXEC_RC=0
    SSH_EXEC_ERR=$(_on_host "$1" "set -e
if [ ! -d $(printf '%q' "$2") ]; then
    mkdir -p $(printf '%q' "$2")
fi
$monitored") || SSH_EXEC_RC=$?
    [ $SSH_EXEC_RC -eq 0 ] && return 0
    error_message "Error creating directory $2 at $1: $SSH_EXEC_ERR"
    exit $SSH_EXEC_RC
}

# --- disks ----------------------------------------------------------------------------------------------------------

# mkfs_command FILE FORMAT MEGABYTES [SUPPORTED_FS [FS [FS_OPTS]]]: prints the command that makes such a disk.
# FORMAT is raw, qcow2 or swap; with FS, which must be in the list SUPPORTED_FS, the disk gets a file system.
function mkfs_command {
    local file made size=${3:-0} format=$2 supported=${4:-} fs=${5:-} options=${6:-}
    file=$(printf '%q' "$1")
    case $format in
        swap)
            echo "$QEMU_IMG create -f raw $file ${size}M && $MKSWAP -L swap $file"
            return 0
            ;;
        raw | qcow2) ;;
        *)
            log_error "Cannot make a disk of format $format: use raw, qcow2 or swap"
            return 1
            ;;
    esac
    if [ -z "$fs" ]; then
        echo "$QEMU_IMG create -f $format $file ${size}M"
        return 0
    fi
    if [[ ",$supported," != *",$fs,"* ]]; then
        log_error "Cannot make a file system $fs: SUPPORTED_FS is ${supported:-empty}"
        return 1
    fi
    made="$QEMU_IMG create -f raw $file ${size}M && $MKFS -t $fs $options $file"
    [ "$format" = raw ] || made+=" && $QEMU_IMG convert -f raw -O qcow2 $file $file.new && $MV $file.new $file"
    echo "$made"
}
