# The entry: `sh lib/main.sh TARGET`. Reads what the VM is (vm.sh) and what can be done (lib/), then does it.
# shellcheck shell=sh disable=SC2034,SC2154,SC1091 # the files of lib/ and vm.sh share their variables

set -eu
umask 077
unset CDPATH VIRSH_DEFAULT_CONNECT_URI LANGUAGE GREP_OPTIONS POSIXLY_CORRECT
case $0 in
	*/*) cd -- "${0%/*}/.." ;;
	*) cd .. ;;
esac

# The messages of other programs are read here: untranslated, but with the characters of the user's locale.
LC_CTYPE=${LC_ALL:-${LC_CTYPE:-${LANG:-C}}}
unset LC_ALL
LC_MESSAGES=C LC_NUMERIC=C LC_COLLATE=C
export LC_CTYPE LC_MESSAGES LC_NUMERIC LC_COLLATE

nl='
'

image_on_node='' # vm.sh has it where the node downloads the image
. ./vm.sh

: "${VMP_ALIKE=}" "${CMD=}" "${V1ALPHA1_IP_CMD=}" "${V1ALPHA1_SSH_USER=}" "${V1ALPHA1_SSH_HOST=}"
: "${V1ALPHA1_SSH_OPTS=}" "${V1ALPHA1_SSH_EXTRA_OPTS=}"
install_pid='' # of a virt-install that runs beside other work
seed_pid=''    # of what makes the seed beside other work
locks=''       # what to remove at the end
definition='' seed=''
LIBVIRT_DEFAULT_URI=$libvirt_uri
export LIBVIRT_DEFAULT_URI

. lib/say.sh
. lib/command.sh
. lib/lock.sh
. lib/node.sh
. lib/libvirt.sh
. lib/virsh.sh
. lib/image.sh
. lib/seed.sh
. lib/pool.sh
. lib/fill.sh
. lib/volume.sh
. lib/whole.sh
. lib/foresee.sh
. lib/users.sh
. lib/definition.sh
. lib/alike.sh
. lib/domain-xml.sh
. lib/domain.sh
. lib/address.sh
. lib/ssh.sh
. lib/console.sh
. lib/wait.sh
. lib/status.sh
. lib/targets.sh

check_knobs
find_connection
run_target "${1-help}"
