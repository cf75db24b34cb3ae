"""Tests of infra/release/release.py, which .github/workflows/release.yml runs.

    python3 tests/python/release.py
"""

import importlib.util
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "infra/release/release.py"
specification = importlib.util.spec_from_file_location("release", SCRIPT)
release = importlib.util.module_from_spec(specification)
specification.loader.exec_module(release)

CHANGELOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-02-01

### Added

- Two.

## [0.1.0] - 2026-01-01

- One.

[0.1.0]: https://example.com
"""


class Release(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.binaries = self.folder / "binaries"
        self.binaries.mkdir()
        for program in release.PROGRAMS:
            (self.binaries / program).write_text(f"#!/bin/sh\necho {program}\n")

    def package(self, out="out"):
        return release.package("x86_64-unknown-linux-gnu", self.binaries, self.folder / out)

    def test_an_archive_holds_programs_that_run(self):
        path = self.package()
        name = f"chatting-room-{release.version()}-x86_64-unknown-linux-gnu"
        self.assertEqual(path.name, f"{name}.tar.gz")
        subprocess.run(["tar", "-xzf", path, "-C", self.folder], check=True)
        found = sorted(file.name for file in (self.folder / name).iterdir())
        documents = ["CHANGELOG.md", "LICENSE", "README.md", "OPERATING.md", "systemd"]
        self.assertEqual(found, sorted([*release.PROGRAMS, *documents]))
        self.assertTrue((self.folder / name / "systemd/chatting-room.service").is_file())
        for program in release.PROGRAMS:
            output = subprocess.run([self.folder / name / program], check=True, capture_output=True, text=True).stdout
            self.assertEqual(output, f"{program}\n")

    def test_the_same_input_gives_the_same_bytes(self):
        first = self.package().read_bytes()
        for file in self.binaries.iterdir():
            file.touch()
        self.assertEqual(first, self.package("again").read_bytes())
        with tarfile.open(self.folder / "out" / self.package().name) as archive:
            self.assertEqual({(entry.uid, entry.gid, entry.mtime) for entry in archive}, {(0, 0, 0)})

    def test_a_missing_program_is_named(self):
        (self.binaries / "gateway").unlink()
        with self.assertRaisesRegex(release.Fault, "binaries/gateway"):
            self.package()

    def test_the_image_gets_the_servers_of_both_architectures(self):
        for target in release.ARCHITECTURES:
            release.package(target, self.binaries, self.folder / "out")
        release.context(self.folder / "out", self.folder / "context")
        found = sorted(str(file.relative_to(self.folder)) for file in self.folder.glob("context/out/*/*"))
        servers = ["archive", "chatctl", "functions", "gateway", "provision"]
        self.assertEqual(found, [f"context/out/{to}/{name}" for to in ("amd64", "arm64") for name in servers])
        for file in found:
            subprocess.run([self.folder / file], check=True, capture_output=True)

    def test_the_workflow_and_the_image_build_the_same_programs(self):
        for file, programs in [(".github/workflows/release.yml", release.PROGRAMS),
                               ("infra/docker/Dockerfile", release.SERVERS)]:
            built = re.findall(r"--bin (\w+)", (release.ROOT / file).read_text())
            self.assertEqual(sorted(built), programs, file)

    def test_an_image_of_one_architecture_is_refused(self):
        self.package()
        with self.assertRaisesRegex(release.Fault, "aarch64"):
            release.context(self.folder / "out", self.folder / "context")

    def test_functions_get_names_for_a_release(self):
        for name in ["arm64/rooms", "arm64/files", "x86_64/rooms"]:
            folder = self.folder / "lambda" / name
            folder.mkdir(parents=True)
            (folder / "bootstrap.zip").write_text(name)
        release.lambdas(self.folder / "lambda", self.folder / "out")
        prefix = f"chatting-room-{release.version()}-lambda"
        found = {file.name: file.read_text() for file in (self.folder / "out").iterdir()}
        self.assertEqual(found, {f"{prefix}-arm64-rooms.zip": "arm64/rooms", f"{prefix}-arm64-files.zip": "arm64/files",
                                 f"{prefix}-x86_64-rooms.zip": "x86_64/rooms"})
        with self.assertRaisesRegex(release.Fault, "make lambda"):
            release.lambdas(self.folder / "binaries", self.folder / "out")

    def test_checksums_are_those_of_sha256sum(self):
        path = self.package()
        release.checksums(path.parent)
        release.checksums(path.parent)
        check = ["shasum", "-a", "256", "--check"] if sys.platform == "darwin" else ["sha256sum", "--check", "--strict"]
        subprocess.run([*check, "SHA256SUMS"], cwd=path.parent, check=True, capture_output=True)
        path.write_bytes(b"changed")
        self.assertNotEqual(subprocess.run([*check, "SHA256SUMS"], cwd=path.parent, capture_output=True).returncode, 0)

    def test_notes_are_one_section_of_the_changelog(self):
        self.assertEqual(release.section("0.2.0", CHANGELOG), "### Added\n\n- Two.")
        self.assertEqual(release.section("0.1.0", CHANGELOG), "- One.")
        for missing in ["0.3.0", "Unreleased", "0.2"]:
            with self.assertRaises(release.Fault):
                release.section(missing, CHANGELOG)

    def test_the_changelog_has_a_section_for_the_next_release(self):
        self.assertIn("### Added", release.notes("Unreleased"))

    def test_a_tag_must_be_the_version(self):
        for tag in ["v9.9.9", release.version(), f"v{release.version()}-rc1"]:
            with self.assertRaisesRegex(release.Fault, "the tag is"):
                release.check_tag(tag)

    def test_wrong_arguments_print_the_usage(self):
        for arguments in [[], ["publish"], ["notes"], ["package", "x"]]:
            ended = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True)
            self.assertEqual(ended.returncode, 1)
            self.assertIn("infra/release/release.py package", ended.stderr)


if __name__ == "__main__":
    unittest.main()
