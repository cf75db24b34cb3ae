//! Passes the commit of the sources to the code, as the variable `BUILD_COMMIT`: `GIT_COMMIT` if it is set, because a
//! container is built without the repository; otherwise git's answer, but for release builds only. A development build
//! would compile every crate again after each commit.

use std::process::Command;

/// Digits of a commit's id. Twelve are unique in any repository of this size.
const DIGITS: usize = 12;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=GIT_COMMIT");
    let given = std::env::var("GIT_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| match std::env::var("PROFILE").as_deref() {
        Ok("release") => head(),
        _ => None,
    });
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    let commit: String = commit.chars().take(DIGITS).collect();
    println!("cargo:rustc-env=BUILD_COMMIT={commit}");
}

/// The commit that is checked out.
fn head() -> Option<String> {
    // Git appends a line to this file whenever another commit is checked out.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
