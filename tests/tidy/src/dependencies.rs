//! Dependencies and features that nothing in the sources uses.

use std::collections::BTreeSet;

use crate::{
    module::Crate,
    names::Target,
    workspace::{Dependency, Package, Workspace},
};

/// Dependencies that are declared for another reason than being named in the sources.
const UNNAMED: [(&str, &str, &str); 0] = [];

/// Features that enable one module each, with the path that shows their use where its name differs
/// from the feature's. Other features have no such mark and are reviewed by hand.
const FEATURES: [(&str, &str, &str); 9] = [
    ("tower-http", "util", "ServiceBuilderExt"),
    ("tower-http", "cors", "cors"),
    ("tower-http", "catch-panic", "catch_panic"),
    ("tokio-util", "rt", "task"),
    ("hyper-util", "tokio", "rt"),
    ("hyper-util", "server-auto", "server::conn::auto"),
    ("hyper-util", "server-graceful", "server::graceful"),
    ("axum-extra", "typed-header", "TypedHeader"),
    ("axum-extra", "cookie", "extract::cookie"),
];

/// Crates whose features are checked.
const CHECKED: [&str; 5] = ["tower-http", "tokio-util", "hyper-util", "axum-extra", "rustix"];

/// All paths of other crates that a package's sources name.
fn external_paths(package: &Package, with_tests: bool) -> anyhow::Result<BTreeSet<String>> {
    let mut paths = BTreeSet::new();
    for target in &package.targets {
        let is_test = target.kind.iter().any(|kind| kind == "test");
        if is_test && !with_tests && !is_test_package(package) {
            continue;
        }
        let code = Crate::read(&target.src_path, with_tests)?;
        for (index, module) in code.modules.iter().enumerate() {
            let imports = module.imports.iter().map(|import| &import.segments);
            let uses = module.paths.iter().map(|path| &path.segments);
            for segments in imports.chain(uses) {
                if let Some(Target::Other(path)) = code.resolve(index, segments) {
                    paths.insert(path.join("::"));
                }
            }
        }
    }
    Ok(paths)
}

/// A package of tests declares what they use as normal dependencies.
fn is_test_package(package: &Package) -> bool {
    !package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "bin"))
        && package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "test"))
}

/// Dependencies that the package's sources do not name; normal ones: outside of its tests.
pub fn unused(package: &Package) -> anyhow::Result<Vec<String>> {
    let (product, all) = (external_paths(package, false)?, external_paths(package, true)?);
    let mut unused = Vec::new();
    for dependency in &package.dependencies {
        let paths = if dependency.kind.is_none() { &product } else { &all };
        let (name, crate_name) = (&dependency.name, dependency.identifier());
        let is_exempt = UNNAMED.iter().any(|(of, exempt, _)| *of == package.name && exempt == name);
        if !is_exempt && !paths.iter().any(|path| path.starts_with(&format!("{crate_name}::"))) {
            let kind = dependency.kind.as_deref().unwrap_or("normal");
            unused.push(format!("{}: {name} ({kind} dependency)", package.name));
        }
    }
    Ok(unused)
}

/// Features of the crates in `CHECKED` that nothing in the workspace uses.
pub fn unused_features(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut paths = BTreeSet::new();
    for package in &workspace.packages {
        paths.extend(external_paths(package, true)?);
    }
    let declared = workspace.packages.iter().flat_map(|package| &package.dependencies);
    let checked = declared.filter(|dependency| CHECKED.contains(&dependency.name.as_str()));
    let mut unused = BTreeSet::new();
    for dependency in checked {
        for feature in &dependency.features {
            let mark = mark(dependency, feature);
            if !paths.iter().any(|path| names(path, &mark)) {
                unused.insert(format!("{}: feature {feature} ({mark})", dependency.name));
            }
        }
    }
    Ok(unused.into_iter().collect())
}

fn mark(dependency: &Dependency, feature: &str) -> String {
    let row = FEATURES.iter().find(|(name, of, _)| *name == dependency.name && *of == feature);
    let path = row.map_or(feature.replace('-', "_"), |(_, _, path)| (*path).to_owned());
    format!("{}::{path}", dependency.identifier())
}

/// Whether `path` is `prefix` or goes on from there.
fn names(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Dependencies that the workspace's manifest declares and no package takes.
pub fn unused_in_workspace(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let manifest = std::fs::read_to_string(workspace.root.join("Cargo.toml"))?;
    let lines = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let declared = lines.filter_map(|line| line.split_once(" =")).map(|(name, _)| name.trim());
    let taken: BTreeSet<&str> = workspace
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .map(|dependency| dependency.rename.as_ref().unwrap_or(&dependency.name).as_str())
        .collect();
    let unused = declared.filter(|name| !name.starts_with('#') && !taken.contains(name));
    Ok(unused.map(str::to_owned).collect())
}
