//! Which module uses which: the edges of a crate's graph of modules.
//!
//! A module is a file; inline modules belong to their file. An edge leads to the module that
//! *defines* what is used, also where the path goes through re-exports. A re-export of something
//! from below the module is no edge: the module only passes it on. Importing a module is no edge
//! either; its uses (`module::item`) are.

use std::collections::BTreeMap;

use crate::{
    module::Crate,
    names::Target,
    tokens::{Import, PathUse},
};

/// From a module to one that it uses, with the line of the first use.
pub type Edges = BTreeMap<(usize, usize), usize>;

impl Crate {
    pub fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (index, module) in self.modules.iter().enumerate() {
            for import in &module.imports {
                self.add_import(&mut edges, index, import);
            }
            for path in &module.paths {
                self.add_path(&mut edges, index, path);
            }
        }
        edges
    }

    fn add_import(&self, edges: &mut Edges, module: usize, import: &Import) {
        let target = match self.resolve(module, &import.segments) {
            Some(Target::Item(target)) => target,
            Some(Target::Module(target)) if import.is_glob => target,
            Some(Target::Module(_) | Target::Other(_)) | None => return,
        };
        if import.is_reexport && self.is_below(target, module) {
            return;
        }
        self.add(edges, module, target, import.line);
    }

    fn add_path(&self, edges: &mut Edges, module: usize, path: &PathUse) {
        if let Some(Target::Item(target)) = self.resolve(module, &path.segments) {
            self.add(edges, module, target, path.line);
        }
    }

    fn add(&self, edges: &mut Edges, from: usize, to: usize, line: usize) {
        let (from, to) = (self.modules[from].owner, self.modules[to].owner);
        if from != to {
            let first = edges.entry((from, to)).or_insert(line);
            *first = line.min(*first);
        }
    }

    /// Whether `module` is `ancestor` or one of the modules in it.
    pub fn is_below(&self, module: usize, ancestor: usize) -> bool {
        module == ancestor
            || self.modules[module].parent.is_some_and(|parent| self.is_below(parent, ancestor))
    }
}
