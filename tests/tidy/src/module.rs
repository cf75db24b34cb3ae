//! The tree of modules of one crate, read from its files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{Attribute, Item, ItemMod, Lit, Meta};

use crate::tokens::{Import, PathUse, Uses, is_test_only, without_tests};

pub struct Crate {
    /// The first is the crate's root.
    pub modules: Vec<Module>,
}

pub struct Module {
    /// `[]` for the root, else `["rooms", "membership"]`.
    pub path: Vec<String>,
    pub file: PathBuf,
    pub parent: Option<usize>,
    /// The module whose file this one stands in: itself, unless it is an inline module.
    pub owner: usize,
    pub children: BTreeMap<String, usize>,
    /// Names of types and traits that are defined here.
    pub types: BTreeSet<String>,
    /// Names of functions, macros and constants that are defined here.
    pub values: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub paths: Vec<PathUse>,
}

impl Module {
    /// `crate::rooms::membership`.
    pub fn name(&self) -> String {
        let segments = std::iter::once("crate").chain(self.path.iter().map(String::as_str));
        segments.collect::<Vec<_>>().join("::")
    }
}

/// Where the modules declared in a file are looked for.
#[derive(Clone)]
struct Place {
    file: PathBuf,
    /// The folder of `name.rs` for `mod name;`.
    folder: PathBuf,
}

struct Reader {
    modules: Vec<Module>,
    with_tests: bool,
}

impl Crate {
    /// Reads the crate whose root is `file`; `with_tests`: also code that only tests compile.
    pub fn read(file: &Path, with_tests: bool) -> anyhow::Result<Self> {
        let mut reader = Reader { modules: Vec::new(), with_tests };
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        reader.file(None, &[], Place { file: file.to_owned(), folder })?;
        Ok(Self { modules: reader.modules })
    }
}

impl Reader {
    fn file(
        &mut self,
        parent: Option<usize>,
        path: &[String],
        place: Place,
    ) -> anyhow::Result<usize> {
        let text = std::fs::read_to_string(&place.file)
            .with_context(|| format!("cannot read {}", place.file.display()))?;
        let file = syn::parse_file(&text)
            .with_context(|| format!("cannot parse {}", place.file.display()))?;
        self.module(parent, path, &place, None, &file.items)
    }

    fn module(
        &mut self,
        parent: Option<usize>,
        path: &[String],
        place: &Place,
        owner: Option<usize>,
        items: &[Item],
    ) -> anyhow::Result<usize> {
        let index = self.modules.len();
        let owner = owner.unwrap_or(index);
        let (file, path) = (place.file.clone(), path.to_vec());
        self.modules.push(Module {
            path,
            file,
            parent,
            owner,
            children: BTreeMap::new(),
            types: BTreeSet::new(),
            values: BTreeSet::new(),
            imports: Vec::new(),
            paths: Vec::new(),
        });
        let mut uses = Uses::default();
        for item in items {
            if !self.with_tests && attributes(item).iter().any(is_test_attribute) {
                continue;
            }
            match item {
                Item::Mod(child) => self.child(index, place, child)?,
                Item::Use(item) => uses.import(item),
                other => {
                    uses.scan(self.tokens_of(other));
                    self.modules[index].types.extend(type_name(other));
                    self.modules[index].values.extend(value_name(other));
                }
            }
        }
        self.modules[index].imports = uses.imports;
        self.modules[index].paths = uses.paths;
        Ok(index)
    }

    fn tokens_of(&self, item: &Item) -> TokenStream {
        let tokens = item.to_token_stream();
        if self.with_tests { tokens } else { without_tests(tokens) }
    }

    fn child(&mut self, parent: usize, place: &Place, child: &ItemMod) -> anyhow::Result<()> {
        let name = child.ident.to_string();
        let mut path = self.modules[parent].path.clone();
        path.push(name.clone());
        let folder = place.folder.join(&name);
        let index = if let Some((_, items)) = &child.content {
            let place = Place { file: place.file.clone(), folder };
            let owner = self.modules[parent].owner;
            self.module(Some(parent), &path, &place, Some(owner), items)?
        } else {
            let flat = place.folder.join(format!("{name}.rs"));
            let place = if let Some(named) = path_attribute(&child.attrs) {
                let beside = place.file.parent().unwrap_or(Path::new(""));
                Place { file: beside.join(named), folder }
            } else if flat.is_file() {
                Place { file: flat, folder }
            } else {
                Place { file: folder.join("mod.rs"), folder }
            };
            self.file(Some(parent), &path, place)?
        };
        self.modules[parent].children.insert(name, index);
        Ok(())
    }
}

fn is_test_attribute(attribute: &Attribute) -> bool {
    is_test_only(attribute.meta.to_token_stream())
}

/// The file of `#[path = "file"]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn type_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Enum(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn value_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
