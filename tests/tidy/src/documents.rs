//! Names in the Markdown documents that no longer exist: links, paths, and items of the code.
//!
//! A code span with a path from the root of the repository must exist. Code spans that follow it directly name
//! items in that file: `protocol/src/subject.rs` `Shard`. A span like `Session::on_event` or `session.rs`
//! elsewhere must exist somewhere in the Rust sources.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::workspace::Workspace;

/// Files that documents name and that only exist once they were generated.
const GENERATED: [&str; 2] = ["infra/.env", "web/app/dist"];

/// All names that do not exist, each with its document and line.
pub fn dangling(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let sources = Sources::read(workspace)?;
    let mut found = Vec::new();
    for path in workspace.files(&["md"])? {
        let document = Document::read(workspace, &path)?;
        document.check_links(&mut found)?;
        document.check_spans(&sources, workspace, &mut found)?;
    }
    Ok(found)
}

/// The Rust files and all words in them.
struct Sources {
    files: Vec<PathBuf>,
    words: BTreeSet<String>,
}

impl Sources {
    fn read(workspace: &Workspace) -> anyhow::Result<Self> {
        let files = workspace.files(&["rs"])?;
        let mut words = BTreeSet::new();
        for file in &files {
            words.extend(words_of(&std::fs::read_to_string(file)?).map(str::to_owned));
        }
        Ok(Self { files, words })
    }
}

struct Document {
    path: PathBuf,
    name: String,
    /// The text with fenced code blocks blanked out, line by line.
    prose: String,
}

impl Document {
    fn read(workspace: &Workspace, path: &Path) -> anyhow::Result<Self> {
        let prose = without_fences(&std::fs::read_to_string(path)?);
        Ok(Self { path: path.to_owned(), name: workspace.relative(path), prose })
    }

    fn report(&self, before: &str, kind: &str, name: &str, found: &mut Vec<String>) {
        let line = before.matches('\n').count() + 1;
        found.push(format!("{}:{line} {kind} {name}", self.name));
    }

    /// Relative links: the file, and the heading if one is named.
    fn check_links(&self, found: &mut Vec<String>) -> anyhow::Result<()> {
        for (at, _) in self.prose.match_indices("](") {
            let rest = &self.prose[at + 2..];
            let Some((target, _)) = rest.split_once(')') else { continue };
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = self.path.parent().unwrap_or(Path::new(""));
            let file = if file.is_empty() { self.path.clone() } else { folder.join(file) };
            if !file.exists() || !(heading.is_empty() || has_heading(&file, heading)?) {
                self.report(&self.prose[..at], "link", target, found);
            }
        }
        Ok(())
    }

    fn check_spans(
        &self,
        sources: &Sources,
        workspace: &Workspace,
        found: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        // Text and code spans alternate.
        let (mut at, mut between) = (0, "");
        // The file whose items the next spans name, while nothing but blanks is between.
        let mut file: Option<(String, BTreeSet<String>)> = None;
        for (index, piece) in self.prose.split('`').enumerate() {
            let start = at;
            at += piece.len() + 1;
            if index % 2 == 0 {
                between = piece;
                continue;
            }
            let before = &self.prose[..start];
            if is_path(workspace, piece) {
                let path = workspace.root.join(piece);
                if !path.exists() && !GENERATED.contains(&piece) {
                    self.report(before, "path", piece, found);
                }
                file = match path.is_file() {
                    true => {
                        let text = std::fs::read_to_string(&path)?;
                        Some((piece.to_owned(), words_of(&text).map(str::to_owned).collect()))
                    }
                    false => None,
                };
                continue;
            }
            file = file.filter(|_| between.trim().is_empty());
            let segments: Vec<&str> = piece.split("::").collect();
            if !segments.iter().all(|segment| is_identifier(segment)) {
                let is_file = piece.ends_with(".rs") && !piece.contains([' ', '*']);
                if is_file && !sources.files.iter().any(|source| source.ends_with(piece)) {
                    self.report(before, "file", piece, found);
                }
            } else if let Some((name, words)) = &file {
                if !segments.iter().all(|segment| words.contains(*segment)) {
                    self.report(before, "item", &format!("{piece} of {name}"), found);
                }
            } else if segments.len() > 1
                && !segments.iter().all(|segment| sources.words.contains(*segment))
            {
                self.report(before, "item", piece, found);
            }
        }
        Ok(())
    }
}

fn without_fences(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_fence || is_code { "" } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Whether a code span is a path from the root: its first part is a folder there.
fn is_path(workspace: &Workspace, span: &str) -> bool {
    let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c));
    let first = span.split_once('/').map(|(first, _)| first).filter(|first| !first.is_empty());
    is_plain && first.is_some_and(|first| workspace.root.join(first).is_dir())
}

/// Whether a document has the heading of a link's anchor, as GitHub derives anchors from headings.
fn has_heading(file: &Path, anchor: &str) -> anyhow::Result<bool> {
    let text = without_fences(&std::fs::read_to_string(file)?);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut anchors = headings.map(|heading| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    });
    Ok(anchors.any(|found| found == anchor))
}
