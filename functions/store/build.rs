//! A migration that is added must be compiled in: the macro alone notices changed files only.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
