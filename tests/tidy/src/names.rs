//! What a path refers to: an item of one of the crate's modules, a module, or another crate.

use crate::module::Crate;

/// Imports that refer to each other are followed this far.
const DEPTH: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Module(usize),
    /// Something defined in this module.
    Item(usize),
    /// A path that begins with the name of another crate, or with a name that is no import.
    Other(Vec<String>),
}

impl Crate {
    /// Resolves `segments` as code in `module` would.
    pub fn resolve(&self, module: usize, segments: &[String]) -> Option<Target> {
        self.resolve_within(module, segments, DEPTH)
    }

    fn resolve_within(&self, module: usize, segments: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let (mut at, mut rest, mut is_relative) = (module, segments, true);
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.modules[at].parent?,
                _ => break,
            }
            (rest, is_relative) = (others, false);
        }
        while let Some((name, others)) = rest.split_first() {
            match self.look_up(at, name, others.is_empty(), depth) {
                Some(Target::Module(next)) => at = next,
                Some(Target::Item(definer)) => return Some(Target::Item(definer)),
                Some(Target::Other(mut path)) => {
                    path.extend(others.iter().cloned());
                    return Some(Target::Other(path));
                }
                None if is_relative => return Some(Target::Other(rest.to_vec())),
                // Items that a macro generates are not seen: they are taken as defined here.
                None => return Some(Target::Item(at)),
            }
            (rest, is_relative) = (others, false);
        }
        Some(Target::Module(at))
    }

    /// What `name` means in `module`. Only types and modules have something below them, and a
    /// module may have the name of a function, which is meant where the path ends.
    fn look_up(&self, module: usize, name: &str, is_last: bool, depth: usize) -> Option<Target> {
        let scope = &self.modules[module];
        if scope.types.contains(name) || is_last && scope.values.contains(name) {
            return Some(Target::Item(module));
        }
        if let Some(child) = scope.children.get(name) {
            return Some(Target::Module(*child));
        }
        let named = scope.imports.iter().filter(|import| import.name.as_deref() == Some(name));
        for import in named {
            if let Some(target) = self.resolve_within(module, &import.segments, depth) {
                return Some(target);
            }
        }
        for glob in scope.imports.iter().filter(|import| import.is_glob) {
            let target = self.resolve_within(module, &glob.segments, depth);
            if let Some(Target::Module(other)) = target
                && other != module
                && let Some(found) = self.look_up(other, name, is_last, depth.checked_sub(1)?)
            {
                return Some(found);
            }
        }
        None
    }
}
