//! Finds the SQL statements in the product's source code: every string literal that begins like a
//! statement, wherever it is, every statement that `concat!` joins from literals, and every `.sql` file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    str::FromStr as _,
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The statements of the product.
#[derive(Debug, Default)]
pub struct Statements {
    /// Whole statements, with the file of one occurrence.
    pub whole: BTreeMap<String, PathBuf>,
    /// Format strings of `format!`, which are statements only when their `{…}` are filled in.
    pub templates: BTreeMap<String, PathBuf>,
    /// Calls of the archive's macro `insert!`, which makes a different statement for each database.
    pub inserts: Vec<Insert>,
}

/// The literals of `insert!(tx, into, rows, |row| (kind: value, …), tail)`.
#[derive(Debug)]
pub struct Insert {
    pub into: String,
    /// The types of the columns.
    pub kinds: Vec<String>,
    pub tail: String,
}

/// A macro whose body is an expression of string literals and its parameters.
struct StringMacro {
    parameters: Vec<String>,
    body: Vec<TokenTree>,
}

type Macros = BTreeMap<String, StringMacro>;
type Arguments = BTreeMap<String, String>;

impl Statements {
    /// Reads all Rust and SQL files below these folders of the workspace, except tests.
    pub fn find(folders: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        folders.iter().for_each(|folder| source_files(&root.join(folder), &mut files));
        let is_sql = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "sql");
        let (sql, files): (Vec<_>, Vec<_>) = files.into_iter().partition(is_sql);
        let sources: Vec<(PathBuf, Vec<TokenTree>)> = files
            .into_iter()
            .map(|file| {
                let text = std::fs::read_to_string(&file).unwrap();
                let tokens =
                    TokenStream::from_str(&text).unwrap_or_else(|e| panic!("{file:?}: {e}"));
                (file, tokens.into_iter().collect())
            })
            .collect();
        let mut macros = Macros::new();
        sources.iter().for_each(|(_, tokens)| string_macros(tokens, &mut macros));
        let mut found = Self::default();
        for file in sql {
            found.whole.insert(std::fs::read_to_string(&file).unwrap(), file);
        }
        for (file, tokens) in &sources {
            found.scan(file, tokens, &macros);
        }
        found
    }

    fn scan(&mut self, file: &Path, tokens: &[TokenTree], macros: &Macros) {
        let mut index = 0;
        while index < tokens.len() {
            let rest = &tokens[index..];
            if let Some(skipped) = not_product_code(rest) {
                index += skipped;
            } else if let Some((name, arguments)) = macro_call(rest) {
                self.scan_macro(file, &name, arguments, rest, macros);
                index += 3;
            } else {
                match &rest[0] {
                    TokenTree::Group(group) => self.scan(file, &trees(group), macros),
                    token => self.add(file, text(token)),
                }
                index += 1;
            }
        }
    }

    fn scan_macro(
        &mut self,
        file: &Path,
        name: &str,
        arguments: &Group,
        call: &[TokenTree],
        macros: &Macros,
    ) {
        let tokens = trees(arguments);
        let template = tokens.first().and_then(text).filter(|text| is_statement(text));
        match template {
            _ if name == "insert" => self.inserts.push(insert(&tokens)),
            Some(template) if name == "format" => {
                self.templates.insert(template, file.to_owned());
            }
            _ => match evaluate(&call[..3], macros, &Arguments::new()) {
                Some(whole) => self.add(file, Some(whole)),
                None => self.scan(file, &tokens, macros),
            },
        }
    }

    fn add(&mut self, file: &Path, text: Option<String>) {
        if let Some(statement) = text.filter(|text| is_statement(text)) {
            self.whole.insert(statement, file.to_owned());
        }
    }
}

fn insert(tokens: &[TokenTree]) -> Insert {
    let mut literals = tokens.iter().filter_map(text);
    let columns = tokens.iter().rev().find_map(|token| match token {
        TokenTree::Group(group) if text(&trees(group)[0]).is_some() => Some(trees(group)),
        _ => None,
    });
    let columns = columns.expect("the columns of an insert");
    let kinds = columns.windows(2).filter(|pair| is_punct(pair.get(1), ':'));
    Insert {
        into: literals.next().expect("the beginning of an insert"),
        kinds: kinds.filter_map(|pair| text(&pair[0])).collect(),
        tail: literals.next_back().expect("the end of an insert"),
    }
}

fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test =
            path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
        if path.is_dir() && !path.ends_with("target") {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "sql")
            && !is_test
        {
            files.push(path);
        }
    }
}

fn is_statement(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    match first {
        "SELECT" | "WITH" | "UPDATE" => !second.is_empty(),
        "INSERT" => second == "INTO",
        "DELETE" => second == "FROM",
        _ => false,
    }
}

fn trees(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// The value of a string literal.
fn text(token: &TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = token else { return None };
    match syn::Lit::new(literal.clone()) {
        syn::Lit::Str(text) => Some(text.value()),
        _ => None,
    }
}

fn is_ident(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == name)
}

fn is_punct(token: Option<&TokenTree>, punct: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == punct)
}

/// `name!(…)`: the name and the group.
fn macro_call(tokens: &[TokenTree]) -> Option<(String, &Group)> {
    match tokens {
        [TokenTree::Ident(name), mark, TokenTree::Group(group), ..]
            if is_punct(Some(mark), '!') =>
        {
            Some((name.to_string(), group))
        }
        _ => None,
    }
}

/// The number of tokens at the start that are an attribute, a macro's definition or a test module.
fn not_product_code(tokens: &[TokenTree]) -> Option<usize> {
    if is_punct(tokens.first(), '#') {
        let attribute = 1 + usize::from(is_punct(tokens.get(1), '!'));
        let Some(TokenTree::Group(group)) = tokens.get(attribute) else { return None };
        let rest = &tokens[attribute + 1..];
        let is_test = group.stream().to_string().replace(' ', "") == "cfg(test)";
        let body = rest.iter().position(|token| {
            matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
        });
        let skipped = body.filter(|_| is_test && is_ident(rest.first(), "mod"));
        return Some(attribute + 1 + skipped.map_or(0, |body| body + 1));
    }
    let is_definition = is_ident(tokens.first(), "macro_rules") && is_punct(tokens.get(1), '!');
    is_definition.then_some(4)
}

/// Remembers every `macro_rules! name { ($a:literal, …) => { body } }` with a single rule.
fn string_macros(tokens: &[TokenTree], macros: &mut Macros) {
    for (index, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            string_macros(&trees(group), macros);
        }
        if !is_ident(Some(token), "macro_rules") {
            continue;
        }
        let [_, _, TokenTree::Ident(name), TokenTree::Group(rules), ..] = &tokens[index..] else {
            continue;
        };
        if let [TokenTree::Group(parameters), _, _, TokenTree::Group(body), end @ ..] =
            &trees(rules)[..]
            && end.len() <= 1
        {
            let parameters = trees(parameters);
            let names = parameters.windows(2).filter(|pair| is_punct(pair.first(), '$'));
            let parameters = names.map(|pair| pair[1].to_string()).collect();
            macros.insert(name.to_string(), StringMacro { parameters, body: trees(body) });
        }
    }
}

/// The string that an expression makes of literals, `concat!` and macros; none if it needs more.
fn evaluate(tokens: &[TokenTree], macros: &Macros, arguments: &Arguments) -> Option<String> {
    match tokens {
        [literal @ TokenTree::Literal(_)] => text(literal),
        [dollar, TokenTree::Ident(name)] if is_punct(Some(dollar), '$') => {
            arguments.get(&name.to_string()).cloned()
        }
        [_, _, _] => {
            let (name, group) = macro_call(tokens)?;
            let tokens = trees(group);
            let parts: Option<Vec<String>> = tokens
                .split(|token| is_punct(Some(token), ','))
                .filter(|part| !part.is_empty())
                .map(|part| evaluate(part, macros, arguments))
                .collect();
            let parts = parts?;
            if name == "concat" {
                return Some(parts.concat());
            }
            let StringMacro { parameters, body } = macros.get(&name)?;
            let is_complete = parameters.len() == parts.len();
            let arguments = parameters.iter().cloned().zip(parts).collect();
            is_complete.then(|| evaluate(body, macros, &arguments))?
        }
        _ => None,
    }
}

/// The names in `{…}` of a format string.
pub fn placeholders(template: &str) -> BTreeSet<&str> {
    let after = template.split('{').skip(1);
    after.filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect()
}
