#!/bin/sh
# install.sh WHAT PACKAGE... installs those of the Debian packages that are missing,
# and says so before; WHAT is what needs them. No service that comes with them is
# started, or enabled for the next boot. On a machine without apt it says what is
# missing, and leaves it at that: the tests skip what they cannot run.
set -eu
what=$1
shift

missing=
for p; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "$what: this machine has no apt-get. Of these Debian packages it may lack some:$missing" >&2
	exit 0
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
	command -v sudo >/dev/null || {
		echo "$what: installing$missing needs root, and there is no sudo: run it as root" >&2
		exit 1
	}
fi
apt() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@"
}

# The lists of packages are fetched only if they are missing or too old.
apt -s install $missing >/dev/null 2>&1 || {
	echo "$what: fetching the lists of Debian packages"
	apt update
}
plan=$(apt -s -o Debug::NoLocking=1 install $missing | sed -n 's/^Inst \([^ ]*\).*/\1/p')
size=$(apt -o Debug::NoLocking=1 --print-uris install $missing |
	awk '/^\x27/ { n += $3 } END { printf "%.0f", n / 1e6 }')
echo "$what: installing$missing: $(echo "$plan" | wc -l) packages in all, $size MB to fetch."
echo "$what: they stay installed. To remove them: apt-get purge --autoremove$missing"

# A policy keeps services from being started, for as long as it is there.
policy=/usr/sbin/policy-rc.d
if [ -e $policy ]; then policy=; else
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod +x $policy
	trap '$sudo rm -f $policy' EXIT
	trap 'exit 1' HUP INT TERM
fi

# What starts at boot: units that packages have enabled, other than systemd's own, and scripts.
enabled() {
	find /etc/systemd/system -path '*.wants/*' 2>/dev/null | sed 's,.*/,,' | while read -r unit; do
		[ ! -e "/var/lib/systemd/deb-systemd-helper-enabled/$unit.dsh-also" ] || echo "unit $unit"
	done
	find /etc/rc[0-9S].d -name 'S*' 2>/dev/null | sed 's,.*/S..,script ,'
}
before=$(enabled)
status=0
apt install $missing || { apt update && apt install $missing; } || status=$?
enabled | sort -u | while read -r kind name; do
	echo "$before" | grep -qxF "$kind $name" && continue
	case $kind in
	unit) $sudo env DPKG_MAINTSCRIPT_PACKAGE="$name" deb-systemd-helper disable "$name" >/dev/null ;;
	script) $sudo update-rc.d "$name" disable ;;
	esac
	echo "$what: $name came with these packages, and is disabled"
done
exit $status
