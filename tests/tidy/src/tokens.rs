//! Paths and imports found in a stream of tokens. Tokens rather than syntax trees, because half of
//! the code may stand in the arguments of macros, which have no syntax tree.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use syn::{ItemUse, UseTree};

/// `a::b::c`, where it stands outside of a `use`.
pub struct PathUse {
    pub segments: Vec<String>,
    pub line: usize,
}

/// One name of a `use` declaration.
pub struct Import {
    /// The name that it declares; `None` for `*` and `_`.
    pub name: Option<String>,
    pub segments: Vec<String>,
    pub line: usize,
    pub is_glob: bool,
    /// Whether other modules can import the name from here, too.
    pub is_reexport: bool,
}

/// What a stream of tokens refers to.
#[derive(Default)]
pub struct Uses {
    pub paths: Vec<PathUse>,
    pub imports: Vec<Import>,
}

impl Uses {
    /// Adds all that `tokens` refer to.
    pub fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => self.attribute(&tokens, at),
                TokenTree::Group(group) => {
                    self.scan(group.stream());
                    at + 1
                }
                TokenTree::Ident(ident) if ident == "use" => self.declaration(&tokens, at),
                TokenTree::Ident(ident) => self.path(&tokens, at, ident),
                TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
            };
        }
    }

    fn attribute(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let Some(group) = bracketed(tokens, at + 1) else { return at + 1 };
        let name = group.stream().into_iter().next().map(|name| name.to_string());
        if name.as_deref() != Some("doc") {
            self.scan(group.stream());
            self.quoted_paths(group.stream());
        }
        at + 2
    }

    /// `#[serde(with = "crate::x")]`.
    fn quoted_paths(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.quoted_paths(group.stream()),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let text = text.trim_matches('"');
                    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                    if text.contains("::") && text.chars().all(is_path) {
                        let segments = text.split("::").map(str::to_owned).collect();
                        let line = literal.span().start().line;
                        self.paths.push(PathUse { segments, line });
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }

    /// A `use` declaration inside a function or a macro's arguments.
    fn declaration(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let is_end = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ';');
        let length = tokens[at..].iter().position(is_end);
        let Some(length) = length else { return at + 1 };
        let item: TokenStream = tokens[at..=at + length].iter().cloned().collect();
        if let Ok(item) = syn::parse2::<ItemUse>(item) {
            self.import(&item);
            return at + length + 1;
        }
        at + 1
    }

    pub fn import(&mut self, item: &ItemUse) {
        let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
        self.import_tree(&item.tree, Vec::new(), is_reexport);
    }

    fn import_tree(&mut self, tree: &UseTree, mut prefix: Vec<String>, is_reexport: bool) {
        let mut push =
            |name: Option<&Ident>, segments: Vec<String>, ident: Option<&Ident>, line| {
                let is_glob = ident.is_none();
                let name = name.filter(|name| *name != "_").map(ToString::to_string);
                let line = ident.map_or(line, |ident| ident.span().start().line);
                self.imports.push(Import { name, segments, line, is_glob, is_reexport });
            };
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import_tree(&path.tree, prefix, is_reexport);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import_tree(tree, prefix.clone(), is_reexport);
                }
            }
            UseTree::Name(name) if name.ident == "self" => {
                let last = prefix.last().cloned().unwrap_or_default();
                let last = Ident::new(&last, name.ident.span());
                push(Some(&last), prefix, Some(&last), 0);
            }
            UseTree::Name(name) => {
                prefix.push(name.ident.to_string());
                push(Some(&name.ident), prefix, Some(&name.ident), 0);
            }
            UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    prefix.push(rename.ident.to_string());
                }
                push(Some(&rename.rename), prefix, Some(&rename.ident), 0);
            }
            UseTree::Glob(glob) => {
                push(None, prefix, None, glob.star_token.spans[0].start().line);
            }
        }
    }

    fn path(&mut self, tokens: &[TokenTree], start: usize, first: &Ident) -> usize {
        if start > 0 && is_punct(tokens, start - 1, '.') && !is_punct_before(tokens, start, '.') {
            return start + 1;
        }
        if start > 0 && is_punct(tokens, start - 1, '\'') {
            return start + 1;
        }
        let mut segments = vec![first.to_string()];
        let mut at = start + 1;
        while is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':') {
            let Some(TokenTree::Ident(ident)) = tokens.get(at + 2) else { break };
            segments.push(ident.to_string());
            at += 3;
        }
        self.paths.push(PathUse { segments, line: first.span().start().line });
        at
    }
}

/// `..name` is a range or a pattern; `.name` is a field or a method.
fn is_punct_before(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    at >= 2 && is_punct(tokens, at - 2, wanted)
}

pub fn is_punct(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn bracketed(tokens: &[TokenTree], at: usize) -> Option<&Group> {
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => Some(group),
        _ => None,
    }
}

/// The tokens without the items that are compiled for tests only.
pub fn without_tests(tokens: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_punct(&tokens, at, '#')
            && bracketed(&tokens, at + 1).is_some_and(|group| is_test_only(group.stream()))
        {
            at = end_of_item(&tokens, at + 2);
            continue;
        }
        kept.push(match &tokens[at] {
            TokenTree::Group(group) => {
                let mut stripped = Group::new(group.delimiter(), without_tests(group.stream()));
                stripped.set_span(group.span());
                TokenTree::Group(stripped)
            }
            token => token.clone(),
        });
        at += 1;
    }
    kept.into_iter().collect()
}

/// Whether the content of an attribute is `cfg(test)` or `cfg(all(test, …))`.
pub fn is_test_only(attribute: TokenStream) -> bool {
    let text = attribute.to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// The index after the item that begins at `at`: after its block or its semicolon.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    tokens[at..].iter().position(is_end).map_or(tokens.len(), |length| at + length + 1)
}
