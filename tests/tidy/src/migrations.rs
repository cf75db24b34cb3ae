//! Migrations expand, then contract: servers of the previous release run on the schema while a release is rolled out
//! and after it was rolled back. A statement that takes something away from them is allowed in a marked file only.

use crate::workspace::Workspace;

/// Files from before this rule. An applied migration must not change, because sqlx compares checksums.
const BEFORE_THE_RULE: [&str; 1] = ["0004_parts.sql"];
/// The line of a migration that contracts, before the number of the oldest migration that servers must know.
const MARKER: &str = "-- contract: servers must know ";

/// Sequences of words that break servers of the previous release, and why. `*` is any word.
const CONTRACTING: [(&[&str], &str); 14] = [
    (&["DROP", "TABLE"], "drops what may be in use"),
    (&["DROP", "COLUMN"], "drops what may be in use"),
    (&["DROP", "VIEW"], "drops what may be in use"),
    (&["DROP", "TYPE"], "drops what may be in use"),
    (&["DROP", "EXTENSION"], "drops what may be in use"),
    (&["DROP", "CONSTRAINT"], "drops what an ON CONFLICT may name"),
    (&["TABLE", "*", "DROP"], "drops what may be in use"),
    (&["RENAME"], "renames what may be in use"),
    (&["ALTER", "*", "TYPE"], "changes a type"),
    (&["ALTER", "COLUMN", "*", "TYPE"], "changes a type"),
    (&["SET", "DATA", "TYPE"], "changes a type"),
    (&["SET", "NOT", "NULL"], "refuses rows that were valid"),
    (&["ADD", "CONSTRAINT"], "refuses rows that were valid"),
    (&["ADD", "CHECK"], "refuses rows that were valid"),
];

/// What is wrong with the migrations of both databases.
pub fn violations(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["migrations/postgres", "migrations/sqlite"] {
        let mut files: Vec<_> =
            std::fs::read_dir(workspace.root.join(folder))?.collect::<Result<_, _>>()?;
        anyhow::ensure!(!files.is_empty(), "{folder} is empty");
        files.sort_by_key(std::fs::DirEntry::file_name);
        for file in files {
            let name = file.file_name().to_string_lossy().into_owned();
            if !BEFORE_THE_RULE.contains(&name.as_str()) {
                let faults = faults(&name, &std::fs::read_to_string(file.path())?);
                found.extend(faults.into_iter().map(|fault| format!("{folder}/{name}: {fault}")));
            }
        }
    }
    Ok(found)
}

/// What is wrong with one migration.
pub fn faults(name: &str, sql: &str) -> Vec<String> {
    let statements = without_comments(sql);
    match sql.lines().find_map(|line| line.strip_prefix(MARKER)) {
        Some(oldest_known) => contract_faults(name, &words(&statements), oldest_known.trim()),
        None => expand_faults(&statements),
    }
}

fn without_comments(sql: &str) -> String {
    let code = |line: &str| line.split("--").next().unwrap_or_default().to_uppercase();
    sql.lines().map(code).collect::<Vec<_>>().join("\n")
}

fn words(sql: &str) -> Vec<&str> {
    sql.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect()
}

fn contains(words: &[&str], wanted: &[&str]) -> bool {
    let fits = |(word, wanted): (&&str, &&str)| *wanted == "*" || word == wanted;
    words.windows(wanted.len()).any(|window| window.iter().zip(wanted).all(fits))
}

fn expand_faults(statements: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for statement in statements.split(';') {
        let words = words(statement);
        for (wanted, why) in CONTRACTING {
            if contains(&words, wanted) {
                faults.push(format!("{} {why}; mark the file with `{MARKER}…`", wanted.join(" ")));
            }
        }
        // The previous release inserts rows without the new column.
        let columns = statement.split(',').map(self::words);
        for column in columns.filter(|words| contains(words, &["ADD", "COLUMN"])) {
            if contains(&column, &["NOT", "NULL"]) && !column.contains(&"DEFAULT") {
                faults.push(format!("{} needs a default", column.join(" ")));
            }
        }
    }
    faults
}

fn contract_faults(name: &str, words: &[&str], oldest_known: &str) -> Vec<String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let (own, oldest) = (name.split('_').next().and_then(number), number(oldest_known));
    let mut faults = Vec::new();
    if own.zip(oldest).is_none_or(|(own, oldest)| oldest >= own) {
        faults.push(format!("`{MARKER}` must name an earlier migration, not {oldest_known}"));
    }
    let oldest = oldest.unwrap_or_default().to_string();
    if !contains(words, &["UPDATE", "SCHEMA_COMPAT", "SET", "OLDEST_KNOWN", &oldest]) {
        faults.push(format!("it must execute UPDATE schema_compat SET oldest_known = {oldest}"));
    }
    faults
}
