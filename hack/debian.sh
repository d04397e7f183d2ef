# Sourced by the scripts that install Debian packages; they set `me`, the name
# that messages begin with. Nothing that is installed here is started, or asks.
# shellcheck shell=bash disable=SC2154

# lacking PROGRAM=PACKAGE...: prints the packages whose program is not there.
lacking() {
  local pair
  for pair; do
    command -v "${pair%%=*}" >/dev/null || echo "${pair#*=}"
  done
}

# not_installed PACKAGE...: prints those that dpkg does not know as installed.
not_installed() {
  local package
  command -v dpkg-query >/dev/null || return 0
  for package; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *" installed" ]] || echo "$package"
  done
}

install_packages() { # install_packages PACKAGE...
  local sudo=() log status=0
  (($# > 0)) || return 0
  if ! command -v apt-get >/dev/null; then
    echo "$me: these Debian packages are needed, or what your system calls them: $*" >&2
    return 1
  fi
  if ((EUID != 0)); then
    command -v sudo >/dev/null || { echo "$me: as root, run: apt-get install $*" >&2; return 1; }
    sudo=(sudo)
  fi
  echo "$me: installing $*" >&2
  local policy=/usr/sbin/policy-rc.d own_policy=
  if [[ ! -e $policy ]]; then
    own_policy=yes
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
    "${sudo[@]}" chmod 755 "$policy"
  fi
  log=$(mktemp)
  {
    echo 'postfix postfix/main_mailer_type select No configuration' | "${sudo[@]}" debconf-set-selections &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null || status=$?
  [[ -z $own_policy ]] || "${sudo[@]}" rm -f "$policy"
  ((status == 0)) || { cat "$log" >&2; echo "$me: could not install $*" >&2; }
  rm -f "$log"
  return "$status"
}

# download PACKAGE: its file into the current folder, with the lists brought up to
# date where they are too old for that.
download() {
  local sudo=()
  ((EUID == 0)) || sudo=(sudo)
  apt-get download -q "$1" || { "${sudo[@]}" apt-get update -qq && apt-get download -q "$1"; }
}

# unpack_packages DIR PACKAGE...: puts the files of each package below
# DIR/PACKAGE, without installing it: no script of it runs.
unpack_packages() {
  local dir=$1 package tmp
  shift
  for package; do
    [[ ! -e $dir/$package/.unpacked ]] || continue
    echo "$me: unpacking $package" >&2
    mkdir -p "$dir"
    tmp=$(mktemp -d "$dir/.$package.XXXXXX")
    if (cd "$tmp" && download "$package" && dpkg -x ./*.deb . && rm ./*.deb) >"$tmp.log" 2>&1; then
      touch "$tmp/.unpacked"
      rm -rf "${dir:?}/$package" "$tmp.log"
      mv "$tmp" "$dir/$package"
    else
      cat "$tmp.log" >&2
      rm -rf "$tmp" "$tmp.log"
      echo "$me: could not unpack $package" >&2
      return 1
    fi
  done
}
