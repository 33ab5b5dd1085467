#!/bin/sh
# Installs or removes ollama-exporter as a systemd service. See --help.
set -eu

usage() {
  cat <<'HELP'
Usage: install.sh [FILE|URL] [--sha256 HEX] [--root DIR] [--no-start]
       install.sh --remove [--purge] [--root DIR]

Without FILE or URL, installs the executable of the unpacked archive that this script is in. FILE or URL is another
ollama-exporter executable or the .tar.gz of a release. It is verified against --sha256 or, by default, against the
SHA256SUMS file in the same directory, as found in releases.

  --sha256 HEX  expected checksum
  --no-start    install and enable the service, but do not start it
  --root DIR    install into DIR, such as the root of an image; enables the service, but does not start it
  --remove      stop and remove the service, but keep its settings
  --purge       with --remove: also remove its settings and logs

Settings are in /etc/ollama-exporter/ollama-exporter.env. An existing file is not changed.
HELP
}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

# Reports whether to act on the running systemd rather than on an image.
in_running_system() {
  [ -z "$root" ] && [ -d /run/systemd/system ]
}

download() {
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --output "$2" "$1"
  elif command -v wget >/dev/null; then
    wget --quiet --output-document="$2" "$1"
  else
    fail "cannot download $1: neither curl nor wget found"
  fi
}

# Copies the file, and SHA256SUMS if needed, into the work directory.
fetch() {
  name=${source##*/}
  case $source in
    http://* | https://*)
      download "$source" "$work/$name" || fail "cannot download $source"
      [ -n "$sha256" ] || download "${source%/*}/SHA256SUMS" "$work/SHA256SUMS" ||
        fail "no SHA256SUMS found next to $source: use --sha256"
      ;;
    *)
      [ -f "$source" ] || fail "file not found: $source"
      cp "$source" "$work/$name"
      folder=$(dirname "$source")
      if [ -z "$sha256" ] && ! is_own; then
        [ -f "$folder/SHA256SUMS" ] || fail "no SHA256SUMS found next to $source: use --sha256"
        cp "$folder/SHA256SUMS" "$work/SHA256SUMS"
      fi
      ;;
  esac
}

# Reports whether the file is of the same archive as this script, and as trustworthy.
is_own() {
  [ "$(readlink -f -- "$source")" = "$(readlink -f -- "$own")" ]
}

verify() {
  if [ -z "$sha256" ] && is_own; then return; fi
  wanted=$sha256
  if [ -z "$wanted" ]; then
    # A star before the name marks binary mode.
    wanted=$(awk -v name="$name" '$2 == name || $2 == "*" name { print $1 }' "$work/SHA256SUMS")
    [ -n "$wanted" ] || fail "no checksum for $name in SHA256SUMS"
  fi
  echo "$wanted  $work/$name" | sha256sum --check --status 2>/dev/null ||
    fail "checksum mismatch: $name does not have the SHA-256 checksum $wanted"
}

# Prints the path of the executable.
unpacked() {
  case $name in
    *.tar.gz)
      mkdir "$work/archive"
      tar -xzf "$work/$name" -C "$work/archive"
      find "$work/archive" -type f -name ollama-exporter
      ;;
    *) echo "$work/$name" ;;
  esac
}

# Prints a line for each file that archives have next to this script's folder: where it is there, and where it belongs.
extras() {
  cat <<'FILES'
man/ollama-exporter.1 share/man/man1/ollama-exporter.1
completions/ollama-exporter.bash share/bash-completion/completions/ollama-exporter
completions/_ollama-exporter share/zsh/site-functions/_ollama-exporter
completions/ollama-exporter.fish share/fish/vendor_completions.d/ollama-exporter.fish
FILES
}

install_service() {
  fetch
  verify
  executable=$(unpacked)
  [ -n "$executable" ] || fail "no ollama-exporter found in $name"
  installed=$root/usr/local/bin/ollama-exporter
  install -D -m 755 "$executable" "$installed.new"
  # Not in the work directory: nothing can be executed there if /tmp is mounted with noexec.
  if ! version=$("$installed.new" --version); then
    rm "$installed.new"
    fail "$name does not run on this system"
  fi
  # A rename, since the file of a running executable cannot be overwritten.
  mv "$installed.new" "$installed"
  for unit in ollama-exporter.service ollama-exporter.socket; do
    install -D -m 644 "$here/$unit" "$root/etc/systemd/system/$unit"
  done
  extras | while read -r file place; do
    if [ -f "$here/../$file" ]; then install -D -m 644 "$here/../$file" "$root/usr/local/$place"; fi
  done
  settings=$root/etc/ollama-exporter/ollama-exporter.env
  [ -e "$settings" ] || install -D -m 644 "$here/ollama-exporter.env" "$settings"
  if in_running_system; then
    systemctl daemon-reload
    systemctl enable ollama-exporter.service
    [ "$start" = no ] || systemctl restart ollama-exporter.service
  elif [ -n "$root" ]; then
    systemctl --root="$root" enable ollama-exporter.service
  fi
  echo "Installed $version"
  echo "Settings: $settings"
}

remove_service() {
  # The socket first: a connection would start the service again.
  for unit in ollama-exporter.socket ollama-exporter.service; do
    [ -e "$root/etc/systemd/system/$unit" ] || continue
    if in_running_system; then
      systemctl disable --now "$unit" || true
    elif [ -n "$root" ]; then
      systemctl --root="$root" disable "$unit" || true
    fi
    rm -f "$root/etc/systemd/system/$unit"
  done
  rm -f "$root/usr/local/bin/ollama-exporter"
  extras | while read -r _ place; do rm -f "$root/usr/local/$place"; done
  if [ "$purge" = yes ]; then
    rm -rf "$root/etc/ollama-exporter" "$root/var/log/ollama-exporter" "$root/var/log/private/ollama-exporter"
  fi
  if in_running_system; then systemctl daemon-reload; fi
  echo "Removed ollama-exporter"
}

source='' sha256='' root='' start=yes remove=no purge=no
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage && exit 0 ;;
    --sha256 | --root)
      [ $# -ge 2 ] || fail "$1 needs a value"
      if [ "$1" = --root ]; then root=${2%/}; else sha256=$2; fi
      shift
      ;;
    --no-start) start=no ;;
    --remove) remove=yes ;;
    --purge) purge=yes ;;
    -*) fail "unknown argument $1: see --help" ;;
    *)
      [ -z "$source" ] || fail "unexpected argument $1: one FILE or URL is installed, $source"
      [ -n "$1" ] || fail "FILE is empty"
      source=$1
      ;;
  esac
  shift
done

if [ "$remove" = yes ]; then
  [ "$source$sha256$start" = yes ] || fail "--remove takes --purge and --root only"
elif [ "$purge" = yes ]; then
  fail "--purge needs --remove"
fi
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "must be run as root: use sudo"
if [ "$remove" = yes ]; then
  remove_service
  exit
fi
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
own=$here/../ollama-exporter
if [ -z "$source" ]; then
  [ -f "$own" ] || fail "no ollama-exporter found next to $here: name a FILE or URL, see --help"
  source=$own
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install_service
