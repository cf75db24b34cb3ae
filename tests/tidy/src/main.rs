//! Prints what the architecture rules find, and the numbers behind them.

use std::{fmt::Display, path::Path};

use tidy::{cycles, dependencies, imports, measures, sizes, workspace::Workspace};

/// Longest functions and biggest types that the report lists.
const TOP: usize = 5;

/// Cycles that the report prints of each knot, the shortest.
const CYCLES: usize = 8;

fn main() -> anyhow::Result<()> {
    let workspace = match std::env::args().nth(1) {
        Some(folder) => Workspace::load(Path::new(&folder))?,
        None => Workspace::own()?,
    };
    numbers(&workspace)?;
    module_cycles(&workspace)?;
    list("uses that are not allowed", &imports::violations(&workspace)?);
    list("places in the import tables without a file", &imports::missing_places(&workspace)?);
    file_and_function_sizes(&workspace)?;
    let mut unused = Vec::new();
    for package in &workspace.packages {
        unused.extend(dependencies::unused(package)?);
    }
    list("unused dependencies", &unused);
    list("unused features", &dependencies::unused_features(&workspace)?);
    list("unused workspace dependencies", &dependencies::unused_in_workspace(&workspace)?);
    Ok(())
}

fn list(title: &str, rows: &[impl Display]) {
    println!("\n{title}: {}", rows.len());
    for row in rows {
        println!("  {row}");
    }
}

fn numbers(workspace: &Workspace) -> anyhow::Result<()> {
    println!("package      files   lines  as i64  as u64  pub(super) fields  macro_rules");
    let mut types = Vec::new();
    let mut all = measures::Numbers::default();
    for package in &workspace.packages {
        let found = measures::numbers(package, &package.sources(workspace)?)?;
        row(&package.name, &found);
        all.files += found.files;
        all.lines += found.lines;
        all.casts_to_i64 += found.casts_to_i64;
        all.casts_to_u64 += found.casts_to_u64;
        all.fields_pub_super += found.fields_pub_super;
        all.macro_rules += found.macro_rules;
        for (name, methods, files) in measures::types_by_methods(package)? {
            types.push((methods, format!("{}::{name}: {methods} in {files} files", package.name)));
        }
    }
    row("all", &all);
    types.sort_by_key(|(methods, _)| std::cmp::Reverse(*methods));
    let types: Vec<_> = types.into_iter().take(TOP).map(|(_, text)| text).collect();
    list("types with the most methods", &types);
    Ok(())
}

fn row(name: &str, found: &measures::Numbers) {
    let measures::Numbers { files, lines, casts_to_i64, casts_to_u64, .. } = found;
    let (fields, macros) = (found.fields_pub_super, found.macro_rules);
    println!(
        "{name:11} {files:6} {lines:7} {casts_to_i64:7} {casts_to_u64:7} {fields:18} {macros:12}"
    );
}

fn module_cycles(workspace: &Workspace) -> anyhow::Result<()> {
    for package in &workspace.packages {
        for (name, report) in cycles::of_package(workspace, package)? {
            for (kind, knots) in [("files", &report.files), ("modules", &report.levels)] {
                if knots.is_empty() {
                    continue;
                }
                println!("\n{name}: knots of {kind} that use each other: {}", knots.len());
                for knot in knots {
                    println!("  {}: {}", knot.members.len(), knot.members.join(" "));
                    for cycle in knot.cycles.iter().take(CYCLES) {
                        println!("    {cycle}");
                    }
                }
            }
        }
    }
    Ok(())
}

fn file_and_function_sizes(workspace: &Workspace) -> anyhow::Result<()> {
    list("files over 300 lines", &sizes::long_files(workspace, 300)?);
    list("files over 400 lines", &sizes::long_files(workspace, sizes::FILE_LINES)?);
    list("lines over 120 columns", &sizes::long_lines(workspace)?);
    let functions = sizes::functions(workspace, &workspace.files(&["rs"])?)?;
    let long = functions.iter().filter(|function| function.size > sizes::FUNCTION_LINES);
    list("functions over 70 lines", &long.collect::<Vec<_>>());
    list("longest functions", &functions.iter().take(TOP).collect::<Vec<_>>());
    Ok(())
}
