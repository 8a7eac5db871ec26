# Shared by the scripts beside it: say what is done before it is done, root where it is needed, Debian packages.
set -euo pipefail
PATH=$PATH:/usr/local/go/bin # where Go puts itself, and what cron and sudo leave out

say() { printf 'setup: %s\n' "$*" >&2; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

as_root() { # root runs it; others through sudo, which asks
  if ((EUID == 0)); then "$@"; elif command -v sudo > /dev/null; then sudo "$@"; else die "this needs root: $*"; fi
}

packages() { # COMMAND=PACKAGE...: installs the packages whose command is missing
  local pair missing=()
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%=*}" > /dev/null || missing+=("${pair#*=}")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get > /dev/null || die "install ${missing[*]} (this is no Debian: the names may differ)"
  say "installing Debian packages: ${missing[*]}"
  install_packages "${missing[@]}" || { as_root apt-get update -qq && install_packages "${missing[@]}"; }
}
install_packages() { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null; }

install_venv() { # PYTHON: Debian keeps the venv module in a package of its own
  local name
  name=$(basename "$("$1" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}")')")-venv
  command -v apt-get > /dev/null || die "$1 has no venv module: install it, or uv (https://docs.astral.sh/uv)"
  ((EUID == 0)) || die "$1 has no venv module: as root, \`apt install $name\`, or put uv on PATH (https://docs.astral.sh/uv)"
  say "installing Debian's $name"
  install_packages "$name" 2> /dev/null || { as_root apt-get update -qq && install_packages "$name"; }
}
