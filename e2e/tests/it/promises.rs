//! The page that says which test shows what names tests that there are.

use std::{fs, path::Path};

/// Fewer words are a name of something else, and capitals are a variable's.
const UNDERSCORES_MIN: usize = 3;

#[test]
fn every_test_that_the_page_of_failures_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("e2e/README.md")).unwrap();
    let mut sources = String::new();
    for member in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()) {
        if member.join("Cargo.toml").is_file() {
            read(&member.join("src"), &mut sources);
            read(&member.join("tests"), &mut sources);
        }
    }
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| {
            name.matches('_').count() >= UNDERSCORES_MIN
                && name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
        })
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        assert!(sources.contains(&format!("fn {name}(")), "no test is called {name}");
    }
}

fn read(folder: &Path, into: &mut String) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            read(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
