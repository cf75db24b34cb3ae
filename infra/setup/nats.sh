# Finds or installs nats-server. Sourced by infra/setup.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are assigned in infra/setup.sh

# Older versions lack stream settings that are used here (async-nats 0.51 needs them) and lost acknowledged writes.
# infra/local/src/nats.rs has the same minimum.
readonly NATS_MIN=2.12.6

# nats_version PROGRAM: prints 2.15.1 for "nats-server: v2.15.1", and nothing if the program does not run.
nats_version() {
    "$1" --version 2>/dev/null | sed -n 's/^nats-server: v//p'
}

is_usable_nats() {
    local version
    [ -x "$1" ] && version=$(nats_version "$1") && [ -n "$version" ] && version_at_least "$version" "$NATS_MIN"
}

# Looks in NATS_SERVER, .tools, PATH, in this order, as `local` does. Sets $nats; fails if none is usable.
nats=
find_nats() {
    if [ -n "${NATS_SERVER:-}" ]; then
        is_usable_nats "$NATS_SERVER" ||
            die "NATS_SERVER=$NATS_SERVER is not a nats-server $NATS_MIN or newer that runs here; correct or unset it"
        nats=$NATS_SERVER
        return
    fi
    # .tools/bin is first in PATH, so it is found before the machine's own.
    nats=$(command -v nats-server) || return 1
    is_usable_nats "$nats" && return
    if [ "$nats" = "$tools/bin/nats-server" ]; then
        # An outdated copy in .tools must not hide a newer one on the machine.
        rm -f "$nats"
        hash -r
        find_nats
        return
    fi
    return 1
}

# write_rolling_sources FOLDER: writes apt sources of the distribution's rolling release, on the mirrors that this
# machine already uses. Entries are copied with their options, keys and mirrors; only release and components change.
write_rolling_sources() {
    local id id_like codename release components
    # shellcheck disable=SC1091 # not part of the repository
    eval "$(. /etc/os-release && printf 'id=%q id_like=%q codename=%q' \
        "$ID" "${ID_LIKE:-}" "${UBUNTU_CODENAME:-${VERSION_CODENAME:-}}")"
    case " $id $id_like " in
    *' ubuntu '*) release=devel components='main universe' ;;
    *' debian '*) release=sid components=main ;;
    *) return 1 ;;
    esac

    local file
    : >"$1/rolling.list"
    : >"$1/rolling.sources"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$file" ] || continue
        awk -v codename="$codename" -v release="$release" -v components="$components" '
            $1 != "deb" { next }
            {
                options = ""; at = 2
                if ($at ~ /^\[/) do options = options " " $at; while ($(at++) !~ /\]$/ && at <= NF)
                main = 0
                for (i = at + 2; i <= NF; i++) if ($i == "main") main = 1
                if (main && ($(at + 1) == codename || $(at + 1) ~ /^(stable|oldstable|testing|unstable|sid|devel)$/))
                    print "deb" options, $at, release, components
            }' "$file"
    done | sort -u >"$1/rolling.list"
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        awk -v codename="$codename" -v release="$release" -v components="$components" '
            BEGIN { RS = ""; FS = "\n" }
            {
                entry = "Types: deb\nSuites: " release "\nComponents: " components "\n"
                usable = 1; fits = 0; main = 0
                for (i = 1; i <= NF; i++) {
                    field = tolower($i)
                    if (field ~ /^#/) continue
                    if (field ~ /^enabled:[ \t]*(no|false|off|0)/) usable = 0
                    if (field ~ /^types:/) { if (field !~ /[ \t]deb([ \t]|$)/) usable = 0; continue }
                    if (field ~ /^suites:/) {
                        count = split(field, word, /[ \t]+/)
                        for (j = 2; j <= count; j++)
                            if (word[j] == codename || word[j] ~ /^(stable|oldstable|testing|unstable|sid|devel)$/)
                                fits = 1
                        continue
                    }
                    if (field ~ /^components:/) { if (field ~ /[ \t]main([ \t]|$)/) main = 1; continue }
                    entry = entry $i "\n"
                }
                if (usable && fits && main) print entry
            }' "$file"
    done >"$1/rolling.sources"
    [ -s "$1/rolling.list" ] || [ -s "$1/rolling.sources" ]
}

# The stable releases of Debian and Ubuntu package a nats-server that is too old; their rolling releases do not, and
# a Go program runs on either. The package is downloaded by apt with separate sources, lists and cache, and unpacked
# into .tools: nothing is installed, the machine's apt configuration stays as it is, root is not needed, and apt
# verifies the signatures.
install_nats_from_rolling_release() {
    local or_by_hand="put nats-server $NATS_MIN or newer on PATH yourself, or set NATS_SERVER to its path"
    { has_command apt-get && has_command dpkg; } || die "apt-get, which downloads nats-server, is missing: $or_by_hand"
    scratch=$(mktemp -d)
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/sources.d" "$scratch/unpacked"
    : >"$scratch/status"
    write_rolling_sources "$scratch" ||
        die "the apt sources hold no Debian or Ubuntu mirror to download nats-server from: $or_by_hand"
    mv "$scratch/rolling.list" "$scratch/sources.list"
    mv "$scratch/rolling.sources" "$scratch/sources.d/"
    {
        # Proxy settings and the like are taken over; hooks are not.
        apt-config dump | grep -E '^Acquire::(https?|ftp|Check-|Max-ValidTime|Retries|Force|Allow)' || true
        cat <<-CONF
			Dir::Etc::main "/dev/null";
			Dir::Etc::parts "/dev/null";
			Dir::Etc::preferences "/dev/null";
			Dir::Etc::preferencesparts "/dev/null";
			Dir::Etc::sourcelist "$scratch/sources.list";
			Dir::Etc::sourceparts "$scratch/sources.d";
			Dir::State "$scratch";
			Dir::State::lists "$scratch/lists";
			Dir::State::status "$scratch/status";
			Dir::Cache "$scratch/cache";
			Acquire::Languages "none";
			APT::Sandbox::User "root";
		CONF
    } >"$scratch/apt.conf"

    # The exit code is not reliable: a third party's mirror without that release fails the update, which is harmless,
    # and with all mirrors unreachable apt exits with 0. The check is whether a package list was downloaded.
    APT_CONFIG=$scratch/apt.conf run_logged apt-get --quiet update || true
    find "$scratch/lists" -name '*_Packages*' | grep -q . ||
        die_with_log "the package lists with nats-server could not be downloaded; you can $or_by_hand"
    (cd "$scratch" && APT_CONFIG=$scratch/apt.conf run_logged apt-get --quiet download nats-server) ||
        die_with_log "nats-server could not be downloaded; you can $or_by_hand"
    run_logged dpkg -x "$scratch"/nats-server_*.deb "$scratch/unpacked" ||
        die_with_log 'the nats-server package could not be unpacked'

    local fetched version
    fetched=$(find "$scratch/unpacked" -type f -name nats-server -perm -u+x | head -n 1)
    [ -n "$fetched" ] || die "the nats-server package contains no executable: $or_by_hand"
    version=$(nats_version "$fetched")
    [ -n "$version" ] || die "the newest packaged nats-server does not run on this system: $or_by_hand"
    version_at_least "$version" "$NATS_MIN" ||
        die "the newest packaged nats-server is $version, which is too old: $or_by_hand"
    # Renamed into place, so that a concurrent run never sees a partial file.
    mkdir -p "$tools/bin"
    mv "$fetched" "$tools/bin/nats-server.new.$$"
    mv "$tools/bin/nats-server.new.$$" "$tools/bin/nats-server"
    rm -rf "$scratch"
    scratch=
}

ensure_nats() {
    find_nats && return
    local missing="nats-server $NATS_MIN or newer is missing (every message passes through it)"
    if is_macos; then
        info "$missing: installing it with brew"
        brew_install nats-server nats-server
    else
        info "$missing: downloading it into .tools, without root"
        install_nats_from_rolling_release
    fi
    hash -r
    find_nats || die "nats-server $NATS_MIN or newer is still not found; PATH finds ${nats:-none}"
}
