//! The page of commands is what the table says.

use crate::fake::Fake;

#[test]
fn the_page_of_commands_is_current() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let table = Fake::answering(&[]).run("print commands").out;
    assert!(
        text.ends_with(&table),
        "docs/commands.md is not what the program declares; put this at its end: coffer print commands"
    );
}
