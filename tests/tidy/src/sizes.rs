//! Sizes of files, functions and lines.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::workspace::Workspace;

pub const FILE_LINES: usize = 400;
pub const FUNCTION_LINES: usize = 70;
pub const COLUMNS: usize = 120;

/// Files that are written by hand and read as code.
const CODE: [&str; 5] = ["rs", "ts", "svelte", "mjs", "sh"];

/// Something of a size, and where it stands.
pub struct Sized {
    pub place: String,
    pub size: usize,
}

impl std::fmt::Display for Sized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.place, self.size)
    }
}

/// Files with more than `limit` lines, biggest first.
pub fn long_files(workspace: &Workspace, limit: usize) -> anyhow::Result<Vec<Sized>> {
    let mut long = Vec::new();
    for file in workspace.files(&CODE)? {
        let size = std::fs::read_to_string(&file)?.lines().count();
        if size > limit {
            long.push(Sized { place: workspace.relative(&file), size });
        }
    }
    long.sort_by_key(|file| std::cmp::Reverse(file.size));
    Ok(long)
}

/// Lines of more than [`COLUMNS`] characters.
pub fn long_lines(workspace: &Workspace) -> anyhow::Result<Vec<Sized>> {
    let mut long = Vec::new();
    for file in workspace.files(&CODE)? {
        for (number, line) in std::fs::read_to_string(&file)?.lines().enumerate() {
            let size = line.chars().count();
            if size > COLUMNS {
                let place = format!("{}:{}", workspace.relative(&file), number + 1);
                long.push(Sized { place, size });
            }
        }
    }
    Ok(long)
}

/// All functions of the files, longest first.
pub fn functions(workspace: &Workspace, files: &[PathBuf]) -> anyhow::Result<Vec<Sized>> {
    let mut found = Vec::new();
    for file in files {
        let name = workspace.relative(file);
        add_functions(&parse(file)?, &name, &mut found);
    }
    found.sort_by_key(|function| std::cmp::Reverse(function.size));
    Ok(found)
}

pub fn parse(file: &Path) -> anyhow::Result<TokenStream> {
    let text = std::fs::read_to_string(file)?;
    let tokens = text.parse::<TokenStream>();
    tokens.map_err(|error| anyhow::anyhow!("cannot parse {}: {error}", file.display()))
}

/// A function is `fn`, a name, and the next block; it counts from `fn` to the closing brace.
fn add_functions(tokens: &TokenStream, file: &str, found: &mut Vec<Sized>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            add_functions(&group.stream(), file, found);
        }
        let TokenTree::Ident(keyword) = token else { continue };
        if keyword != "fn" {
            continue;
        }
        let is_end = |token: &&TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        };
        let name = tokens.get(at + 1).map(ToString::to_string).unwrap_or_default();
        if let Some(TokenTree::Group(block)) = tokens[at..].iter().find(is_end) {
            let first = keyword.span().start().line;
            let size = block.span_close().end().line - first + 1;
            found.push(Sized { place: format!("{file}:{first} {name}"), size });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::add_functions;

    #[test]
    fn a_function_counts_from_its_signature_to_its_brace_also_in_a_macro() {
        let function = "/// Text.\n#[test]\nasync fn a<T>(\n    x: T,\n) {\n}\n";
        let text = format!("{function}m! {{\n  fn b() {{\n  }}\n}}\ntrait T {{ fn c(); }}");
        let mut found = Vec::new();
        add_functions(&text.parse().unwrap(), "x.rs", &mut found);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["x.rs:3 a (4)", "x.rs:8 b (2)"]);
    }
}
