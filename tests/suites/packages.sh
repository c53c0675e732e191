#!/bin/bash
# Installs the Debian packages that the named suites need: those that are missing. deps.sh has what the rest of
# paxfs needs; these are many, and only for who runs the suites.
set -euo pipefail

packages=()
for suite in "$@"; do
	case $suite in
	archive) packages+=(zip unzip tar acl attr libcap2-bin) ;;
	build) packages+=(gcc make) ;;
	dbench) packages+=(dbench) ;;
	editor) packages+=(vim) ;;
	fio) packages+=(fio) ;;
	git) packages+=(git) ;;
	pjdfstest) packages+=(perl acl) ;;
	postgres) packages+=(postgresql-15) ;;
	rsync) packages+=(rsync acl attr libcap2-bin) ;;
	sqlite) packages+=(sqlite3) ;;
	stress) packages+=(stress-ng) ;;
	esac
done

missing=()
for package in "${packages[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
		missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "suites: installing ${missing[*]}"
# PostgreSQL's package would start a server of its own: not here.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi
{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
	"${missing[@]}"; } || {
	echo "suites: could not install ${missing[*]}: is the network up? As root: apt-get install ${missing[*]}" >&2
	exit 1
}
