//! The checker finds what it should find: small crates, written to a folder and read.

use std::path::PathBuf;

use tidy::{cycles, migrations, module::Crate, workspace::Workspace};

/// Writes a crate's files and returns the cycles between its modules.
fn cycles_of(name: &str, files: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    for (file, text) in files {
        let file = folder.join(file);
        std::fs::create_dir_all(file.parent().unwrap_or(&folder))?;
        std::fs::write(file, text)?;
    }
    let workspace = Workspace { root: folder.clone(), packages: Vec::new() };
    let code = Crate::read(&folder.join("lib.rs"), false)?;
    let levels = cycles::report(&workspace, &code).levels;
    Ok(levels.into_iter().flat_map(|knot| knot.cycles).collect())
}

#[test]
fn two_files_that_use_each_other_are_a_cycle() {
    let found = cycles_of(
        "two_files",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B;\npub struct A(B);"),
            ("b.rs", "pub struct B;\nfn f() { let _ = super::a::A::new(); }"),
        ],
    )
    .unwrap();
    assert_eq!(found, ["crate::a → crate::b (a.rs:1), crate::b → crate::a (b.rs:2)"]);
}

#[test]
fn a_parent_and_a_child_that_use_each_other_are_a_cycle() {
    let found = cycles_of(
        "parent",
        &[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod child;\npub struct Shared;\npub fn run() { child::run() }"),
            ("a/child.rs", "use super::Shared;\npub fn run() { let _ = Shared; }"),
        ],
    )
    .unwrap();
    let cycle =
        "crate::a → crate::a::child (a/mod.rs:3), crate::a::child → crate::a (a/child.rs:1)";
    assert_eq!(found, [cycle]);
}

#[test]
fn a_parent_that_only_passes_its_children_on_is_in_no_cycle() {
    let found = cycles_of(
        "facade",
        &[
            ("lib.rs", "mod a; mod b; pub use self::a::Second;"),
            ("a/mod.rs", "mod first; mod second; pub use self::{first::First, second::Second};"),
            ("a/first.rs", "pub struct First;"),
            ("a/second.rs", "use super::First;\npub struct Second(First);"),
            ("b.rs", "use crate::{Second, a};\nfn f(_: Second, _: a::First) {}"),
        ],
    )
    .unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn folders_that_use_each_other_are_a_cycle_although_their_files_are_in_none() {
    let found = cycles_of(
        "folders",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "pub mod high; pub mod low;"),
            ("a/high.rs", "use crate::b::low::B;\npub struct A(B);"),
            ("a/low.rs", "pub struct Low;"),
            ("b/mod.rs", "pub mod high; pub mod low;"),
            ("b/high.rs", "use crate::a;\npub struct High(a::low::Low);"),
            ("b/low.rs", "pub struct B;"),
        ],
    )
    .unwrap();
    assert_eq!(
        found,
        ["crate::a::high → crate::b::low (a/high.rs:1), \
          crate::b::high → crate::a::low (b/high.rs:2)"]
    );
}

#[test]
fn code_in_macros_counts_and_code_of_tests_does_not() {
    let found = cycles_of(
        "macros",
        &[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "pub struct A;\nfn f() { assert!(matches!(crate::b::B, _)); }"),
            ("b.rs", "#[derive(Debug)]\n#[x(with = \"crate::a::A\")]\npub struct B;"),
            (
                "c.rs",
                "pub struct C;\n#[cfg(test)]\nmod tests { use crate::d::D; use crate::a::A; }",
            ),
        ],
    )
    .unwrap();
    assert_eq!(found, ["crate::a → crate::b (a.rs:2), crate::b → crate::a (b.rs:2)"]);
}

#[test]
fn a_migration_that_takes_something_away_must_be_marked() {
    let marked = |sql: &str| {
        format!(
            "-- contract: servers must know 0010\n{sql};\n\
             UPDATE schema_compat SET oldest_known = 10;\n"
        )
    };
    for sql in [
        "DROP TABLE room",
        "ALTER TABLE room DROP COLUMN title",
        "ALTER TABLE room DROP title",
        "alter table room rename to rooms",
        "ALTER TABLE room ALTER COLUMN title TYPE BIGINT",
        "ALTER TABLE room ALTER title SET NOT NULL",
        "ALTER TABLE room ADD COLUMN a TEXT, ADD CONSTRAINT short CHECK (length(title) < 9)",
        "DROP VIEW active_member",
    ] {
        assert!(!migrations::faults("0012_a.sql", sql).is_empty(), "{sql}");
        assert_eq!(migrations::faults("0012_a.sql", &marked(sql)), [""; 0], "{sql}");
        assert_eq!(migrations::faults("0010_a.sql", &marked(sql)).len(), 1, "knows itself: {sql}");
    }
    let unsaid = "-- contract: servers must know 0010\nDROP TABLE room;";
    assert_eq!(migrations::faults("0012_a.sql", unsaid).len(), 1);
    let required = "ALTER TABLE room ADD COLUMN a TEXT, ADD COLUMN b TEXT NOT NULL";
    assert_eq!(migrations::faults("0012_a.sql", required).len(), 1);
}

#[test]
fn a_migration_that_expands_needs_no_mark() {
    let sql = "-- It replaces the column that a later release will DROP COLUMN.
        CREATE TABLE made (id BIGINT NOT NULL, at TIMESTAMPTZ);
        ALTER TABLE room ADD COLUMN version BIGINT NOT NULL DEFAULT 0, ADD COLUMN note TEXT;
        CREATE UNIQUE INDEX room_note_key ON room (note) WHERE note IS NOT NULL;
        DROP INDEX room_old_idx;
        UPDATE room SET note = title; DELETE FROM outbox;";
    assert_eq!(migrations::faults("0012_a.sql", sql), [""; 0]);
}
