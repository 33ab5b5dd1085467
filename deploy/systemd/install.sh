#!/bin/sh
# Installs ollama-exporter as a systemd service, or removes it again. Run with --help.
set -eu

usage() {
  cat <<'HELP'
Usage: install.sh FILE|URL [--sha256 HEX] [--root DIR] [--no-start]
       install.sh --remove [--purge] [--root DIR]

FILE or URL is an executable of ollama-exporter, or a release's .tar.gz that has one in it. Its checksum is looked up in
the SHA256SUMS beside it, which a release has, unless --sha256 gives it. Nothing is installed that does not match.

  --sha256 HEX  the checksum that FILE or what URL leads to must have
  --no-start    install and enable, start it with the next boot
  --root DIR    install below DIR, for an image; systemd is not asked to do anything there but enable
  --remove      stop and remove the service; its settings stay
  --purge       remove its settings and logs, too

Settings are in /etc/ollama-exporter/ollama-exporter.env; an installation leaves those that are there alone.
HELP
}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

# Where systemd runs: a root of its own is an image, or a test.
in_running_system() {
  [ -z "$root" ] && [ -d /run/systemd/system ]
}

download() {
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --output "$2" "$1"
  elif command -v wget >/dev/null; then
    wget --quiet --output-document="$2" "$1"
  else
    fail "neither curl nor wget is there to download $1"
  fi
}

# Puts the file into the work folder, with the SHA256SUMS beside it if it is needed.
fetch() {
  name=${source##*/}
  case $source in
    http://* | https://*)
      download "$source" "$work/$name" || fail "cannot download $source"
      [ -n "$sha256" ] || download "${source%/*}/SHA256SUMS" "$work/SHA256SUMS" ||
        fail "there is no SHA256SUMS beside $source: give --sha256"
      ;;
    *)
      [ -f "$source" ] || fail "there is no file $source"
      cp "$source" "$work/$name"
      folder=$(dirname "$source")
      if [ -z "$sha256" ]; then
        [ -f "$folder/SHA256SUMS" ] || fail "there is no SHA256SUMS beside $source: give --sha256"
        cp "$folder/SHA256SUMS" "$work/SHA256SUMS"
      fi
      ;;
  esac
}

verify() {
  wanted=$sha256
  if [ -z "$wanted" ]; then
    # Binary mode marks names with a star.
    wanted=$(awk -v name="$name" '$2 == name || $2 == "*" name { print $1 }' "$work/SHA256SUMS")
    [ -n "$wanted" ] || fail "SHA256SUMS does not name $name"
  fi
  echo "$wanted  $work/$name" | sha256sum --check --status 2>/dev/null ||
    fail "$name does not have the checksum $wanted: it is damaged, or another file"
}

# Gives the path of the executable.
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
  [ -n "$executable" ] || fail "there is no ollama-exporter in $name"
  chmod 755 "$executable"
  version=$("$executable" --version) || fail "$name does not run on this machine"
  install -D -m 755 "$executable" "$root/usr/local/bin/ollama-exporter.new"
  # A running one keeps its file until it ends.
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
    -*) fail "unknown argument $1; --help lists what is accepted" ;;
    *) source=$1 ;;
  esac
  shift
done

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "only root can install a service: use sudo"
if [ "$remove" = yes ]; then
  remove_service
  exit
fi
[ -n "$source" ] || { usage >&2 && exit 2; }
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install_service
