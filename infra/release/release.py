#!/usr/bin/env python3
"""Steps of .github/workflows/release.yml that can be run and tested on any machine. Needs Python 3.9, no packages.

    infra/release/release.py version                       print the version; fails if files disagree on it
    infra/release/release.py tag v0.1.0                    check a tag against the version
    infra/release/release.py notes 0.1.0                   print the section of CHANGELOG.md
    infra/release/release.py package TARGET BINARIES OUT   write OUT/chatting-room-VERSION-TARGET.tar.gz
    infra/release/release.py context FOLDER OUT            unpack the archives for Linux as infra/docker/Dockerfile needs
    infra/release/release.py lambda FOLDER OUT             copy what `make lambda` built, with names for a release
    infra/release/release.py checksums FOLDER              write FOLDER/SHA256SUMS over all other files
"""

import gzip
import hashlib
import inspect
import os
import pathlib
import re
import shutil
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# `local` is the chat in one process; the others are the processes of a deployment.
PROGRAMS = ["archive", "chatctl", "functions", "gateway", "local", "provision"]
# The programs of the image, and the names that Docker has for the architectures.
SERVERS = ["archive", "chatctl", "functions", "gateway", "provision"]
ARCHITECTURES = {"x86_64-unknown-linux-gnu": "amd64", "aarch64-unknown-linux-gnu": "arm64"}
DOCUMENTS = ["CHANGELOG.md", "LICENSE", "README.md", "infra/README.md"]
# Every file that names the version, and the pattern that finds it.
VERSIONS = {
    "Cargo.toml": r'^version = "(.+)"$',
    "infra/helm/chatting-room/Chart.yaml": r"^(?:version|appVersion): (.+)$",
    "infra/k8s/production/kustomization.yaml": r"^    newTag: (.+)$",
}


class Fault(Exception):
    """A message for the person who makes the release."""


def version():
    found = {}
    for file, pattern in VERSIONS.items():
        for text in re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE):
            found.setdefault(text, []).append(file)
    if len(found) != 1:
        raise Fault(f"the files name different versions: {found}")
    return next(iter(found))


def check_tag(tag):
    expected = f"v{version()}"
    if tag != expected:
        raise Fault(f"the tag is {tag}, but the version in Cargo.toml needs {expected}")
    notes(tag[1:])


def notes(wanted):
    return section(wanted, (ROOT / "CHANGELOG.md").read_text())


def section(wanted, changelog):
    """The section of a version, without its heading."""
    sections = re.split(r"^## \[(.+?)\].*$", changelog, flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2])).get(wanted, "")
    # Definitions of links stand at the end of the file, below the last section.
    found = re.sub(r"^\[.+?\]: .*\n?", "", found, flags=re.MULTILINE).strip()
    if not found:
        raise Fault(f"CHANGELOG.md has no section, or an empty one, for {wanted}: rename [Unreleased]")
    return found


def package(target, binaries, out):
    """Writes the archive. The same input gives the same bytes: names are sorted, times and owners are fixed."""
    name = f"chatting-room-{version()}-{target}"
    files = [(pathlib.Path(binaries, program), program, 0o755) for program in PROGRAMS]
    files += [(ROOT / document, document.replace("infra/README", "OPERATING"), 0o644) for document in DOCUMENTS]
    # For `local` as a service.
    files += [(file, f"systemd/{file.name}", 0o644) for file in (ROOT / "infra/systemd").iterdir()]
    missing = [str(source) for source, _, _ in files if not source.is_file()]
    if missing:
        raise Fault(f"missing: {', '.join(missing)}")
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    path = pathlib.Path(out, f"{name}.tar.gz")
    changed = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    with open(path, "wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=changed) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for source, inside, mode in sorted(files, key=lambda entry: entry[1]):
                entry = tarfile.TarInfo(f"{name}/{inside}")
                entry.size, entry.mode, entry.mtime = source.stat().st_size, mode, changed
                with open(source, "rb") as content:
                    archive.addfile(entry, content)
    return path


def context(folder, out):
    """Unpacks the servers into OUT/out/ARCHITECTURE, so that the image holds the released binaries."""
    for target, architecture in ARCHITECTURES.items():
        name = f"chatting-room-{version()}-{target}"
        path = pathlib.Path(folder, f"{name}.tar.gz")
        if not path.is_file():
            raise Fault(f"missing: {path}")
        to = pathlib.Path(out, "out", architecture)
        to.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path) as archive:
            for program in SERVERS:
                file = to / program
                file.write_bytes(archive.extractfile(f"{name}/{program}").read())
                file.chmod(0o755)


def lambdas(folder, out):
    """Copies FOLDER/ARCHITECTURE/FUNCTION/bootstrap.zip."""
    found = sorted(pathlib.Path(folder).glob("*/*/bootstrap.zip"))
    if not found:
        raise Fault(f"{folder} holds no functions: run `make lambda`")
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    for path in found:
        architecture, function = path.parts[-3:-1]
        shutil.copyfile(path, pathlib.Path(out, f"chatting-room-{version()}-lambda-{architecture}-{function}.zip"))


def checksums(folder):
    """Writes SHA256SUMS in the format of `sha256sum --check`."""
    sums = pathlib.Path(folder, "SHA256SUMS")
    files = sorted(file for file in pathlib.Path(folder).iterdir() if file.is_file() and file != sums)
    if not files:
        raise Fault(f"{folder} is empty")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    sums.write_text("".join(lines))
    return sums


COMMANDS = {
    "version": version,
    "tag": check_tag,
    "notes": notes,
    "package": package,
    "context": context,
    "lambda": lambdas,
    "checksums": checksums,
}


def main():
    name, *arguments = sys.argv[1:] or [""]
    command = COMMANDS.get(name)
    if command is None or len(arguments) != len(inspect.signature(command).parameters):
        sys.exit(__doc__)
    try:
        result = command(*arguments)
    except Fault as fault:
        sys.exit(f"release: {fault}")
    if result is not None:
        print(result)


if __name__ == "__main__":
    main()
