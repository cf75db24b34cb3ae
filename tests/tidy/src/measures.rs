//! Numbers that show how the code base develops; no rule depends on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{ImplItem, Item};

use crate::{
    module::Crate,
    sizes::parse,
    tokens::{is_punct, without_tests},
    workspace::Package,
};

#[derive(Default)]
pub struct Numbers {
    pub files: usize,
    pub lines: usize,
    pub casts_to_i64: usize,
    pub casts_to_u64: usize,
    pub fields_pub_super: usize,
    pub macro_rules: usize,
}

/// Of one package: files and lines of all its Rust files, the rest of its product code.
pub fn numbers(package: &Package, sources: &[PathBuf]) -> anyhow::Result<Numbers> {
    let mut numbers = Numbers { files: sources.len(), ..Numbers::default() };
    for file in sources {
        numbers.lines += std::fs::read_to_string(file)?.lines().count();
    }
    for file in product_files(package)? {
        count(&without_tests(parse(&file)?), &mut numbers);
    }
    Ok(numbers)
}

/// The files that are compiled without tests.
fn product_files(package: &Package) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for target in &package.targets {
        let code = Crate::read(&target.src_path, false)?;
        files.extend(code.modules.into_iter().map(|module| module.file));
    }
    Ok(files)
}

fn count(tokens: &TokenStream, numbers: &mut Numbers) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let is_word =
        |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.to_string() == word);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => count(&group.stream(), numbers),
            TokenTree::Ident(word) if word == "as" => {
                numbers.casts_to_i64 += usize::from(is_word(at + 1, "i64"));
                numbers.casts_to_u64 += usize::from(is_word(at + 1, "u64"));
            }
            TokenTree::Ident(word) if word == "macro_rules" && is_punct(&tokens, at + 1, '!') => {
                numbers.macro_rules += 1;
            }
            TokenTree::Ident(word) if word == "struct" => {
                let body = tokens[at..].iter().take(12).find_map(braces);
                numbers.fields_pub_super += body.map_or(0, |fields| pub_super_fields(&fields));
            }
            _ => {}
        }
    }
}

fn braces(token: &TokenTree) -> Option<TokenStream> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
        _ => None,
    }
}

fn pub_super_fields(fields: &TokenStream) -> usize {
    let tokens: Vec<TokenTree> = fields.clone().into_iter().collect();
    let is_visible = |at: usize| {
        matches!(&tokens[at], TokenTree::Ident(word) if word == "pub")
            && matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.stream().to_string() == "super")
            && is_punct(&tokens, at + 3, ':')
    };
    (0..tokens.len()).filter(|at| is_visible(*at)).count()
}

/// Types with the most methods, with the number of files that their `impl` blocks stand in.
pub fn types_by_methods(package: &Package) -> anyhow::Result<Vec<(String, usize, usize)>> {
    let mut methods: BTreeMap<String, (usize, BTreeSet<PathBuf>)> = BTreeMap::new();
    for file in product_files(package)? {
        let tokens = without_tests(parse(&file)?);
        let Ok(parsed) = syn::parse2::<syn::File>(tokens) else { continue };
        for item in parsed.items {
            let Item::Impl(block) = item else { continue };
            if block.trait_.is_some() {
                continue;
            }
            let name = block.self_ty.to_token_stream().to_string();
            let (count, files) = methods.entry(name).or_default();
            *count += block.items.iter().filter(|item| matches!(item, ImplItem::Fn(_))).count();
            files.insert(file.clone());
        }
    }
    let mut types: Vec<_> =
        methods.into_iter().map(|(name, (count, files))| (name, count, files.len())).collect();
    types.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    Ok(types)
}
