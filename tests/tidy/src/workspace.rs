//! The packages of the workspace, as `cargo metadata` lists them, and its files.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use serde::Deserialize;

/// Folders that hold nothing written by hand. Those that begin with a dot are skipped as well.
const GENERATED: [&str; 4] = ["target", "node_modules", "dist", "generated"];

pub struct Workspace {
    pub root: PathBuf,
    pub packages: Vec<Package>,
}

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
}

#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    pub rename: Option<String>,
    /// `None` for normal dependencies, else `dev` or `build`.
    pub kind: Option<String>,
    pub features: Vec<String>,
    /// Set for a dependency on a folder.
    pub path: Option<PathBuf>,
}

#[derive(Deserialize)]
pub struct Target {
    pub name: String,
    pub kind: Vec<String>,
    pub src_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Workspace {
    pub fn load(root: &Path) -> anyhow::Result<Self> {
        let root = root.canonicalize().with_context(|| format!("no folder {}", root.display()))?;
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
            .current_dir(&root)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "cargo metadata failed: {error}");
        let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
        Ok(Self { root, packages: metadata.packages })
    }

    /// The workspace that this crate is a member of.
    pub fn own() -> anyhow::Result<Self> {
        Self::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
    }

    /// A path as it is written in the report: relative to the workspace's root, with slashes.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// All files with one of these extensions, sorted.
    pub fn files(&self, extensions: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
        files_below(&self.root, extensions)
    }
}

impl Package {
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new(""))
    }

    /// All Rust files of the package, without those of packages in folders below it.
    pub fn sources(&self, workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = files_below(self.folder(), &["rs"])?;
        let nested = workspace.packages.iter().map(Package::folder);
        let nested: Vec<_> = nested.filter(|folder| *folder != self.folder()).collect();
        files.retain(|file| {
            !nested
                .iter()
                .any(|folder| folder.starts_with(self.folder()) && file.starts_with(folder))
        });
        Ok(files)
    }
}

impl Dependency {
    /// The name under which Rust code refers to it.
    pub fn identifier(&self) -> String {
        self.rename.as_ref().unwrap_or(&self.name).replace('-', "_")
    }
}

fn files_below(folder: &Path, extensions: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            let path = entry.path();
            if kind.is_dir() && !name.starts_with('.') && !GENERATED.contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file() {
                let extension = path.extension().and_then(|extension| extension.to_str());
                if extension.is_some_and(|extension| extensions.contains(&extension)) {
                    files.push(path);
                }
            }
        }
    }
    files.sort();
    Ok(files)
}
