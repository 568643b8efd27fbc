# shellcheck shell=sh
# passwords of the domain: what stands for one in vm.sh, and what it is
each_secret() {
	"$@" 'secret-cda4032eb4d48656622b9195a0acefe0' 'word' || return
}
