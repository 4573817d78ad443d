//! The README does not lie: its table is drawn from the choreography.

use std::{fs, path::PathBuf};

use shared::choreography::Choreography;

const BEGIN: &str = "<!-- saga -->\n";
const END: &str = "<!-- /saga -->";

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// `UPDATE=1` draws it anew.
#[test]
fn the_saga_table_is_drawn_from_the_choreography() {
    let choreography = fs::read_to_string(file("shared/choreography.toml")).unwrap();
    let table = Choreography::parse(&choreography).unwrap().markdown();
    let readme = fs::read_to_string(file("README.md")).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README has the marker");
    let (drawn, after) = rest.split_once(END).expect("the README has the end marker");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file("README.md"), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(drawn, table, "run this test with UPDATE=1");
    }
}
