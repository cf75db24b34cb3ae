//! The architecture rules. A rule that is broken fails with the list of places.

use tidy::{cycles, dependencies, imports, migrations, sizes, workspace::Workspace};

fn assert_none(rows: &[impl std::fmt::Display], rule: &str) {
    let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
    assert!(rows.is_empty(), "{rule}:\n  {}", rows.join("\n  "));
}

#[test]
fn modules_of_a_crate_form_no_cycle() {
    let workspace = Workspace::own().unwrap();
    let mut found = Vec::new();
    for package in &workspace.packages {
        for (name, report) in cycles::of_package(&workspace, package).unwrap() {
            let cycles = report.levels.iter().flat_map(|knot| &knot.cycles);
            found.extend(cycles.map(|cycle| format!("{name}: {cycle}")));
        }
    }
    assert_none(&found, "modules use each other");
}

#[test]
fn every_use_is_allowed() {
    assert_none(
        &imports::violations(&Workspace::own().unwrap()).unwrap(),
        "not allowed, see src/imports.rs",
    );
}

#[test]
fn every_place_in_the_import_tables_exists() {
    let missing = imports::missing_places(&Workspace::own().unwrap()).unwrap();
    assert_none(&missing, "no file begins with");
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let long = sizes::long_files(&Workspace::own().unwrap(), sizes::FILE_LINES).unwrap();
    assert_none(&long, "longer than 400 lines");
}

#[test]
fn no_line_is_longer_than_120_columns() {
    assert_none(&sizes::long_lines(&Workspace::own().unwrap()).unwrap(), "longer than 120 columns");
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let workspace = Workspace::own().unwrap();
    let functions = sizes::functions(&workspace, &workspace.files(&["rs"]).unwrap()).unwrap();
    let long = functions.into_iter().filter(|function| function.size > sizes::FUNCTION_LINES);
    assert_none(&long.collect::<Vec<_>>(), "longer than 70 lines");
}

#[test]
fn migrations_expand_or_are_marked() {
    assert_none(
        &migrations::violations(&Workspace::own().unwrap()).unwrap(),
        "breaks servers of the previous release, see Migrations in CONTRIBUTING.md",
    );
}

#[test]
fn every_dependency_is_used() {
    let workspace = Workspace::own().unwrap();
    let mut unused = Vec::new();
    for package in &workspace.packages {
        unused.extend(dependencies::unused(package).unwrap());
    }
    assert_none(&unused, "nothing uses");
}

#[test]
fn every_feature_with_a_module_is_used() {
    let unused = dependencies::unused_features(&Workspace::own().unwrap()).unwrap();
    assert_none(&unused, "nothing uses");
}

#[test]
fn every_dependency_of_the_workspace_is_taken_by_a_package() {
    let unused = dependencies::unused_in_workspace(&Workspace::own().unwrap()).unwrap();
    assert_none(&unused, "no package takes");
}
