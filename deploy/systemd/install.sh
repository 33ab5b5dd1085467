#!/bin/sh
# Installs or removes ollama-exporter as a systemd service. See --help.
set -eu

usage() {
  cat <<'HELP'
Usage: install.sh FILE|URL [--sha256 HEX] [--root DIR] [--no-start]
       install.sh --remove [--purge] [--root DIR]

FILE or URL is an ollama-exporter executable or the .tar.gz of a release. It is verified against --sha256 or, by
default, against the SHA256SUMS file in the same directory, as found in releases.

  --sha256 HEX  expected checksum of FILE or URL
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
      if [ -z "$sha256" ]; then
        [ -f "$folder/SHA256SUMS" ] || fail "no SHA256SUMS found next to $source: use --sha256"
        cp "$folder/SHA256SUMS" "$work/SHA256SUMS"
      fi
      ;;
  esac
}

verify() {
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

install_service() {
  fetch
  verify
  executable=$(unpacked)
  [ -n "$executable" ] || fail "no ollama-exporter found in $name"
  chmod 755 "$executable"
  version=$("$executable" --version) || fail "$name does not run on this system"
  install -D -m 755 "$executable" "$root/usr/local/bin/ollama-exporter.new"
  # A rename, since the file of a running executable cannot be overwritten.
  mv "$root/usr/local/bin/ollama-exporter.new" "$root/usr/local/bin/ollama-exporter"
  install -D -m 644 "$here/ollama-exporter.service" "$root/etc/systemd/system/ollama-exporter.service"
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
  if in_running_system; then
    systemctl disable --now ollama-exporter.service || true
  elif [ -n "$root" ]; then
    systemctl --root="$root" disable ollama-exporter.service || true
  fi
  rm -f "$root/etc/systemd/system/ollama-exporter.service" "$root/usr/local/bin/ollama-exporter"
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
    *) source=$1 ;;
  esac
  shift
done

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "must be run as root: use sudo"
if [ "$remove" = yes ]; then
  remove_service
  exit
fi
[ -n "$source" ] || { usage >&2 && exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install_service
