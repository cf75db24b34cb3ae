# Builds the images of infra/compose.yaml without an image registry. Sourced by run.sh, whose variables it uses.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are assigned in run.sh

# The Debian release of the final image in infra/docker/Dockerfile, and of the stand-ins.
readonly debian=bookworm

# image_of SERVICE: the image that infra/compose*.yaml name, with the registry that Docker would use.
image_of() {
    local image
    image=$("${compose[@]}" config --format json |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["services"][sys.argv[1]]["image"])' "$1")
    case $image in
    */*/*) ;;
    */*) image=docker.io/$image ;;
    *) image=docker.io/library/$image ;;
    esac
    printf '%s' "$image"
}

# is_current IMAGE INPUTS: whether the image exists and was built from these inputs.
is_current() {
    [ "$(podman image inspect --format '{{ index .Labels "inputs" }}' "$1" 2>/dev/null)" = "$2" ]
}

# A Debian root file system for the stand-ins of third-party images.
build_debian_root() {
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,busybox,libcap2-bin,postgresql \
        "$debian" "$work/root.tar" >>"$log" 2>&1
    podman import --quiet --change "LABEL inputs=$1" "$work/root.tar" localhost/chat-test/root >>"$log"
    rm "$work/root.tar"
}

# A stand-in for the base of our image: the same Debian release without a shell.
build_distroless() {
    mkdir "$work/distroless"
    mmdebstrap --quiet --variant=extract --include=libc6,libgcc-s1,base-files,netbase,tzdata,ca-certificates \
        "$debian" "$work/distroless" >>"$log" 2>&1
    # Packages are unpacked and not configured, so that this file is missing.
    cat "$work"/distroless/usr/share/ca-certificates/mozilla/*.crt >"$work/distroless/etc/ssl/certs/ca-certificates.crt"
    # As in the real image: the hosts file comes before DNS.
    echo 'hosts: files dns' >"$work/distroless/etc/nsswitch.conf"
    chmod 1777 "$work/distroless/tmp"
    tar -C "$work/distroless" -c . | podman import --quiet --change "LABEL inputs=$1" - "$2" >>"$log"
    rm -rf "$work/distroless"
}

# build_stand_in TARGET IMAGE: builds a target of standins/Containerfile.
build_stand_in() {
    podman build --quiet --network none --target "$1" --tag "$2" --file "$here/standins/Containerfile" \
        "$work/stand-ins" >>"$log"
}

# Our image: the final stage of the real Dockerfile around the binaries of the development profile.
build_ours() {
    local binary arch out
    arch=$(podman info --format '{{ .Host.Arch }}')
    out=$work/build/out/$arch
    mkdir -p "$out"
    for binary in functions archive gateway provision chatctl; do
        objcopy --strip-debug "$target/debug/$binary" "$out/$binary"
    done
    podman build --quiet --network none --build-arg "TARGETARCH=$arch" --build-context "build=$work/build" \
        --tag "$(image_of functions)" --file "$root/infra/docker/Dockerfile" "$work/build" >>"$log"
}

build_images() {
    local inputs base
    inputs=$(sha256sum <"$here/images.sh" | cut -c -16)
    base=$(sed -n 's/^FROM \(gcr[^ ]*\)$/\1/p' "$root/infra/docker/Dockerfile")
    is_current localhost/chat-test/root "$inputs" || build_debian_root "$inputs"
    is_current "$base" "$inputs" || build_distroless "$inputs" "$base"
    mkdir -p "$work/stand-ins"
    cp "$here"/standins/*.sh "$tools"/containers/bin/{caddy,weed} "$tools/bin/prometheus" "$work/stand-ins/"
    cp "$("$root/infra/setup.sh" nats-path)" "$work/stand-ins/nats-server"
    # Unchanged layers come from the engine's cache.
    build_stand_in nats "$(image_of nats)"
    build_stand_in caddy "$(image_of front)"
    build_stand_in postgres "$(image_of postgres)"
    build_stand_in storage "$(image_of storage)"
    build_stand_in prometheus "$(image_of prometheus)"
    build_ours
    # Images of earlier runs.
    podman image prune --force >>"$log"
}
